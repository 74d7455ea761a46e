"""Finds out when clips end, if that decides whether a hold covers them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Fingerprint
from camarchiver.domain.hold import Hold, held_by, may_reach
from camarchiver.naming.formats import is_sidecar_name

if TYPE_CHECKING:
    from camarchiver.media.parsing.prober import Prober

NextClipStart = Callable[[Clip], datetime | None]
"""When the camera's next clip begins; None if there is none."""


class ClipEnds:
    """Fills in durations; opens a file only if one of the holds begins shortly after its clip."""

    def __init__(self, holds: Iterable[Hold], now: datetime) -> None:
        self._holds = tuple(holds)
        self._now = now
        self._seconds: dict[Fingerprint, float | None] = {}
        self._mutex = threading.Lock()
        self._prober: Prober | None = None

    @property
    def has_holds(self) -> bool:
        """Whether there is any hold."""
        return bool(self._holds)

    def with_durations(
        self, clips: Iterable[Clip], archived: Mapping[str, Iterable[Archived]], following: NextClipStart
    ) -> tuple[Clip, ...]:
        """The clips of one folder, with durations if a hold needs them; `archived` is by relative path."""
        if not self.has_holds:
            return tuple(clips)
        return tuple(
            self._measured(clip, archived.get(clip.relative, ()), following) if self._is_open(clip) else clip
            for clip in clips
        )

    def with_duration(self, clip: Clip, archived: Iterable[Archived], following: NextClipStart) -> Clip:
        """The clip, with a duration if a hold needs it: the journal's, its file's, or up to the next clip."""
        return self._measured(clip, archived, following) if self._is_open(clip) else clip

    def _is_open(self, clip: Clip) -> bool:
        """Whether a hold needs to know when the clip ends."""
        return may_reach(clip, self._holds, self._now) and not is_sidecar_name(clip.name)

    def _measured(self, clip: Clip, archived: Iterable[Archived], following: NextClipStart) -> Clip:
        journalled = (entry.duration for entry in archived if entry.describes(clip))
        seconds = next((seconds for seconds in journalled if seconds is not None), None)
        if seconds is None:
            seconds = self._probed(clip)
        if seconds is None and (later := following(clip)) is not None:
            seconds = later.timestamp() - clip.start.timestamp()
        return clip if seconds is None else replace(clip, duration=seconds)

    def _probed(self, clip: Clip) -> float | None:
        """Seconds by the file's header, or by all its packets if the header has none; None for no video."""
        key = clip.fingerprint
        with self._mutex:
            if key not in self._seconds:
                self._seconds[key] = self._probe(clip)
            return self._seconds[key]

    def _probe(self, clip: Clip) -> float | None:
        from camarchiver.media.parsing.prober import ProbeError, Prober

        if self._prober is None:
            self._prober = Prober()
            weakref.finalize(self, self._prober.close)
        try:
            seconds = self._prober.read_header(clip.path).duration
            return seconds if seconds else self._prober.measure(clip.path).span
        except ProbeError:
            return None


def current_hold(
    clip: Clip, holds: Iterable[Hold], now: datetime, archived: Iterable[Archived] = ()
) -> Hold | None:
    """The hold that covers a clip, for holds that may be newer than the plan."""
    known = tuple(holds)
    return (
        held_by(ClipEnds(known, now).with_duration(clip, archived, lambda _: None), known, now)
        if known
        else None
    )
