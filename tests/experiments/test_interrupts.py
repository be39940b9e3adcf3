"""A Ctrl-C that comes up in a callback of the garbage collector still ends the program."""

import subprocess
import sys
import textwrap

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
        gc.callbacks.append(interrupt)
        gc.collect()
        time.sleep(float(sys.argv[2]))  # an interrupt ends it
    except KeyboardInterrupt:
        print("ended")
    else:
        print("went on")
"""


def run(how, sleep_s):
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), how, str(sleep_s)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def test_an_interrupt_that_python_drops_is_raised_again():
    assert run("dropped", 0.5) == "went on"  # what Python does by itself, or there would be nothing to mend
    assert run("kept", 20) == "ended"
