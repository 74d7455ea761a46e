"""`python -m camarchiver`, and the console script."""

from __future__ import annotations

import gc
import os
import sys

from camarchiver.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    # A plan makes tuples by the hundred thousand and no cycles: to look for these each time that 700 more
    # stand there takes a tenth of its time.
    gc.set_threshold(50_000)
    _fill_standard_streams()
    code = run(sys.argv[1:])
    _leave_readers()
    sys.exit(code)


def _leave_readers() -> None:
    """Python's own last flush would make another exit code of a reader who has gone away: 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fill_standard_streams() -> None:
    """Open what we were started without: a footage file would else get its number, and our words with it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    main()
