"""Finds and awaits processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.01)


def children_with(text: str) -> list[int]:
    """Living processes of this one whose command line holds a text."""
    found = []
    for pid in processes_with(text):
        with contextlib.suppress(OSError):
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(pid)
    return found


def processes_with(text: str) -> list[int]:
    """Living processes whose command line holds a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found
