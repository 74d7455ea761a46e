"""Finds files in the trash that the journal does not know, and where they came from by their path there.

The journal is lost with the archive that it lies in; the trash may be all that is left of a clip.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from camarchiver.discovery import walks
from camarchiver.domain.clip import FROM_ARCHIVE, FROM_SOURCE, Clip, Tree, Trees, joined
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Restore
from camarchiver.naming.formats import is_clip_name, is_sidecar_name, is_temporary_name
from camarchiver.naming.paths import unnumbered
from camarchiver.naming.patterns import locate
from camarchiver.pipeline import Pipeline
from camarchiver.storage.anchored import fingerprint_of
from camarchiver.storage.walk import TreeWalk, paths_in, readable


def steps(pipeline: Pipeline, paths: Iterable[Path], journalled: Collection[str]) -> Iterator[Restore]:
    """A step for each file of the trash that these paths mean, except the `journalled` places.

    A path is absolute and names a file or a folder, by where it is in the trash or by where it came from.
    """
    finder = _UnjournalledFinder(pipeline, journalled)
    for path in paths:
        for place in _places(pipeline.trees, path):
            yield from finder.below(place)


def _places(trees: Trees, path: Path) -> Iterator[str]:
    """Where the trash may have what a path means, below the trash root."""
    if path == trees.trash:
        yield from (FROM_SOURCE, FROM_ARCHIVE)
        return
    for root, inside in ((trees.trash, ""), (trees.archive, FROM_ARCHIVE), (trees.source, FROM_SOURCE)):
        if path.is_relative_to(root):
            relative = path.relative_to(root).as_posix()
            yield joined(inside, relative) if relative != "." else inside
            return


class _UnjournalledFinder:
    """Goes through parts of the trash; gives each file once."""

    def __init__(self, pipeline: Pipeline, journalled: Collection[str]) -> None:
        self._trees = pipeline.trees
        self._names = pipeline.names
        self._zone = pipeline.zone
        self._now = pipeline.started
        self._copies = walks.of_copies(pipeline, Memory())
        self._done = set(journalled)

    def below(self, place: str) -> Iterator[Restore]:
        """The steps for one file, or for all files of a folder and those below it."""
        path = self._trees.trash / place
        if _is_regular(path):
            folder, _, name = place.rpartition("/")
            yield from self._files(folder, (name,), [each.name for each in paths_in(path.parent)])
        elif _is_folder(path):
            for folder, listing in readable(TreeWalk(path)):
                names = sorted(listing.names())
                yield from self._files(joined(place, folder) if folder else place, names, names)

    def _files(self, folder: str, wanted: Iterable[str], beside: Collection[str]) -> Iterator[Restore]:
        """The steps for some files of one folder; the clips come first and take their sidecars along."""
        for name in sorted(wanted, key=lambda name: (not is_clip_name(name), name)):
            place = joined(folder, name)
            if place not in self._done and not is_temporary_name(name):
                step = self._step(folder, name, beside)
                self._done.add(place)
                if step is not None:
                    yield step

    def _step(self, folder: str, name: str, beside: Collection[str]) -> Restore | None:
        place = joined(folder, name)
        status = _look(self._trees.trash / place)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        inside, _, relative = place.partition("/")
        if inside not in (FROM_SOURCE, FROM_ARCHIVE) or not relative:
            return None
        tree, root = Tree.SOURCE, self._trees.source
        if inside == FROM_ARCHIVE:
            tree, root = Tree.ARCHIVE, self._trees.archive
        known = self._copies.in_trash(place, status)
        if known is not None and tree is Tree.ARCHIVE:
            # An archive that was moved away for a better one; a run restores no outdated archive.
            return None
        home = known.source if known is not None and not known.is_sidecar else self._home(root, relative)
        camera, start = self._read(home, status)
        folder_there, _, name_there = home.rpartition("/")
        clip = Clip(root, folder_there, name_there, camera, start, fingerprint_of(status))
        identity = status.st_size, status.st_mtime_ns
        sidecars = self._sidecars(folder, name, name_there, beside) if tree is Tree.SOURCE else {}
        return Restore(clip, place, sidecars, Reason.NOT_JOURNALLED, home, identity, tree)

    def _home(self, root: Path, relative: str) -> str:
        """Where a file came from: its path, without the number that it got if another file had its name."""
        bare = unnumbered(relative)
        first = self._trees.trash / (FROM_ARCHIVE if root == self._trees.archive else FROM_SOURCE) / bare
        is_taken = os.path.lexists(root / bare) or os.path.lexists(first)
        return relative if is_taken else bare

    def _sidecars(self, folder: str, name: str, home: str, beside: Collection[str]) -> dict[str, str]:
        """The files of the clip's stem in the same folder of the trash: names at home, and absolute paths."""
        if not is_clip_name(name):
            return {}
        stem, stem_there = name.rpartition(".")[0], home.rpartition(".")[0]
        found: dict[str, str] = {}
        for each in beside:
            place = joined(folder, each)
            if is_sidecar_name(each) and each.rpartition(".")[0] == stem and place not in self._done:
                self._done.add(place)
                found[f"{stem_there}{each.removeprefix(stem)}"] = os.fspath(self._trees.trash / place)
        return found

    def _read(self, relative: str, status: os.stat_result) -> tuple[str, datetime]:
        """Camera and time by the name, otherwise no camera and the time of the file."""
        folder, _, name = relative.rpartition("/")
        parsed = self._names.read(name.rpartition(".")[0], folder)
        if parsed is not None:
            return parsed.camera, locate(parsed, status.st_mtime_ns, self._zone)
        try:
            return "", datetime.fromtimestamp(status.st_mtime, self._zone)
        except (ValueError, OverflowError, OSError):
            return "", self._now


def _look(path: Path) -> os.stat_result | None:
    """The state of a file; None if there is none, or if nothing can have such a name."""
    try:
        return path.lstat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise


def _is_regular(path: Path) -> bool:
    status = _look(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def _is_folder(path: Path) -> bool:
    status = _look(path)
    return status is not None and stat.S_ISDIR(status.st_mode)
