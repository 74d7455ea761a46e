"""The steps that plans are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Disposal, Fingerprint, RemoteCopy, Tree
from camarchiver.domain.reason import Reason


class _OfClip(Struct, frozen=True):
    """What every step over a clip has, with the properties that `Keep` has for any file."""

    clip: Clip

    @property
    def relative(self) -> str:
        """The clip's path below its root."""
        return self.clip.relative

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.clip.path

    @property
    def source_clip(self) -> Clip:
        """The clip with the size and time by which journal, failures and notes know it."""
        return self.clip

    @property
    def size(self) -> int:
        """Bytes."""
        return self.clip.fingerprint.size

    @property
    def camera(self) -> str:
        """The clip's camera."""
        return self.clip.camera

    @property
    def start(self) -> datetime:
        """When the clip begins, aware."""
        return self.clip.start


class Archive(_OfClip, frozen=True):
    """Step: encode a clip, verify and publish its archive, then remove the source."""

    target: str
    """Relative to the archive root; execution adds a number if another file has the name."""
    reason: Reason
    replaces: Archived | None = None
    """The archive to replace, if a repeat or a repair was asked for."""
    keeps_source: bool = False
    """Whether the source stays in any case, because its camera's clock is doubtful."""
    any_camera: bool = False
    """Whether the archive of another camera's clip may serve for it if the bytes are the same."""

    @property
    def source_clip(self) -> Clip:
        """The clip with the size and time of its source, also if it is encoded from another file.

        That is its archive, or a copy in a trash whose filesystem may have rounded the time.
        """
        if not self.clip.place or self.replaces is None:
            return self.clip
        source = Fingerprint(-1, -1, self.replaces.size, self.replaces.mtime_ns)
        return replace(self.clip, fingerprint=source)


class RemoveSource(_OfClip, frozen=True):
    """Step of `archive`: remove a source that is archived already; `cleanup` does so by `RemoveCopy`."""

    disposal: Disposal
    reason: Reason
    archived: Archived


class Keep(Struct, frozen=True):
    """Step: leave a file alone, and say why."""

    root: Path
    relative: str
    reason: Reason
    size: int = 0
    camera: str = ""
    start: datetime | None = None
    detail: str = ""

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative


class Restore(_OfClip, frozen=True):
    """Step: restore a file from the trash, or an archive from its off-site copy, to the path that it had.

    `clip` is the file as it was: its root is that of its tree, its fingerprint the trashed file's.
    """

    trash: str
    """Below the trash root; empty for what comes from an off-site copy."""
    sidecars: Mapping[str, str]
    """Each sidecar that went with it: its name, and its absolute path now."""
    reason: Reason
    source: str
    """The clip's name in the journal: its path below the source root."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of the clip's source."""
    tree: Tree = Tree.SOURCE
    """Which tree it goes back to."""
    offsite: RemoteCopy | None = None
    """The off-site copy that an archive is restored from, in place of the trash."""


class RemoveCopy(_OfClip, frozen=True):
    """Step of `cleanup`: a copy of a clip, or its source, leaves its tree by a rule of the owner's policy.

    `clip` is the file to remove: its root is that of its tree.
    """

    tree: Tree
    disposal: Disposal
    reason: Reason
    source: str
    """The clip's name in the journal: its path below the source root."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of the clip's source, which may be gone."""
    archived: Archived | None = None
    """The archive that must still exist at execution; None if the rule may remove a last copy."""
    sharers: tuple[Clip, ...] = ()
    """Other clips whose archive this file is, too; a hold on one of them keeps it."""
    offsite: RemoteCopy | None = None
    """The off-site copy that must be verified once more at execution, because it will be the last one; of a
    step in `Tree.OFFSITE` the copy that goes.
    """


class _OfCopy(_OfClip, frozen=True):
    """A step over an off-site copy; `clip` is the archive, with the size and mtime that are journalled."""

    reason: Reason
    source: str
    """The clip's name in the journal: its path below the source root."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of the clip's source."""
    digest: str
    """BLAKE2b of the archive."""
    name: str
    """The copy's name below the remote."""


class MakeCopy(_OfCopy, frozen=True):
    """Step of `offsite sync`: an archive gets a verified off-site copy, or a copy of it is verified."""


class CheckCopy(_OfCopy, frozen=True):
    """Step of `offsite verify`: an off-site copy is compared with the archive's BLAKE2b."""


class RemoveLeftover(Struct, frozen=True):
    """Step of `cleanup`: remove an unfinished file, a dead owner's lock or an empty folder; never footage."""

    root: Path
    relative: str
    tree: Tree
    reason: Reason
    fingerprint: Fingerprint | None = None
    """None for a folder."""

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint.size if self.fingerprint else 0

    @property
    def camera(self) -> str:
        """Empty: it belongs to no camera."""
        return ""

    @property
    def start(self) -> None:
        """None: it has no time."""
        return None


class Salvage(Struct, frozen=True):
    """Step: move the complete part of a clip that a dead recorder left into the outbox."""

    root: Path
    """The spool."""
    camera: str
    name: str
    fingerprint: Fingerprint
    target: Path
    """The camera's folder in the outbox."""
    reason: Reason = Reason.UNFINISHED
    start: datetime | None = None
    """Aware; None if the name holds no time."""

    @property
    def relative(self) -> str:
        """The path below the spool."""
        return f"{self.camera}/{self.name}"

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint.size

    @property
    def tree(self) -> Tree:
        """The spool."""
        return Tree.SPOOL


ArchiveStep = Archive | RemoveSource
"""What `archive` does to a clip."""

Step = Archive | RemoveSource | Restore | RemoveCopy | MakeCopy | CheckCopy | RemoveLeftover | Salvage | Keep


DAMAGED = "damaged"
"""The code of the problem that archives are missing or damaged."""
