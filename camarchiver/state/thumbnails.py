"""A cache of thumbnails, a strip for each clip; it may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from camarchiver.domain.clip import Clip
from camarchiver.domain.motion import ThumbnailStrip
from camarchiver.domain.untrusted import decode
from camarchiver.journal.event import JournalEvent
from camarchiver.storage import anchored, atomic, filesystems

CACHE = "cache"
"""Below the state folder. Unfinished strips are directly in it, where the next start looks for them."""
FOLDER = f"{CACHE}/thumbnails"

ENOUGH = 1_000_000
"""Free bytes with which a run can write lock, record and journal."""

_READABLE = 0o644
"""Pages link to these files and are read by a web server; only the folder is private."""
_HEAD_BYTES = 65_536 + 64
"""Enough for the longest comment and what precedes it."""
_COMMENT = 0xFE
_APPLICATION = range(0xE0, 0xF0)


class StripKey(NamedTuple):
    """The clip that a strip shows: it is the same for its source, its archive and a copy in the trash."""

    day: date
    """By its name."""
    source: str
    """Its path below the source root, as in the journal."""
    size: int
    """Bytes of its source."""
    mtime_ns: int
    """Of its source."""

    @classmethod
    def of_clip(cls, clip: Clip) -> StripKey:
        """The key of a clip in the source tree."""
        return cls(clip.start.date(), clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns)

    @classmethod
    def of_event(cls, event: JournalEvent) -> StripKey | None:
        """The key of the clip that a journal line is about; None if the line lacks its size or time."""
        if event.source_size is None or event.source_mtime_ns is None:
            return None
        return cls(event.start.date(), event.source, event.source_size, event.source_mtime_ns)


def path(state: Path, key: StripKey) -> Path:
    """Where the strip of a clip is, or would be; a JPEG file that everybody may read and link to."""
    return _folder(state, key.day) / _name(key)


def existing(state: Path, day: date) -> Callable[[StripKey], bool]:
    """Whether a clip of this day has a strip at this moment, without a look at the disk for each of them."""
    try:
        names = frozenset(os.listdir(_folder(state, day)))  # noqa: PTH208  # names are all that is needed
    except OSError:
        names = frozenset()
    return lambda key: bool(names) and _name(key) in names


def _folder(state: Path, day: date) -> Path:
    return state / FOLDER / f"{day:%Y/%m/%d}"


def _name(key: StripKey) -> str:
    stem, _, _ = key.source.rpartition("/")[2].rpartition(".")
    digest = hashlib.blake2b(
        f"{key.source}\0{key.size}\0{key.mtime_ns}".encode("utf-8", "surrogateescape"), digest_size=8
    ).hexdigest()
    return atomic.truncate_name(stem, f"-{digest}.jpg")


def write(state: Path, key: StripKey, strip: ThumbnailStrip, jpeg: bytes) -> Path:
    """Put a strip into the cache, in the place of an older one. Raises OSError or StorageError."""
    target = path(state, key)
    anchored.make_folder(state, target.parent.relative_to(state).as_posix())
    atomic.write_bytes(target, _with_comment(jpeg, strip), mode=_READABLE, staging=state / CACHE)
    return target


def read(state: Path, key: StripKey) -> ThumbnailStrip | None:
    """What the strip of a clip shows; None if there is none, or one that can't be understood."""
    try:
        with path(state, key).open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    for comment in _comments(head):
        with contextlib.suppress(ValueError):
            return decode(comment, ThumbnailStrip)
    return None


def remove(state: Path, key: StripKey) -> None:
    """Remove the strip of a clip, if there is one. Raises OSError."""
    path(state, key).unlink(missing_ok=True)


def remove_before(state: Path, day: date) -> None:
    """Remove the strips of clips whose names are of an earlier day; one that can't be removed stays."""
    for folder in sorted((state / FOLDER).glob("*/*/*")):
        with contextlib.suppress(ValueError):
            if date(*map(int, folder.parts[-3:])) < day:
                shutil.rmtree(folder, ignore_errors=True)


def evict_until_writable(state: Path) -> None:
    """Remove the oldest strips while the disk of the state is full: a cleanup must write what it removes."""
    folder = state / FOLDER
    if folder.is_symlink() or folder.parent.is_symlink():
        return
    for day in sorted(folder.glob("*/*/*")):
        if filesystems.free_bytes(state) >= ENOUGH:
            return
        shutil.rmtree(day, ignore_errors=True)


def clear(state: Path) -> None:
    """Remove the whole cache. Raises OSError or StorageError."""
    # A link on the way there would lead out of the state: this refuses it.
    anchored.make_folder(state, FOLDER)
    shutil.rmtree(state / FOLDER)


def _with_comment(jpeg: bytes, strip: ThumbnailStrip) -> bytes:
    """The picture with the description of the strip as a comment (ITU-T T.81, B.2.4.5)."""
    text = json.dumps(msgspec.to_builtins(strip), separators=(",", ":")).encode("ascii")
    place = next((end for code, _, end in _segments(jpeg) if code in _APPLICATION), 2)
    comment = bytes([0xFF, _COMMENT]) + (len(text) + 2).to_bytes(2) + text
    return jpeg[:place] + comment + jpeg[place:]


def _comments(jpeg: bytes) -> Iterator[bytes]:
    return (jpeg[start:end] for code, start, end in _segments(jpeg) if code == _COMMENT)


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Code, and start and end of the content, of each segment of a JPEG's header; none of other files."""
    position = 2 if jpeg[:2] == b"\xff\xd8" else len(jpeg)
    while position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        code, length = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4])
        end = position + 2 + length
        if length < 2 or end > len(jpeg):
            return
        yield code, position + 4, end
        position = end
