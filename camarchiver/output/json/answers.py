"""The JSON documents of commands that answer a question, or do more than carry out a plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from camarchiver.doctor.findings import Finding, conclusion
from camarchiver.domain.clip import Trees
from camarchiver.domain.plan import Plan
from camarchiver.domain.report import Conclusion, Report, Status
from camarchiver.errors import ExitCode, Problem
from camarchiver.output.json.document import document, joined, without_steps
from camarchiver.output.json.fields import (
    camera_fields,
    clip_fields,
    copy_fields,
    correction_fields,
    damage_fields,
    outcome_fields,
    pass_fields,
    path_fields,
    step_fields,
)
from camarchiver.runtime.formatting import shown

if TYPE_CHECKING:
    from camarchiver.domain.clocks import ClockCorrection
    from camarchiver.domain.hold import Hold
    from camarchiver.export.exporter import Exported
    from camarchiver.motion.events import MotionEvent
    from camarchiver.offsite.status import OffsiteStatus
    from camarchiver.output.history_text import CleanupPreview
    from camarchiver.page.site import SiteRefresh
    from camarchiver.queries.find import FoundClip
    from camarchiver.queries.history import ClipRecord
    from camarchiver.queries.status_report import StatusReport
    from camarchiver.queries.verified import Verified, VerifyFinding
    from camarchiver.record.supervision.facts import CameraFacts, RunFacts
    from camarchiver.record.supervision.results import Judgement
    from camarchiver.state.run_history import RunRecord


def verified(
    found: Verified, report: Report, plan: Plan[Any, Any] | None, extra: Mapping[str, Any]
) -> Iterator[str]:
    """The document of `verify`; adds `checked`, `foreign`, `findings`, `last_verify` and more.

    For a repair it also has `extra`, `notes` even if there are none, and the repair's steps and outcomes.
    """
    more = {
        "checked": found.checked,
        "resumed": found.resumed,
        "foreign": len(found.foreign),
        "foreign_files": [shown(path) for path in found.foreign],
        "findings": [_finding_fields(each) for each in found.findings],
        "last_verify": pass_fields(found.memory.last_whole),
        "last_full_verify": pass_fields(found.memory.last_full),
    }
    is_quiet = report.status is Status.NOTHING
    status = {"status": Status.DONE} if is_quiet else {}
    if plan is not None:
        more |= {**extra, **({} if plan.notes else {"notes": []})}
    return document(report, plan, {**status, **more})


def _finding_fields(finding: VerifyFinding) -> dict[str, Any]:
    fields = {"path": shown(finding.path), "flaw": finding.flaw, "detail": shown(finding.detail)}
    if (damage := finding.damage) is not None:
        fields |= {"found_at": damage.at.isoformat(), "found_by": shown(damage.run)}
    return fields


def status_report(found: StatusReport, run: str) -> str:
    """The document of `status`; adds `cameras`, `disks`, `working`, `last_run` and more."""
    more = {
        "cameras": [camera_fields(camera) for camera in found.cameras],
        "disks": [
            {
                "path": shown(disk.path),
                "free": disk.free,
                "total": disk.total,
                "daily": round(disk.daily),
                "net_daily": round(disk.net_daily),
                "days_until_full": disk.days_until_full,
            }
            for disk in found.disks
        ],
        "working": list(found.working),
        "last_run": found.last_run.fields() if found.last_run else None,
        "days_until_full": found.days_until_full,
        "unreadable": found.unreadable,
        "no_timestamp": found.unnamed,
        "unsupported_format": found.other_formats,
        "no_frame_rate": found.rateless,
        "passed_over": [
            {"holds": kind, "folders": count, "example": shown(path)}
            for kind, (count, path) in sorted(found.passed_over.items())
        ],
        "damaged_archives": [
            {"archive": shown(archive), **damage_fields(damage)}
            for archive, damage in sorted(found.findings.damaged.items())
        ],
        "last_verify": pass_fields(found.findings.last_whole),
        "last_full_verify": pass_fields(found.findings.last_full),
        "offsite": [
            {"remote": shown(remote), **copy_fields(counts)} for remote, counts in found.offsite.items()
        ],
    }
    return without_steps("status", run, Status.DONE, ExitCode.DONE, more)


def offsite_status(found: OffsiteStatus, run: str) -> str:
    """The document of `offsite status`; adds `remote`, `cameras` and more."""
    more = {
        "remote": shown(found.remote),
        **copy_fields(found.counts.total),
        "cameras": [
            {"name": shown(camera), **copy_fields(counts)} for camera, counts in found.counts.cameras.items()
        ],
        "failed_before": found.failed_before,
        "manifests_due": [f"{day}" for day in sorted(found.manifests_due)],
        "last_sync": found.last_sync.isoformat() if found.last_sync else None,
        "last_sync_without_error": found.without_error.isoformat() if found.without_error else None,
        "last_failure": (
            {"at": found.failure.at.isoformat(), "message": shown(found.failure.why)}
            if found.failure is not None
            else None
        ),
        "free": found.space.free if found.space else None,
        "total": found.space.total if found.space else None,
    }
    return without_steps("offsite", run, Status.DONE, ExitCode.DONE, more)


def stories(
    found: Sequence[ClipRecord],
    missing: Sequence[str],
    preview: CleanupPreview,
    run: str,
    trees: Trees,
    zone: tzinfo,
) -> str:
    """The document of `why`; adds `stories`: sentences, journal lines, and what the next runs would do."""
    from camarchiver.output.history_text import story_lines

    documents = [
        {
            "source": shown(story.source),
            "sentences": [line.strip() for line in story_lines(story, preview, zone)][1:],
            "events": [event.fields() for event in story.events],
            "places": [{**path_fields(path), "tree": tree} for path, tree in story.places.items()],
            "damaged_archives": [
                {"archive": shown(archive), **damage_fields(damage)}
                for archive, damage in story.damaged.items()
            ],
            "only_offsite": [
                {
                    "archive": shown(copy.archive),
                    "remote": shown(copy.remote),
                    "object": shown(copy.name),
                    "bytes": copy.size,
                    "verified": copy.verified.isoformat() if copy.verified else None,
                }
                for copy in story.only_offsite
            ],
            "next_archive": step_fields(story.next_step, trees) if story.next_step else None,
            "next_cleanup": [
                step_fields(preview.steps[path], trees) for path in story.places if path in preview.steps
            ],
        }
        for story in found
    ]
    if not found:
        problems = [Problem("unknown", line.strip()) for line in missing]
        return without_steps("why", run, Status.FAILED, ExitCode.FAILED, {"stories": []}, problems)
    more = {"stories": documents, "cleanup_stopped": preview.stopped}
    return without_steps("why", run, Status.DONE, ExitCode.DONE, more)


def found(clips: Iterable[FoundClip], run: str, missing: Sequence[str]) -> Iterator[str]:
    """The document of `find`, in pieces; adds `clips`. `missing` says why there are none, if so."""
    status, exit_code = (Status.FAILED, ExitCode.FAILED) if missing else (Status.DONE, ExitCode.DONE)
    problems = [Problem("not-found", line.strip()) for line in missing]
    yield without_steps("find", run, status, exit_code, {}, problems).removesuffix("}\n") + ', "clips": ['
    yield from joined(clip_fields(clip) for clip in clips)
    yield "]}\n"


def runs(records: Iterable[RunRecord], run: str) -> str:
    """The document of `runs`; adds `runs`, oldest first."""
    return without_steps("runs", run, Status.DONE, ExitCode.DONE, {"runs": [r.fields() for r in records]})


def held(found: Iterable[Hold], now: datetime, run: str = "") -> str:
    """The document of `hold list`; adds `holds`."""
    listed = [
        {
            "id": each.id,
            "camera": shown(each.camera),
            "from": each.start.isoformat(),
            "to": each.end.isoformat(),
            "until": each.until.isoformat() if each.until else None,
            "reason": each.reason,
            "lapsed": each.until is not None and each.until <= now,
        }
        for each in found
    ]
    return without_steps("hold", run, Status.DONE, ExitCode.DONE, {"holds": listed})


def corrections(found: Iterable[ClockCorrection]) -> str:
    """The document of `clock list`; adds `corrections`."""
    listed = [correction_fields(each) for each in found]
    return without_steps("clock", "", Status.DONE, ExitCode.DONE, {"corrections": listed})


def exported(found: Exported, place: Path, run: str, ended: Conclusion) -> str:
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
    return without_steps("hold", run, *ended, {"files": files}, found.problems)


def page_refreshed(done: SiteRefresh, run: str) -> str:
    """The document of `page`; adds where the site is and what was written."""
    more = {
        **path_fields(done.site, "site"),
        **path_fields(done.site / "index.html", "index"),
        "days_written": done.days,
        "days_removed": done.removed,
        "cameras": done.cameras,
        "clips": done.clips,
    }
    return without_steps("page", run, Status.DONE, ExitCode.DONE, more)


def diagnosed(found: Collection[Finding]) -> str:
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
    return without_steps("doctor", "", *conclusion(found), {"findings": findings})


def recorded(found: Mapping[str, Any], run: str, ended: Conclusion, problems: Iterable[Problem]) -> str:
    """The document of `record`; `found` adds `events` (of a dry run) or `clips` and more."""
    return without_steps("record", run, *ended, found, problems)


NOTHING_RECORDED: Mapping[str, Any] = MappingProxyType({"dry_run": False, "clips": []})
"""The part of the JSON document where no recorder began."""


def motion(events: Iterable[MotionEvent]) -> dict[str, Any]:
    """The part of the JSON document about the motion that a dry run found."""
    found = [{"start": one.start, "end": one.end, "peak": one.peak, "zone": one.zone} for one in events]
    return {"dry_run": True, "events": found}


def recorders(run: RunFacts) -> dict[str, Any]:
    """The part of the JSON document about all cameras together, and about each."""
    from camarchiver.record.supervision import results

    each = [_recorder(camera) for camera in run.cameras]
    together: dict[str, Any] = {"dry_run": False, "camera": run.names[0] if len(run.names) == 1 else ""}
    for key in ("clips", "salvaged", "removed", "announced"):
        together[key] = [one for fields in each for one in fields[key]]
    for key in ("outages", "recorded"):
        together[key] = sum(fields[key] for fields in each)
    failed = [
        {"camera": name, **_judgement(results.failed(failure))} for name, failure in run.failures.items()
    ]
    recorded = [
        {**fields, **_judgement(results.judged_camera(camera))}
        for fields, camera in zip(each, run.cameras, strict=True)
    ]
    return {**together, "cameras": [*recorded, *failed]}


def _recorder(facts: CameraFacts) -> dict[str, Any]:
    return {
        "camera": facts.camera,
        "clips": [clip.fields() for clip in facts.clips],
        "salvaged": [str(path) for path in facts.salvaged],
        "removed": [outcome_fields(outcome) for outcome in (*facts.removed, *facts.left)],
        "announced": [str(path) for path in facts.announced],
        "outages": facts.outages,
        "recorded": facts.recorded,
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return judgement.conclusion._asdict()
