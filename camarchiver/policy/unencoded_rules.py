"""Which clips stay unencoded by the owner's rule, and which would be copied losslessly again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from camarchiver.domain.reason import Reason

_OF_THE_CLIP = frozenset(
    {Reason.NOT_SMALLER, Reason.PICTURE_CHANGES, Reason.UNKEEPABLE_TIMES, Reason.OTHER_STREAMS}
)
"""Reasons that no other encoder and no other option would change."""


KEEP, REENCODE = "keep", "reencode"
"""The owner's choices for signed clips."""


@dataclass(frozen=True, slots=True)
class SignedRule:
    """Which cameras' signed clips are encoded, although that destroys the proof."""

    reencode: bool = False
    cameras: Mapping[str, bool] = field(default_factory=dict)
    """Those with a rule of their own."""

    def encodes(self, camera: str) -> bool:
        """Whether this camera's signed clips are encoded."""
        return self.cameras.get(camera, self.reencode)

    def __str__(self) -> str:
        return REENCODE if self.reencode else KEEP


KEEP_SIGNED = SignedRule()


def stays_unencoded(reason: Reason, *, encode_signed: bool) -> bool:
    """Whether a clip that was copied losslessly for this reason would be so again."""
    return reason in _OF_THE_CLIP or (reason is Reason.SIGNED and not encode_signed)
