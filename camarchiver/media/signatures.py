"""Searches a few clips of a plan for the marks of signed video, before the owner consents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from camarchiver.domain.clip import Clip
from camarchiver.domain.steps import Archive
from camarchiver.media.parsing.parameter_sets import signature_in
from camarchiver.policy.archive_rules import ArchivePlan
from camarchiver.runtime.formatting import shown

CLIPS_SEARCHED = 3
"""Clips of each camera that are searched: a camera signs all of its clips or none."""

FIRST_BYTES = 1 << 20
"""Bytes that are searched: every group of pictures has a signature, and most groups are smaller."""

_TS_PACKET, _TS_SYNC = 188, 0x47


class _SearchedClips:
    """The clips of one camera that were examined so far."""

    def __init__(self) -> None:
        self.clips = 0
        self.signed = Counter[str]()
        """By kind of signature."""


def notes(plan: ArchivePlan) -> Iterator[str]:
    """A sentence for each camera of the plan that signs its clips: how many, and how they are archived."""
    left = {total.group.camera: CLIPS_SEARCHED for total in plan.totals if total.group.action == "archive"}
    found: dict[str, _SearchedClips] = {}
    for step in plan.steps:
        if not left:
            break
        if isinstance(step, Archive) and step.camera in left:
            searched = found.setdefault(step.camera, _SearchedClips())
            searched.clips += 1
            if mark := _mark_in(step.clip):
                searched.signed[mark] += 1
            left[step.camera] -= 1
            if not left[step.camera]:
                del left[step.camera]
    for camera, searched in sorted(found.items()):
        for mark, count in sorted(searched.signed.items()):
            encodes = plan.policy.signed.encodes(camera)
            effect = "encoded as asked, which loses the proof" if encodes else "kept byte for byte (--signed)"
            yield f"{shown(camera)}: {count} of {searched.clips} examined clips are signed ({mark}): {effect}"


def _mark_in(clip: Clip) -> str:
    try:
        with clip.path.open("rb") as stream:
            block = stream.read(FIRST_BYTES)
    except OSError:
        return ""
    return signature_in(_payload(block) if block[:1] == bytes((_TS_SYNC,)) else block)


def _payload(block: bytes) -> bytes:
    """The payload of the packets of a transport stream (ISO 13818-1, 2.4.3.2)."""
    parts = []
    for at in range(0, len(block), _TS_PACKET):
        packet = block[at : at + _TS_PACKET]
        has_adaptation = len(packet) > 4 and packet[3] & 0x20
        parts.append(packet[5 + packet[4] :] if has_adaptation else packet[4:])
    return b"".join(parts)
