"""The JSON format: one document for each run, including a run that failed."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.plan import Plan, Total, action_of
from camarchiver.domain.report import Outcome, Report, Status
from camarchiver.domain.steps import Archive, Discard, Keep, Remove, Restore, Salvage, Step, Tidy
from camarchiver.errors import ExitCode, Problem, is_signal_code
from camarchiver.runtime.formatting import is_text, shown

if TYPE_CHECKING:
    from camarchiver.doctor.findings import Finding
    from camarchiver.domain.damage import Damage
    from camarchiver.domain.hold import Hold
    from camarchiver.export.exporter import Exported
    from camarchiver.output.history_text import CleanupPreview
    from camarchiver.queries.history import Story
    from camarchiver.queries.status import CameraStatus, StatusReport
    from camarchiver.queries.verify import Verified, VerifyFinding
    from camarchiver.record.fleet import Fleet, Member
    from camarchiver.record.results import Judgement
    from camarchiver.state.findings import Pass

FORMAT = 1
"""Version of the JSON format; later ones only add keys."""


def document(
    report: Report, plan: Plan[Any, Any] | None, extra: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """The one JSON document of a run, in pieces, so that a million steps need little memory."""
    head = {
        "format": FORMAT,
        "command": report.command,
        "run": report.run,
        "status": report.status,
        "exit_code": report.exit_code,
        **(extra or {}),
    }
    yield json.dumps(head)[:-1]
    yield ', "steps": ['
    if plan is not None:
        yield from _joined(step_fields(step, plan.trees) for step in _all_steps(plan))
    yield '], "outcomes": ['
    yield from _joined(outcome_fields(outcome) for outcome in report.outcomes)
    if plan is not None and plan.forecast:
        forecast = [{"path": shown(f.path), "free": f.free, "freed": f.freed} for f in plan.forecast]
        yield '], "forecast": ' + json.dumps(forecast)[:-1]
    if plan is not None and (plan.notes or plan.forecast):
        yield '], "notes": ' + json.dumps(plan.notes)[:-1]
    totals = [_total_fields(total) for total in plan.totals] if plan else []
    yield '], "totals": ' + json.dumps(totals)
    if unencoded := Counter(
        reason for each in report.outcomes if each.encoding and (reason := each.encoding.unencoded)
    ):
        yield ', "unencoded": ' + json.dumps(dict(sorted(unencoded.items())))
    yield ', "errors": ' + json.dumps([_problem_fields(problem) for problem in report.problems]) + "}\n"


def verified(
    found: Verified, report: Report, plan: Plan[Any, Any] | None, extra: Mapping[str, Any]
) -> Iterator[str]:
    """The document of `verify`; adds `checked`, `foreign`, `findings`, `last_verify` and more.

    For a repair it also has `dry_run` and `notes`, and the repair's steps and outcomes.
    """
    more = {
        "checked": found.checked,
        "resumed": found.resumed,
        "foreign": len(found.foreign),
        "foreign_files": [shown(path) for path in found.foreign],
        "findings": [_finding_fields(each) for each in found.findings],
        "last_verify": _pass_fields(found.memory.last_whole),
        "last_full_verify": _pass_fields(found.memory.last_full),
    }
    is_quiet = report.status is Status.NOTHING
    status = {"status": Status.DONE} if is_quiet else {}
    return document(report, plan, {**status, **more, **extra})


def _finding_fields(finding: VerifyFinding) -> dict[str, Any]:
    fields = {"path": shown(finding.path), "flaw": finding.flaw, "detail": shown(finding.detail)}
    if (damage := finding.damage) is not None:
        fields |= {"found_at": damage.at.isoformat(), "found_by": shown(damage.run)}
    return fields


def status_report(found: StatusReport, run: str) -> str:
    """The document of `status`; adds `cameras`, `disks`, `working`, `last_run` and more."""
    more = {
        "cameras": [_camera_fields(camera) for camera in found.cameras],
        "disks": [
            {
                "path": shown(disk.path),
                "free": disk.free,
                "total": disk.total,
                "daily": round(disk.daily),
                "days_until_full": disk.days_until_full,
            }
            for disk in found.disks
        ],
        "working": list(found.working),
        "last_run": found.last_run,
        "days_until_full": found.days_until_full,
        "unreadable": found.unreadable,
        "no_timestamp": found.unnamed,
        "damaged_archives": [
            {"archive": shown(archive), **_damage_fields(damage)}
            for archive, damage in sorted(found.findings.damaged.items())
        ],
        "last_verify": _pass_fields(found.findings.last_whole),
        "last_full_verify": _pass_fields(found.findings.last_full),
    }
    return _without_steps("status", run, Status.DONE, ExitCode.DONE, more)


def _damage_fields(damage: Damage) -> dict[str, Any]:
    return {
        "source": shown(damage.source),
        "flaw": damage.flaw,
        "detail": shown(damage.detail),
        "found_at": damage.at.isoformat(),
        "found_by": shown(damage.run),
    }


def _pass_fields(found: Pass | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"at": found.at.isoformat(), "run": shown(found.run), "archives": found.archives}


def stories(found: Sequence[Story], preview: CleanupPreview, run: str, trees: Trees, zone: tzinfo) -> str:
    """The document of `why`; adds `stories`: sentences, journal lines, and what the next runs would do."""
    from camarchiver.output.history_text import story_lines

    documents = [
        {
            "source": shown(story.source),
            "sentences": [line.strip() for line in story_lines(story, preview, zone)][1:],
            "events": [event.fields() for event in story.events],
            "places": [{**path_fields(path), "tree": tree} for path, tree in story.places.items()],
            "damaged_archives": [
                {"archive": shown(archive), **_damage_fields(damage)}
                for archive, damage in story.damaged.items()
            ],
            "next_archive": step_fields(story.next_step, trees) if story.next_step else None,
            "next_cleanup": [
                step_fields(preview.steps[path], trees) for path in story.places if path in preview.steps
            ],
        }
        for story in found
    ]
    if not found:
        problem = Problem("unknown", "nothing is known of such a clip")
        return _without_steps("why", run, Status.FAILED, 1, {"stories": []}, (problem,))
    more = {"stories": documents, "cleanup_stopped": preview.stopped}
    return _without_steps("why", run, Status.DONE, ExitCode.DONE, more)


def held(found: Iterable[Hold], now: datetime, run: str = "") -> str:
    """The document of `hold list`; adds `holds`."""
    listed = [
        {
            "id": each.id,
            "camera": each.camera,
            "from": each.start.isoformat(),
            "to": each.end.isoformat(),
            "until": each.until.isoformat() if each.until else None,
            "reason": each.reason,
            "lapsed": each.until is not None and each.until <= now,
        }
        for each in found
    ]
    return _without_steps("hold", run, Status.DONE, ExitCode.DONE, {"holds": listed})


def exported(found: Exported, place: Path, run: str, exit_code: int) -> str:
    """The document of `hold export`; adds `files`, each with its BLAKE2b."""
    files = [
        {
            **path_fields(each.path),
            **path_fields(place / each.target, "target"),
            "bytes": each.size,
            "blake2b": each.digest,
            "was_there": each.was_there,
            **({"remark": shown(each.remark)} if each.remark else {}),
        }
        for each in found.copied
    ]
    status = Status.STOPPED if is_signal_code(exit_code) else found.status
    return _without_steps("hold", run, status, exit_code, {"files": files}, found.problems)


def diagnosed(found: Iterable[Finding], exit_code: int) -> str:
    """The document of `doctor`; adds `findings`."""
    findings = [
        {
            "area": each.area,
            "verdict": each.verdict,
            "message": shown(each.message),
            "remedy": shown(each.remedy),
            **({"seconds": round(each.seconds, 3)} if each.seconds is not None else {}),
        }
        for each in found
    ]
    status = Status.FAILED if exit_code else Status.DONE
    return _without_steps("doctor", "", status, exit_code, {"findings": findings})


def recorded(
    found: Mapping[str, Any], run: str, status: Status, exit_code: int, problems: Iterable[Problem]
) -> str:
    """The document of `record`; `found` adds `events` (of a dry run) or `clips` and more."""
    return _without_steps("record", run, status, exit_code, found, problems)


def recorders(fleet: Fleet) -> dict[str, Any]:
    """The part of the JSON document about all cameras together, and about each."""
    from camarchiver.record import results

    each = [_recorder(member) for member in fleet.members]
    together: dict[str, Any] = {"dry_run": False, "camera": fleet.names[0] if len(fleet.names) == 1 else ""}
    for key in ("clips", "salvaged", "removed", "announced"):
        together[key] = [one for fields in each for one in fields[key]]
    for key in ("outages", "recorded"):
        together[key] = sum(fields[key] for fields in each)
    failed = [
        {"camera": name, **_judgement((Status.FAILED, *results.failed(error)))}
        for name, error in fleet.failures.items()
    ]
    recorded = [
        {**fields, **_judgement(results.judged_member(member))}
        for fields, member in zip(each, fleet.members, strict=True)
    ]
    return {**together, "cameras": [*recorded, *failed]}


def _recorder(member: Member) -> dict[str, Any]:
    return {
        "camera": member.name,
        "clips": [clip.fields() for clip in member.publisher.clips],
        "salvaged": [str(path) for path in member.publisher.salvaged],
        "removed": [outcome_fields(outcome) for outcome in member.keeper.outcomes],
        "announced": [str(path) for path in member.keeper.announced],
        "outages": member.recorder.outages,
        "recorded": member.publisher.clips.count,
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    status, exit_code, _ = judgement
    return {"status": status, "exit_code": exit_code}


def _without_steps(
    command: str,
    run: str,
    status: Status,
    exit_code: int,
    more: Mapping[str, Any],
    problems: Iterable[Problem] = (),
) -> str:
    """The document of a command that has no plan."""
    fields: dict[str, Any] = {
        "format": FORMAT,
        "command": command,
        "run": run,
        "status": status,
        "exit_code": exit_code,
        "steps": [],
        "outcomes": [],
        "totals": [],
        "errors": [_problem_fields(problem) for problem in problems],
    }
    return json.dumps({**fields, **more}) + "\n"


def _camera_fields(camera: CameraStatus) -> dict[str, Any]:
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
        "gaps": [[start.isoformat(), end.isoformat()] for start, end in camera.gaps],
    }


def failure_document(command: str, problem: Problem, exit_code: int) -> str:
    """The document of a run that failed before it had a plan."""
    status = Status.STOPPED if is_signal_code(exit_code) else Status.FAILED
    return _without_steps(command, "", status, exit_code, {}, (problem,))


def _all_steps(plan: Plan[Any, Any]) -> Iterator[Step]:
    yield from plan.steps
    yield from plan.left


def step_fields(step: Step, trees: Trees) -> dict[str, Any]:
    """A step as the JSON format lists it; `target` is where the clip is meant to go."""
    place, target = step.path, ""
    match step:
        case Archive():
            target = os.fspath(trees.archive / step.target)
        case Restore():
            place, target = trees.trash / step.trash, os.fspath(step.path)
        case Salvage():
            target = os.fspath(step.target)
        case Remove() | Discard() if step.disposal is Disposal.TRASH:
            target = os.fspath(trees.trash)
    return {
        "action": action_of(step),
        **path_fields(place),
        **path_fields(target, "target"),
        "reason": step.reason,
        "bytes": step.size,
        "camera": shown(step.camera),
        "start": step.start.isoformat() if step.start else None,
        **({"tree": step.tree} if isinstance(step, Discard | Tidy | Salvage) else {}),
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


def _total_fields(total: Total) -> dict[str, Any]:
    return {
        "action": total.group.action,
        "reason": total.group.reason,
        "camera": shown(total.group.camera),
        "day": total.group.day.isoformat() if total.group.day else None,
        **({"tree": total.group.tree} if total.group.tree else {}),
        "clips": total.clips,
        "bytes": total.size,
    }


def _problem_fields(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "message": shown(problem.message), "hint": problem.hint}


def _joined(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    separator = ""
    for item in items:
        yield separator + json.dumps(item)
        separator = ", "
