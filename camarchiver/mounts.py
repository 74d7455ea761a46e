"""Which filesystem a folder lies on, by the kernel's table, and whether it tells of every change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

# inotify sees what this kernel does. Other hosts, a FUSE daemon or a hypervisor change files behind it.
_UNSEEN = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs"),
        *("orangefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "fuse", "fuseblk"),
    }
)
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table."""

    place: str
    """The mount point."""
    kind: str
    """The filesystem's type, as `ext4` or `fuse.sshfs`."""

    @property
    def tells(self) -> bool:
        """Whether inotify hears of every change."""
        return self.kind not in _UNSEEN and not self.kind.startswith("fuse.")


def parse(text: str) -> Iterator[Mount]:
    """The lines of /proc/self/mountinfo, see proc(5); one that can't be read is passed over."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) >= 5 and after:
            place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            yield Mount(
                place.encode("latin-1", "replace").decode("utf-8", "surrogateescape"), after.split(" ")[0]
            )


def that_matter(mounts: Iterable[Mount], root: str, pruned: Collection[str] = ()) -> tuple[Mount, ...]:
    """The mount that a folder lies on, and those below the folder, but not within what is pruned."""
    own: Mount | None = None
    below = []
    for mount in mounts:
        if mount.place != root and _is_within(mount.place, root):
            if not any(_is_within(mount.place, folder) for folder in pruned):
                below.append(mount)
        elif _is_within(root, mount.place) and (own is None or len(mount.place) >= len(own.place)):
            own = mount
    return (*((own,) if own else ()), *below)


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _as_path(latin: str) -> str:
    """Bytes read as Latin-1, as the names of files are kept in Python."""
    return latin.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
