"""Folders of a NAS or an operating system that hold no camera's clips: a table with sources."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec import Struct, field

from camarchiver.naming.folders import comparable
from camarchiver.naming.formats import is_temporary_name

RECYCLE_BIN = "recycle bin"
SNAPSHOTS = "snapshots"
THUMBNAILS = "thumbnails and indexes"
SYSTEM = "of the file system"
OWN = "passed over as the config says"
HIDDEN = "hidden or unfinished"
OTHER_TREE = "a camera tree or archive of its own"
"""Its name does not say so: what is in it does."""

# What is inside; the folder's name, as a glob in any case; where it is described.
SYSTEM_FOLDERS: tuple[tuple[str, str, str], ...] = (
    # Synology
    (
        RECYCLE_BIN,
        "#recycle",
        "https://synology.com/knowledgebase/DSM/tutorial/File_Sharing/How_to_create_shared_folders_on_Synology_NAS",
    ),
    (SNAPSHOTS, "#snapshot", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
    (SYSTEM, "@tmp", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
    (SYSTEM, "@sharebin", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
    (THUMBNAILS, "@eadir", "https://github.com/syncthing/syncthing/issues/758"),
    # QNAP
    (RECYCLE_BIN, "@recycle", "https://github.com/nova-video-player/aos-AVP/issues/1308"),
    (SNAPSHOTS, "@recently-snapshot", "https://github.com/nova-video-player/aos-AVP/issues/1308"),
    (THUMBNAILS, ".@__thumb", "https://github.com/Marginal/QuickLookVideo/issues/52"),
    # Samba: its recycle bin, and its shadow copies
    (RECYCLE_BIN, ".recycle", "https://man.archlinux.org/man/vfs_recycle.8.en"),
    (SNAPSHOTS, "@gmt-*", "https://man.archlinux.org/man/extra/samba/vfs_shadow_copy.8.en"),
    # Btrfs with snapper (openSUSE, Rockstor), IBM Storage Scale; ZFS (TrueNAS, Proxmox); NetApp
    (SNAPSHOTS, ".snapshots", "https://man.archlinux.org/man/snapper.8.en"),
    (SNAPSHOTS, ".zfs", "https://github.com/nextcloud/recognize/issues/1385"),
    (
        SNAPSHOTS,
        ".snapshot",
        "https://learn.microsoft.com/en-us/azure/azure-netapp-files/snapshots-restore-file-client",
    ),
    (
        SNAPSHOTS,
        "~snapshot",
        "https://learn.microsoft.com/en-us/azure/azure-netapp-files/snapshots-restore-file-client",
    ),
    # Linux desktops, also of another user; ext2 to ext4
    (RECYCLE_BIN, ".trash", "https://specifications.freedesktop.org/trash-spec/latest/"),
    (RECYCLE_BIN, ".trash-*", "https://specifications.freedesktop.org/trash-spec/latest/"),
    (SYSTEM, "lost+found", "https://man7.org/linux/man-pages/man8/mklost+found.8.html"),
    # Windows, on exFAT and NTFS
    (RECYCLE_BIN, "$recycle.bin", "https://github.com/mattjm/duplicacy-script"),
    (RECYCLE_BIN, "recycler", "https://github.com/mattjm/duplicacy-script"),
    (SNAPSHOTS, "system volume information", "https://github.com/mattjm/duplicacy-script"),
    # macOS
    (
        RECYCLE_BIN,
        ".trashes",
        "https://bombich.com/kb/ccc5/some-files-and-folders-are-automatically-excluded-from-backup-task",
    ),
    (
        RECYCLE_BIN,
        "network trash folder",
        "https://bombich.com/kb/ccc5/some-files-and-folders-are-automatically-excluded-from-backup-task",
    ),
    (THUMBNAILS, ".spotlight-v100", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
    (SYSTEM, ".fseventsd", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
    (SYSTEM, ".temporaryitems", "https://github.com/rylos/synofile/releases/tag/v0.8.13"),
)

_EXACT = {pattern: kind for kind, pattern, _ in SYSTEM_FOLDERS if "*" not in pattern}
_GLOBS = tuple((pattern, kind) for kind, pattern, _ in SYSTEM_FOLDERS if "*" in pattern)


class PassedOver(Struct, frozen=True):
    """Which folders are not entered, by their names: those of the table, hidden ones, and the owner's."""

    own: tuple[str, ...] = field(default=())
    """Globs of the owner's config, in any case."""

    def kind(self, name: str) -> str:
        """What a folder of this name holds instead of clips; empty if it may hold clips."""
        return _kind(name, self.own)

    def may_hold_clips(self, name: str) -> bool:
        """Whether a folder below a root may hold clips, by its own name; no other folder is entered."""
        return not _kind(name, self.own)


KNOWN = PassedOver()
"""Those of the table and hidden ones, without any of an owner's."""


@lru_cache(maxsize=1024)
def _kind(name: str, own: tuple[str, ...]) -> str:
    """Cached, because the folders of a tree have few names: years, months, days, hours and cameras."""
    folded = comparable(name).casefold()
    if (kind := _EXACT.get(folded)) is not None:
        return kind
    kinds = (kind for pattern, kind in _GLOBS if fnmatchcase(folded, pattern))
    if (found := next(kinds, None)) is not None:
        return found
    if any(fnmatchcase(folded, comparable(pattern).casefold()) for pattern in own):
        return OWN
    return HIDDEN if is_temporary_name(name) else ""
