"""`python -m camarchiver`, and the console script."""

from __future__ import annotations

import gc
import sys

from camarchiver.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    # A plan makes tuples by the hundred thousand and no cycles: to look for these each time that 700 more
    # stand there takes a tenth of its time.
    gc.set_threshold(50_000)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
