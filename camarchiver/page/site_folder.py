"""The folder of a site: writes and removes its files, each in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from camarchiver.domain.clip import Trees
from camarchiver.errors import StorageError, UsageError, explained, user_name
from camarchiver.page import site_state
from camarchiver.storage import atomic, run_lock

_LOCK = ".camarchiver-page.lock"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
"""Camera names that are used as folder names as they are: everywhere safe, and never equal but for case."""
_ODD = re.compile(r"[^a-z0-9_-]+")
_MODE = 0o644
"""A web server reads these files as another user."""


_OTHER = "name another folder (--to, or to below [page] in the config file)"


class SiteFolder:
    """One site on disk."""

    def __init__(self, root: Path, trees: Trees) -> None:
        """Raises UsageError for a folder that lies in one of the trees, or that holds anything else.

        Raises StorageError if it can't be written. Nothing is created.
        """
        self.root = root
        for tree in (trees.source, trees.archive, trees.trash):
            if root.is_relative_to(tree) or tree.is_relative_to(root):
                raise UsageError(
                    f"{root} and {tree} lie within each other: a page is not written among clips",
                    hint=f"name a folder beside the trees, such as {trees.source.parent / 'camera-page'}",
                )
        self._check_writable()
        if self._holds_other_files():
            raise UsageError(
                f"{root} is not empty, and no page was written there before",
                hint="name a folder that is empty or does not exist yet",
            )

    def _check_writable(self) -> None:
        place = next(path for path in (self.root, *self.root.parents) if os.path.lexists(path))
        if not place.is_dir():
            raise UsageError(f"no page can be written to {self.root}: {place} is no folder", hint=_OTHER)
        if not os.access(place, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            why = "is read-only" if is_read_only else f"can't be written by user {user_name()}"
            raise StorageError(f"no page can be written to {self.root}: {place} {why}", hint=_OTHER)

    def _holds_other_files(self) -> bool:
        if (self.root / site_state.FILE).exists():
            return False
        try:
            return any(not _is_ours(each.name) for each in self.root.iterdir())
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(f"{self.root}: {explained(error)}", hint=_OTHER) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps a second run from writing the same site. Raises AlreadyRunning or OSError."""
        atomic.make_folders(self.root)
        with run_lock.exclusive(self.root / _LOCK, what="page"):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what a run left that was killed: unfinished files are directly in the root."""
        for path in self.root.iterdir():
            if atomic.staged_stem(path.name) is not None:
                path.unlink(missing_ok=True)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, by their paths below the root; each has its old content or its new one."""
        for name, text in files.items():
            target = self.root / name
            atomic.make_folders(target.parent)
            atomic.write_bytes(target, text.encode(), mode=_MODE, staging=self.root)

    def update(self, files: Mapping[str, str]) -> None:
        """Write those of these files that have another content."""
        for name, text in files.items():
            try:
                is_same = (self.root / name).read_text(encoding="utf-8") == text
            except (OSError, UnicodeDecodeError):
                is_same = False
            if not is_same:
                self.write({name: text})

    def link(self, folder: str, files: Mapping[str, Path]) -> None:
        """Let a folder hold these files and no others: as hard links where that is possible, or copies."""
        place = self.root / folder
        if files:
            atomic.make_folders(place)
        for name, source in files.items():
            with contextlib.suppress(FileNotFoundError):
                self._link(source, self.root / name)
        with contextlib.suppress(FileNotFoundError):
            for path in place.iterdir():
                if f"{folder}/{path.name}" not in files:
                    path.unlink(missing_ok=True)
            if not files:
                place.rmdir()

    def _link(self, source: Path, target: Path) -> None:
        """Give a file a second name, in place of whatever has it; a copy where that is not possible."""
        with contextlib.suppress(FileNotFoundError):
            here, there = target.stat(), source.stat()
            is_same_copy = (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
            if is_same_copy:
                return
        with atomic.staged(self.root / target.name) as part:
            part.path.unlink()
            try:
                os.link(source, part.path)
            except OSError:
                shutil.copy2(source, part.path)
            part.path.replace(target)

    def remove(self, names: Collection[str]) -> None:
        """Remove files that are outdated; their folder goes when it becomes empty."""
        for name in names:
            path = self.root / name
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _is_ours(name: str) -> bool:
    """Whether a file in a site without a state may be left by a run that was killed."""
    return name in (_LOCK, "assets", "cameras") or atomic.staged_stem(name) is not None


def folder_of(camera: str) -> str:
    """The name of a camera's folder: no two cameras have the same one, on any filesystem."""
    if _PLAIN.fullmatch(camera):
        return camera
    digest = hashlib.blake2b(camera.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    readable = _ODD.sub("-", camera.lower()).strip("-")[:32]
    return f"{readable}.{digest}" if readable else f"camera.{digest}"
