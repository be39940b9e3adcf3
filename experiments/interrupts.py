"""Ctrl-C that Python would drop, raised again, and one that comes while a library loads, raised when that is done."""

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_AFTER_S = 0.05
_LOADING = "<frozen importlib._bootstrap"  # how Python names the code that loads modules


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` once more where it came up in a place from which Python lets no error out.

    Python runs finalizers and the callbacks of its garbage collector between any two lines of a program, JAX's among
    them; an error there is written to stderr and dropped, and a Ctrl-C or a Stop that falls into one would be lost.
    So would one that falls into a library that loads: NumPy writes it out and goes on, or makes another error of it.
    It waits until that has loaded. Where another handler of SIGINT than Python's own is set, that one stays.

    >>> with kept_interrupts():
    ...     print("works")
    works
    """
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            _later()  # raised here, in the hook, it would be dropped again
        else:
            before(dropped)

    handles = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    sys.unraisablehook = hook
    if handles:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        sys.unraisablehook = before
        if handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(number: int, frame: FrameType | None) -> None:
    if loads(frame):
        _later()
    else:
        signal.default_int_handler(number, frame)


def loads(frame: FrameType | None) -> bool:
    """Ask whether a module is being loaded where the program stands; a handler of signals is given that frame.

    >>> import sys
    >>> loads(sys._getframe())
    False
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith(_LOADING):
            return True
        frame = frame.f_back
    return False


def _later() -> None:
    """Interrupt again in a moment, from another thread."""
    timer = threading.Timer(_AFTER_S, _interrupt)
    timer.daemon = True  # a program that ends meanwhile does not wait for it
    timer.start()


def _interrupt() -> None:
    """Interrupt the main thread, where there are signals with one, which wakes it from whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
