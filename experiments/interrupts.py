"""Ctrl-C that Python would drop, raised again."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

_AFTER_S = 0.05


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` once more where it came up in a place from which Python lets no error out.

    Python runs finalizers and the callbacks of its garbage collector between any two lines of a program, JAX's among
    them; an error there is written to stderr and dropped, and a Ctrl-C or a Stop that falls into one would be lost.

    >>> with kept_interrupts():
    ...     print("works")
    works
    """
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            # later and from another thread: raised here, in the hook, it would be dropped again
            threading.Timer(_AFTER_S, _interrupt).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt() -> None:
    """Interrupt the main thread, where there are signals with one, which wakes it from whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
