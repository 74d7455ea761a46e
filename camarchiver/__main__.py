"""`python -m camarchiver`, and the console script."""

from __future__ import annotations

import gc
import os
import sys

from camarchiver.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    # A plan makes hundreds of thousands of tuples and no cycles: to search for cycles each time that 700 more
    # tuples exist would take a tenth of its time.
    gc.set_threshold(50_000)
    _fill_standard_streams()
    code = run(sys.argv[1:])
    _leave_readers()
    sys.exit(code)


def _leave_readers() -> None:
    """Python's own last flush would exit with 120 if the reader of our output is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fill_standard_streams() -> None:
    """Open missing standard streams: otherwise a footage file gets their number, and our output with it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    main()
