"""Collects the files that stay although they are, or may be, older than `max_age_hard`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from camarchiver.domain.clip import FROM_ARCHIVE, FROM_SOURCE, Clip
from camarchiver.domain.clocks import as_recorded, earliest_time, file_time, has_age, is_doubtful
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import Problem
from camarchiver.naming.folders import camera_of_folder
from camarchiver.naming.formats import is_clip_name, is_other_video_name
from camarchiver.naming.patterns import Names, locate
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy
from camarchiver.runtime.formatting import count_of, shown

LISTED = 20
"""Files that are named one by one."""


class PastLimit:
    """Collects files that stay although they are past the limit, or whose age is unknown."""

    def __init__(self, policy: CleanupPolicy, names: Names, now: datetime) -> None:
        self._policy = policy
        self._names = names
        self._now = now
        self._listed: list[str] = []
        self._count = 0
        """All files."""
        self._cameras = set[str]()
        """Those that recorded them; empty for an unknown one."""

    def stays(self, copy: Copy, reason: Reason) -> None:
        """A copy of a clip, or of several ones, stays."""
        clips = (copy.clip, *(sharer.clip for sharer in copy.sharers))
        if past := {clip.camera for clip in clips if self._is_past(clip)}:
            self._add(past, f"{copy.clip.path} ({reason})")

    def _is_past(self, clip: Clip) -> bool:
        hard = self._policy.of(clip.camera).max_age_hard
        if hard is None:
            return False
        if is_doubtful(clip, self._now):
            # It counts as past the limit if either of its clocks says so.
            return earliest_time(clip) <= self._now - hard
        return has_age(as_recorded(clip), hard, self._now)

    def is_left(self, kept: Keep) -> None:
        """A file stays that is no copy of a clip, as far as is known."""
        if kept.reason in (Reason.NOT_A_CLIP, Reason.OTHER_TREE):
            return  # the files in another tree are named one by one
        camera, start = kept.camera, kept.start
        folder, _, name = kept.relative.rpartition("/")
        inside = folder.removeprefix(FROM_SOURCE).removeprefix(FROM_ARCHIVE).removeprefix("/")
        camera = camera or camera_of_folder(inside)
        written = self._written(kept)
        if start is None and written is not None:
            parsed = self._names.read(name.rpartition(".")[0], inside)
            if parsed is not None:
                assert self._now.tzinfo is not None
                camera, start = (
                    parsed.camera,
                    locate(parsed, int(written.timestamp() * 1e9), self._now.tzinfo),
                )
        # A file that may be any camera's must not stay longer than the strictest limit allows.
        hard = self._policy.of(camera).max_age_hard if camera else self._policy.shortest_hard_limit
        if hard is None:
            return
        limit = self._now - hard
        if written is None:
            is_past = kept.reason is Reason.UNREADABLE
        elif start is None:
            # A copy of a video gets a new time: without one in its name its age is unknown.
            is_past = written <= limit or is_clip_name(name) or is_other_video_name(name)
        else:
            is_past = min(start, written) <= limit
        if is_past:
            why = ", ".join(filter(None, (str(kept.reason), kept.detail)))
            is_known = camera in self._policy.cameras_own or start is not None
            self._add({camera if is_known else ""}, f"{kept.path} ({why})")

    def _written(self, kept: Keep) -> datetime | None:
        """When a file was last written; None if it can't be examined, or is a folder."""
        if kept.reason is Reason.UNREADABLE:
            return None
        try:
            return file_time(kept.path.lstat().st_mtime_ns, self._now.tzinfo)
        except OSError:
            return None

    def _add(self, cameras: Iterable[str], words: str) -> None:
        self._count += 1
        self._cameras.update(cameras)
        if len(self._listed) < LISTED:
            self._listed.append(words)

    def problems(self) -> Iterator[Problem]:
        """What stays, one by one as far as possible."""
        if count := self._count:
            more = f" and {count - LISTED:,} more" if count > LISTED else ""
            listed = "; ".join(map(shown, self._listed))
            are, stay = ("is", "stays") if count == 1 else ("are", "stay")
            words = (
                f"{count_of(count, 'file')} that {are} or may be older than max_age_hard {stay}:"
                f" {listed}{more}"
            )
            remedy = (
                "end the hold, say which clock of a camera is right, or remove by hand what camarchiver"
                " doesn't know"
            )
            yield Problem("past-limit", words, remedy)

    def promises(self) -> Iterator[str]:
        """Statements about all files; only made if every file was examined and none is in doubt."""
        general = self._policy.limits.max_age_hard
        if general is not None and not self._count:
            limit = f"{self._now - general:%Y-%m-%d %H:%M}"
            yield f"after this run no tree holds anything recorded before {limit}"
        for camera, own in sorted(self._policy.cameras_own.items()):
            hard = own.max_age_hard
            if hard is not None and hard != general and not self._cameras & {camera, ""}:
                limit = f"{self._now - hard:%Y-%m-%d %H:%M}"
                yield f"after this run no tree holds anything that {shown(camera)} recorded before {limit}"
