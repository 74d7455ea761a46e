"""Addresses of clips, relative to the page that has the link, so that a site works from any disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from camarchiver.domain.clip import Tree, Trees
from camarchiver.queries.find import ClipFile

_CAMERA_PAGES = "cameras/NAME"
"""Where, below the site, the pages are that link to clips."""


class ClipLinks:
    """Links from the pages of cameras to the files of clips, where they lie."""

    def __init__(self, site: Path, trees: Trees) -> None:
        roots = {Tree.SOURCE: trees.source, Tree.ARCHIVE: trees.archive, Tree.TRASH: trees.trash}
        self._roots: Mapping[Tree, str] = {tree: f"{root}/" for tree, root in roots.items()}
        self._bases = {
            tree: address(os.path.relpath(root, site / _CAMERA_PAGES)) + "/" for tree, root in roots.items()
        }

    def of(self, file: ClipFile) -> str:
        """The address of a file. It begins with a relative path, so that no name can be a scheme."""
        return self._bases[file.tree] + address(file.path.removeprefix(self._roots[file.tree]))


def address(path: str) -> str:
    """A relative path as an address; bytes that are not UTF-8 are kept."""
    return quote(os.fsencode(path), safe="/-._~")
