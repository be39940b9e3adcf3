"""The kept process as the server sees it: begun when it is first needed, asked one thing at a time, begun anew."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from app.site import Refused

_ROOT = str(Path(__file__).resolve().parents[2])
_ANSWER_S = 120.0  # with loading and compiling; what takes longer hangs
_LONGEST = 1 << 25  # bytes of an answer, pictures and all


class Child:
    """A process that draws what needs the optics, so that the server itself never loads them.

    It lives as long as its pipe: where the server ends, however it does, it ends too.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._busy: asyncio.Lock | None = None
        self._numbers, self._newest = itertools.count(1), {}

    async def ask(self, request: dict[str, Any], who: object) -> dict[str, Any] | None:
        """Answer a request of plain values; None where `who` has asked for something newer meanwhile.

        Raises `Refused` with one line where the request cannot be answered.
        """
        number = self._newest[who] = next(self._numbers)
        if self._busy is None:
            self._busy = asyncio.Lock()
        try:
            async with self._busy:
                if self._newest.get(who) != number:
                    return None
                answer = await self._exchange(request)
        finally:
            if self._newest.get(who) == number:
                del self._newest[who]
        if "error" in answer:
            raise Refused(str(answer["error"]), 400)
        return answer

    async def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        for patience in (1, 0):
            process = self._process
            if process is None or process.returncode is not None:
                process = self._process = await self._begin()
            assert process.stdin is not None and process.stdout is not None
            answer = b""
            try:
                process.stdin.write(line)
                await process.stdin.drain()
                answer = await asyncio.wait_for(process.stdout.readline(), _ANSWER_S)
            except (ConnectionError, TimeoutError, ValueError):
                pass  # it has died, or hangs
            except asyncio.CancelledError:
                await self._end()  # else the next one to ask would be given this answer
                raise
            if answer.endswith(b"\n"):
                return json.loads(answer)
            await self._end()
            if not patience:
                raise Refused("the process that draws has ended without an answer; try again", 500)
        raise AssertionError

    async def _begin(self) -> asyncio.subprocess.Process:
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "app.drawing.process", limit=_LONGEST,
            # the processor alone: an accelerator belongs to the runs
            env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(Exception):
                await process.wait()

    @property
    def pid(self) -> int | None:
        """The number of the process, None where none runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def close(self) -> None:
        """End the process; the next request begins another."""
        await self._end()
