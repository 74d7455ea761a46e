"""Why a clip's archive is a lossless copy of it, as far as the clip itself shows."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from camarchiver.domain.clip import Clip
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod
from camarchiver.media.encoders import Encoder, is_interlaced
from camarchiver.media.info import AudioStream, Media

_HARMLESS_STREAMS = frozenset({"data:tmcd"})
"""A start time code: the archive carries the clip's start as creation_time."""

_REMUXED = frozenset({Reason.INTERLACED, Reason.REFUSED, Reason.NOT_SMALLER})
"""Clips that another container may hold as well; all others are copied unchanged."""


class Unencoded(Struct, frozen=True):
    """Why a clip is not encoded."""

    reason: Reason
    detail: str
    """In words."""

    @property
    def ways(self) -> tuple[ArchiveMethod, ...]:
        """What to try instead of encoding, in this order."""
        return (ArchiveMethod.REMUX, ArchiveMethod.COPY) if self.reason in _REMUXED else (ArchiveMethod.COPY,)

    @property
    def is_proved_sound(self) -> bool:
        """Whether an archive of the clip was encoded and verified, so that it decodes."""
        return self.reason is Reason.NOT_SMALLER


def suffix_of_copy(clip: Clip) -> str:
    """The suffix of an unchanged copy of the clip."""
    return f".{clip.name.rpartition('.')[2].lower()}"


NOT_SMALLER = Unencoded(Reason.NOT_SMALLER, "encoding it would not make it smaller")


def unencodable(
    media: Media, encoders: Iterable[Encoder], kept: Iterable[AudioStream], *, encode_signed: bool
) -> Unencoded | None:
    """Why none of these encoders may touch the clip, whose sound `kept` is wanted; None if they may."""
    if media.signed and not encode_signed:
        return Unencoded(Reason.SIGNED, f"{media.signed}: encoding would destroy the proof")
    if media.varies:
        return Unencoded(Reason.PICTURE_CHANGES, f"the clip {media.varies}")
    if media.unkeepable:
        return Unencoded(Reason.UNKEEPABLE_TIMES, f"the clip {media.unkeepable}")
    if media.video_streams > 1:
        return Unencoded(Reason.OTHER_STREAMS, f"it holds {media.video_streams} video streams")
    if lost := [kind for kind in media.other_streams if kind not in _HARMLESS_STREAMS]:
        return Unencoded(Reason.OTHER_STREAMS, f"encoding would leave out {' and '.join(lost)}")
    if any(sound.varies for sound in kept):
        return Unencoded(Reason.OTHER_STREAMS, "encoding would leave out sound, whose format changes midway")
    if is_interlaced(media.video) and all(encoder.field_options is None for encoder in encoders):
        return Unencoded(Reason.INTERLACED, "no encoder of this choice keeps its fields; --codec h264 does")
    return None
