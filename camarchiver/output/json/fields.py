"""How steps, outcomes, paths and other single values look in the JSON format."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.clocks import ClockCorrection
from camarchiver.domain.plan import FurtherStep, Total, action_of
from camarchiver.domain.report import Outcome
from camarchiver.domain.steps import (
    Archive,
    Keep,
    RemoveCopy,
    RemoveLeftover,
    RemoveSource,
    Restore,
    Salvage,
    Step,
)
from camarchiver.errors import Problem
from camarchiver.runtime.formatting import is_text, shown

if TYPE_CHECKING:
    from camarchiver.domain.damage import Damage
    from camarchiver.domain.motion import ClipMotion
    from camarchiver.offsite.status import CopyCounts
    from camarchiver.queries.find import FoundClip
    from camarchiver.queries.status_report import CameraStatus
    from camarchiver.state.findings import CompletedVerify


def step_fields(step: Step, trees: Trees) -> dict[str, Any]:
    """A step as the JSON format lists it; `target` is where the clip is meant to go."""
    place, target = step.path, ""
    match step:
        case Archive():
            target = os.fspath(trees.archive / step.target)
        case Restore():
            place = trees.trash / step.trash if step.offsite is None else Path(step.offsite.path)
            target = os.fspath(step.path)
        case Salvage():
            target = os.fspath(step.target)
        case RemoveSource() | RemoveCopy() if step.disposal is Disposal.TRASH:
            target = os.fspath(trees.trash)
    return {
        "action": action_of(step),
        **path_fields(place),
        **path_fields(target, "target"),
        "reason": step.reason,
        "bytes": step.size,
        "camera": shown(step.camera),
        "start": step.start.isoformat() if step.start else None,
        **({"tree": step.tree} if isinstance(step, RemoveCopy | RemoveLeftover | Salvage) else {}),
        **({"detail": shown(step.detail)} if isinstance(step, Keep) and step.detail else {}),
    }


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the JSON format lists it."""
    fields: dict[str, Any] = {
        "action": action_of(outcome.step),
        **path_fields(outcome.step.path),
        "result": outcome.result,
        "reason": outcome.reason,
        "detail": shown(outcome.detail),
        **path_fields(outcome.target, "target"),
        "freed": outcome.freed,
    }
    if (encoding := outcome.encoding) is not None:
        fields |= {
            "encoder": encoding.encoder,
            "rungs": list(encoding.levels),
            "seconds": round(encoding.seconds, 3),
            "bytes_before": encoding.bytes_before,
            "bytes_after": encoding.bytes_after,
            **({"unencoded": encoding.unencoded} if encoding.unencoded else {}),
        }
    return fields


def path_fields(path: Path | str, key: str = "path") -> dict[str, str]:
    """A path, and its bytes in base64 where they are not UTF-8, as `path_bytes`."""
    text = os.fspath(path)
    if is_text(path):
        return {key: text}
    return {key: shown(path), f"{key}_bytes": base64.b64encode(os.fsencode(text)).decode("ascii")}


def total_fields(total: Total) -> dict[str, Any]:
    """A total of a plan as the JSON format lists it."""
    return {
        "action": total.group.action,
        "reason": total.group.reason,
        "camera": shown(total.group.camera),
        "day": total.group.day.isoformat() if total.group.day else None,
        **({"tree": total.group.tree} if total.group.tree else {}),
        "clips": total.clips,
        "bytes": total.size,
    }


def problem_fields(problem: Problem) -> dict[str, str]:
    """An entry of `errors`."""
    return {"code": problem.code, "message": shown(problem.message), "hint": problem.hint}


def damage_fields(damage: Damage) -> dict[str, Any]:
    """What was found wrong with an archive."""
    return {
        "source": shown(damage.source),
        "flaw": damage.flaw,
        "detail": shown(damage.detail),
        "found_at": damage.at.isoformat(),
        "found_by": shown(damage.run),
    }


def copy_fields(counts: CopyCounts) -> dict[str, Any]:
    """How many archives have an off-site copy."""
    return {
        "archives": counts.archives,
        "verified": counts.verified,
        "verified_bytes": counts.size,
        "unverified": counts.unverified,
        "lost": counts.lost,
        "without_archive": counts.apart,
        "oldest_verification": counts.oldest.isoformat() if counts.oldest else None,
    }


def pass_fields(found: CompletedVerify | None) -> dict[str, Any] | None:
    """The last complete check by `verify`; None before the first."""
    if found is None:
        return None
    return {"at": found.at.isoformat(), "run": shown(found.run), "archives": found.archives}


def camera_fields(camera: CameraStatus) -> dict[str, Any]:
    """A camera as `status` lists it; durations in seconds."""
    return {
        "camera": shown(camera.name),
        **{
            tree: {
                "clips": holding.clips,
                "bytes": holding.size,
                "seconds": round(holding.seconds, 3),
                "seconds_guessed": holding.guessed,
                "oldest": holding.oldest.isoformat() if holding.oldest else None,
                "newest": holding.newest.isoformat() if holding.newest else None,
            }
            for tree, holding in (
                ("source", camera.source),
                ("archive", camera.archive),
                ("trash", camera.trash),
            )
        },
        "waiting": camera.waiting,
        "failed": sum(camera.failed.values()),
        "failed_by_reason": dict(sorted(camera.failed.items())),
        "held": camera.held,
        "clock_doubtful": camera.clock_doubtful,
        "unencoded": dict(sorted(camera.unencoded.items())),
        "last_clip": camera.last.isoformat() if camera.last else None,
        "usual_pause": camera.rhythm.usual.total_seconds() if camera.rhythm else None,
        "longest_usual_pause": camera.rhythm.quiet.total_seconds() if camera.rhythm else None,
        "stopped": camera.is_overdue,
        "gaps": [[start.isoformat(), end.isoformat()] for start, end in camera.gaps],
    }


def further_fields(step: FurtherStep) -> dict[str, Any]:
    """A step that would bring more free space."""
    return {
        "command": f"{step.command} {step.options}",
        "bytes": step.size,
        "loses_footage": step.loses_footage,
    }


def correction_fields(each: ClockCorrection) -> dict[str, str]:
    """A correction of a camera's clock for a range of times."""
    return {
        "id": each.id,
        "camera": shown(each.camera),
        "from": each.start.isoformat(),
        "to": each.end.isoformat(),
        "clock": each.word,
        "reason": each.reason,
    }


def clip_fields(clip: FoundClip) -> dict[str, Any]:
    """A clip as the JSON format lists it."""
    return {
        **path_fields(clip.source, "source"),
        "camera": shown(clip.camera),
        "start": clip.start.isoformat(),
        "seconds": clip.seconds,
        "motion": motion_fields(clip.motion),
        "states": sorted(clip.states),
        "files": [
            {
                **path_fields(each.path),
                "tree": each.tree,
                "bytes": each.size,
                "missing": each.is_missing,
            }
            for each in clip.files
        ],
        "copies": [
            {"remote": shown(each.remote), "object": shown(each.name), "bytes": each.size}
            for each in clip.copies
        ],
    }


def motion_fields(motion: ClipMotion | None) -> dict[str, Any] | None:
    """The motion in a clip as the JSON format lists it; None if nothing looked for it."""
    if motion is None:
        return None
    spans = [{"start": each.start, "end": each.end, "zones": list(each.zones)} for each in motion.spans]
    return {"seconds": round(motion.seconds(), 2), "spans": spans, "unsure": motion.unsure}
