"""Why a clip's archive is a lossless copy of it, as far as the clip itself tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from camarchiver.codecs import Encoder, is_interlaced
from camarchiver.media import Media
from camarchiver.model import Reason
from camarchiver.steps import Way

_HARMLESS_STREAMS = frozenset({"data:tmcd"})
"""A start time code: the archive carries the clip's start as creation_time."""

_REMUXED = frozenset({Reason.INTERLACED, Reason.REFUSED, Reason.NOT_SMALLER})
"""What another container may hold as well; of everything else the very bytes are kept."""

_OF_THE_CLIP = frozenset(
    {Reason.NOT_SMALLER, Reason.PICTURE_CHANGES, Reason.UNKEEPABLE_TIMES, Reason.OTHER_STREAMS}
)
"""What no other encoder and no other option would change."""


KEEP, REENCODE = "keep", "reencode"
"""How an owner says what is to become of signed clips."""


@dataclass(frozen=True, slots=True)
class Unencoded:
    """Why a clip is not encoded."""

    reason: Reason
    detail: str
    """In words."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """What to try in its place, in turn."""
        return (Way.REMUX, Way.COPY) if self.reason in _REMUXED else (Way.COPY,)

    @property
    def is_proved_sound(self) -> bool:
        """Whether an archive of the clip was encoded and verified, so that it decodes."""
        return self.reason is Reason.NOT_SMALLER


@dataclass(frozen=True, slots=True)
class SignedRule:
    """Which cameras' signed clips are encoded, although that destroys the proof."""

    reencode: bool = False
    cameras: Mapping[str, bool] = field(default_factory=dict)
    """Those with a rule of their own."""

    def encodes(self, camera: str) -> bool:
        """Whether this camera's are."""
        return self.cameras.get(camera, self.reencode)

    def __str__(self) -> str:
        return REENCODE if self.reencode else KEEP


KEEP_SIGNED = SignedRule()
NOT_SMALLER = Unencoded(Reason.NOT_SMALLER, "encoding it would not make it smaller")


def unencodable(media: Media, encoders: Iterable[Encoder], *, encode_signed: bool) -> Unencoded | None:
    """Why none of these encoders may touch the clip; None where they may try."""
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
    if is_interlaced(media.video) and not any(encoder.interlaced for encoder in encoders):
        return Unencoded(Reason.INTERLACED, "no encoder of this choice keeps its fields; --codec h264 does")
    return None


def stays_unencoded(reason: Reason, *, encode_signed: bool) -> bool:
    """Whether a lossless copy made for this reason would come out the same again."""
    return reason in _OF_THE_CLIP or (reason is Reason.SIGNED and not encode_signed)
