"""A Ctrl-C that comes up in a callback of the garbage collector, or while a library loads, still ends the program."""

import subprocess
import sys
import textwrap

LIBRARY = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100): pass
except BaseException:
    pass  # as NumPy does, which writes the error out
"""
PROGRAM = """
import gc, os, signal, sys, time
from contextlib import nullcontext
from experiments.interrupts import kept_interrupts

def interrupt(phase, info):
    if phase == "stop" and gc.callbacks:
        gc.callbacks.clear()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without
with kept_interrupts() if sys.argv[1] == "kept" else nullcontext():
    try:
        if sys.argv[3]:
            sys.path.insert(0, sys.argv[3])
            import swallows
        else:
            gc.callbacks.append(interrupt)
            gc.collect()
        time.sleep(float(sys.argv[2]))  # an interrupt ends it
    except KeyboardInterrupt:
        print("ended")
    else:
        print("went on")
"""


def run(how, sleep_s, library=""):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), how, str(sleep_s), str(library)]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def test_an_interrupt_that_python_drops_is_raised_again():
    assert run("dropped", 0.5) == "went on"  # what Python does by itself, or there would be nothing to mend
    assert run("kept", 20) == "ended"


def test_an_interrupt_waits_for_a_library_that_loads(tmp_path):
    (tmp_path / "swallows.py").write_text(LIBRARY)
    assert run("dropped", 0.5, tmp_path) == "went on"
    assert run("kept", 20, tmp_path) == "ended"
