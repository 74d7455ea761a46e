"""Paths as users give them: the way they were printed, relative to a root or to the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from camarchiver.domain.clip import Trees
from camarchiver.runtime.formatting import unescaped
from camarchiver.storage.anchored import FROM_ARCHIVE, FROM_SOURCE


def in_trees(path: Path, trees: Trees) -> Path:
    """The absolute path that is meant; a file there need not exist any more.

    A relative path may begin at the working folder, if that is below a root, or at any root.
    """
    candidates = [*_candidates(path, trees), *_candidates(Path(unescaped(str(path))), trees)]
    existing = (each for each in candidates if os.path.lexists(each))
    return next(existing, candidates[0])


def _candidates(path: Path, trees: Trees) -> Iterator[Path]:
    """The likeliest first."""
    if path.is_absolute():
        yield path
        return
    roots = (trees.source, trees.archive, trees.trash)
    here = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow the clip's own link
    if any(here.parent.resolve().is_relative_to(root) for root in roots):
        yield here
    if path.parts[:1] in ((FROM_SOURCE,), (FROM_ARCHIVE,)):
        roots = (trees.trash, trees.source, trees.archive)
    yield from (root / path for root in roots)
