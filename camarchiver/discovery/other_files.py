"""Finds the files about which no rule decides: other suffixes, hidden files, and folders passed over."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from camarchiver.domain.clip import STATE_FOLDER, Trees, joined
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import cause
from camarchiver.naming.formats import is_other_video_name, is_text_name
from camarchiver.naming.system_folders import HIDDEN, OTHER_TREE, PassedOver
from camarchiver.state.volume_marker import tree_around
from camarchiver.storage import atomic
from camarchiver.storage.walk import NOTHING, Listing, TreeWalk

_OWN_LOG = "archiver.log"
_NO_FOOTAGE = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
"""What desktops leave in every folder, in lower case."""


class OtherFiles:
    """Goes through the three trees once more, also through what the walks of plans pass over.

    Only what must be said about all files needs it: it lists every folder. Clips are examined again only in
    folders of the source that have texts, which may be sidecars.
    """

    def __init__(
        self,
        trees: Trees,
        passed_over: PassedOver,
        lone_texts: Callable[[str], Collection[str]],
    ) -> None:
        """`lone_texts` gives the texts of a folder of the source that belong to no clip."""
        self._lone_texts = lone_texts
        self._trees = trees
        self._passed_over = passed_over

    def found(self) -> Iterator[Keep]:
        """Each such file; a folder among those passed over that can't be read stands for its files."""
        trees = self._trees
        for root in (trees.source, trees.archive, trees.trash):
            walk = TreeWalk(
                root, pruned={trees.source, trees.archive, trees.trash} - {root}, enters=_is_no_state
            )
            for folder in walk:
                kind = (
                    next(filter(None, map(self._passed_over.kind, folder.split("/"))), "") if folder else ""
                )
                try:
                    listing = walk.look(folder, wanted=NOTHING)
                except OSError as error:
                    if kind and not isinstance(error, FileNotFoundError):
                        yield Keep(root, folder, Reason.UNREADABLE, detail=cause(error))
                    continue
                if not kind and root == trees.source and tree_around(root, folder):
                    kind = OTHER_TREE
                for name in sorted(self._names(listing, root, folder, kind)):
                    if (file := _regular(root, joined(folder, name), kind)) is not None:
                        yield file

    def _names(self, listing: Listing, root: Path, folder: str, kind: str) -> Iterator[str]:
        if kind:
            names = listing.names()
        elif root == self._trees.source:
            # The walk over the source names videos of other formats by itself, and decides about sidecars.
            foreign = [name for name in listing.foreign if not is_other_video_name(name)]
            if any(map(is_text_name, foreign)):
                lone = self._lone_texts(folder)
                foreign = [name for name in foreign if not is_text_name(name) or name in lone]
            names = iter((*foreign, *listing.temporary))
        else:
            # The walk over archive and trash names foreign files by itself.
            names = iter(listing.temporary)
        for name in names:
            is_ours = name.endswith(".lock") or atomic.staged_stem(name) is not None
            is_log = not folder and name.startswith(_OWN_LOG)
            if not (is_ours or is_log or name.lower() in _NO_FOOTAGE):
                yield name


def _is_no_state(name: str) -> bool:
    return name != STATE_FOLDER


def _regular(root: Path, relative: str, kind: str) -> Keep | None:
    try:
        status = (root / relative).lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    where = f"in a folder that is passed over: {kind}" if kind and kind != HIDDEN else ""
    return Keep(root, relative, Reason.FOREIGN, status.st_size, detail=where)
