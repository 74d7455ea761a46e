"""Clips, their fingerprints, the trees they lie in, and their archives. Pure."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.reason import REASONS, Reason


class Fingerprint(Struct, frozen=True):
    """What identifies one state of one file; device and inode hold only until a remount."""

    device: int
    inode: int
    size: int
    """Bytes."""
    mtime_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """Bytes and mtime_ns: what holds longer than a mount."""
        return self.size, self.mtime_ns

    def is_same_file(self, other: Fingerprint) -> bool:
        """Whether both are states of one file, which may have several names."""
        return (self.device, self.inode) == (other.device, other.inode)


COARSEST_NS = 2_000_000_000
"""How far a copy's time may differ from its original's: FAT stores even seconds, others are finer."""


def is_copied(found: tuple[int, int], original: tuple[int | None, int | None]) -> bool:
    """Whether a file of this size and mtime_ns may be a copy of the original.

    Another filesystem may have rounded its time.
    """
    (size, mtime_ns), (original_size, original_ns) = found, original
    return size == original_size and original_ns is not None and abs(mtime_ns - original_ns) <= COARSEST_NS


class Clip(Struct, frozen=True):
    """One finished video file of one camera, placed in time by its name.

    A plan makes one for every file, and reads its fields again and again. A named tuple takes twice as long
    to make, and its fields five times as long to read.
    """

    root: Path
    """The source root, absolute."""
    folder: str
    """Relative to the root, with `/`, empty for the root itself."""
    name: str
    camera: str
    """In the form in which cameras are compared."""
    start: datetime
    """By its name; aware, in the configured time zone."""
    fingerprint: Fingerprint
    links: int = 1
    """Names that share the inode."""
    duration: float | None = None
    """Seconds, if known."""
    sidecars: tuple[str, ...] = ()
    """Names of the files in the same folder that share its stem, and of pictures of its camera and time."""
    place: str = ""
    """Where its bytes lie below the root, if not under its own name: a copy in the trash."""
    source_mtime_ns: int | None = None
    """When its source was last written, if this file is another one: an archive, for example."""
    corrected: datetime | None = None
    """When it was recorded, if the owner said which clock is right; `start` if the name is."""

    @property
    def written_ns(self) -> int:
        """When its source was last written, in nanoseconds since 1970."""
        return self.fingerprint.mtime_ns if self.source_mtime_ns is None else self.source_mtime_ns

    @property
    def recorded(self) -> datetime:
        """When it was recorded, as far as is known; its name, its journal and its archive go by `start`."""
        return self.start if self.corrected is None else self.corrected

    @property
    def relative(self) -> str:
        """The path below the source root: the clip's name in journal, holds and failures."""
        return self.beside(self.name)

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / (self.place or self.relative)

    def beside(self, name: str) -> str:
        """The path, relative to the root, of another file in the clip's folder."""
        return joined(self.folder, name)


class Label(Struct, frozen=True):
    """What a clip's name says."""

    camera: str
    start: datetime
    """Local, without a zone."""


def joined(folder: str, name: str) -> str:
    """The path of `name` in `folder`, which is empty for the root itself."""
    return f"{folder}/{name}" if folder else name


def beside(relative: str, name: str) -> str:
    """The path of another file in the same folder."""
    return joined(relative.rpartition("/")[0], name)


class Tree(StrEnum):
    """Where a copy is: in one of the three trees, in a recorder's spool or outbox, or at the remote."""

    SOURCE = "source"
    ARCHIVE = "archive"
    TRASH = "trash"
    OFFSITE = "offsite"
    """The remote of off-site copies; it is no folder of this machine."""
    SPOOL = "spool"
    OUTBOX = "outbox"


class Trees(Struct, frozen=True):
    """The three roots, absolute and resolved."""

    source: Path
    archive: Path
    trash: Path

    @property
    def state(self) -> Path:
        """The folder of journal, runs, failures and holds."""
        return self.archive / STATE_FOLDER


STATE_FOLDER = ".camarchiver"

ARCHIVE_FOLDER, TRASH_FOLDER = "archived", ".deleted"
"""Where archive and trash are below the source unless an option says otherwise."""


FROM_SOURCE, FROM_ARCHIVE = "input", "output"
"""The trash's two folders: for files of the source, and for files of the archive."""


class Disposal(StrEnum):
    """What happens to a file that leaves its tree."""

    TRASH = "trash"
    DELETE = "delete"
    KEEP = "keep"


class Archived(Struct, frozen=True):
    """The journal's entry that one source became one archive."""

    source: str
    """Relative to the source root."""
    size: int
    mtime_ns: int
    digest: str
    """BLAKE2b of the source, hexadecimal."""
    archive: str
    """Relative to the archive root."""
    archive_size: int
    remuxed: bool
    """True if the archive is a lossless copy."""
    duration: float | None = None
    """Seconds."""
    unencoded: str = ""
    """Why it is a lossless copy; empty in old lines, which mean that encoding saved too little."""
    motion: ClipMotion | None = None
    """None if nothing looked for motion in it."""

    def describes(self, clip: Clip) -> bool:
        """Whether this entry is about this very source: the same size and mtime."""
        return (self.size, self.mtime_ns) == clip.fingerprint.identity

    @property
    def why_unencoded(self) -> Reason | None:
        """Why it is a lossless copy; None if it is not."""
        if not self.remuxed:
            return None
        return Reason(self.unencoded) if self.unencoded in REASONS else Reason.NOT_SMALLER


class RemoteCopy(Struct, frozen=True):
    """An off-site copy of an archive, as the journal knows it."""

    remote: str
    """Where it is, as the config names it."""
    name: str
    """Its name below the remote."""
    archive: str
    """Relative to the archive root."""
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b of the archive, hexadecimal."""
    verified: datetime | None = None
    """When it was last compared, whole, with the archive's BLAKE2b; None if that proves nothing now."""

    @property
    def path(self) -> str:
        """Remote and name as rclone writes them."""
        return remote_path(self.remote, self.name)


def remote_path(remote: str, name: str) -> str:
    """Remote and name as rclone writes them: `nas:a.mp4`, `nas:folder/a.mp4`."""
    return f"{remote}{'' if remote.endswith((':', '/')) else '/'}{name}"
