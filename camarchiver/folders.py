"""Walks through the folders below a root, however deep somebody nested them.

os.walk of Python 3.11 calls itself for each level and ends with a RecursionError at the thousandth.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from camarchiver.model import joined
from camarchiver.names import is_passing


def walk(root: Path, *, pruned: Container[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Each folder that may hold clips, relative to the root, with the names of what is no folder in it.

    In the order of names, the folder before those in it. Hidden folders, the absolute `pruned` ones, links
    and what can't be read are passed over.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        names, below = list[str](), list[str]()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
                    elif not is_passing(entry.name) and entry.path not in pruned:
                        below.append(joined(folder, entry.name))
        except OSError:
            continue
        yield folder, sorted(names)
        waiting.extend(sorted(below, reverse=True))
