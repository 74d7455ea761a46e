"""Estimates from a few clips' headers how many hours of footage there are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.policy.archive_rules import ArchivePlan

SAMPLES = 3
"""Clips of a camera whose headers are read."""

CLIPS_TRIED = 20
"""Clips of a camera that are tried for these samples: if they can't be read, others rarely can."""


def seconds_in(plan: ArchivePlan) -> dict[str, float]:
    """How much footage each camera's part of a plan holds."""
    sampled: dict[str, list[tuple[int, float]]] = defaultdict(list)
    left = {total.group.camera: CLIPS_TRIED for total in plan.totals if total.group.action != "keep"}
    with Prober() as prober:
        for step in plan.steps:
            camera = step.clip.camera
            if left.get(camera, 0):
                left[camera] -= 1
                seconds = None
                if step.clip.duration is None:
                    seconds = seconds_of(prober, step.clip.path)
                if seconds is not None:
                    sampled[camera].append((step.clip.fingerprint.size, seconds))
                if not left[camera] or len(sampled[camera]) == SAMPLES:
                    del left[camera]
            if not left:
                break
    sizes: dict[str, int] = defaultdict(int)
    for total in plan.totals:
        sizes[total.group.camera] += total.size if total.group.action != "keep" else 0
    return {
        camera: sizes[camera] * sum(seconds for _, seconds in known) / sum(size for size, _ in known)
        for camera, known in sampled.items()
        if sum(size for size, _ in known)
    }


def seconds_of(prober: Prober, path: Path) -> float | None:
    """Seconds by the clip's header; None if it can't be read or holds no duration."""
    try:
        return prober.read_header(path).duration
    except ProbeError:
        return None
