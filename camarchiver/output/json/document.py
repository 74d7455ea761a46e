"""The JSON format: one document for each run, including a run that failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from camarchiver.domain.plan import Forecast, Plan
from camarchiver.domain.report import DiskUse, Report, Status
from camarchiver.domain.steps import Step
from camarchiver.errors import Problem, is_signal_code
from camarchiver.output.json.fields import (
    further_fields,
    outcome_fields,
    problem_fields,
    step_fields,
    total_fields,
)
from camarchiver.output.reasons import REASON_WORDS, REMEDIES
from camarchiver.runtime.formatting import shown

if TYPE_CHECKING:
    pass

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
        yield from joined(step_fields(step, plan.trees) for step in _all_steps(plan))
    yield '], "outcomes": ['
    yield from joined(outcome_fields(outcome) for outcome in report.outcomes)
    if plan is not None and plan.forecast:
        yield '], "forecast": ' + json.dumps([_forecast_fields(each) for each in plan.forecast])[:-1]
    if plan is not None and (plan.notes or plan.promises or plan.forecast):
        yield '], "notes": ' + json.dumps([*plan.notes, *plan.promised(report)])[:-1]
    totals = [total_fields(total) for total in plan.totals] if plan else []
    yield '], "totals": ' + json.dumps(totals)
    if plan is not None:
        yield f', "unread_folders": {plan.unread_folders}'
        yield ', "left_alone": ' + json.dumps(_left_alone(plan))
        if plan.further:
            yield ', "further": ' + json.dumps([further_fields(step) for step in plan.further])
    if report.disks:
        yield ', "disks": ' + json.dumps([_disk_fields(disk) for disk in report.disks])
    if unencoded := Counter(
        reason for each in report.outcomes if each.encoding and (reason := each.encoding.unencoded)
    ):
        yield ', "unencoded": ' + json.dumps(dict(sorted(unencoded.items())))
    yield ', "errors": ' + json.dumps([problem_fields(problem) for problem in report.problems]) + "}\n"


def _left_alone(plan: Plan[Any, Any]) -> dict[str, Any]:
    """By reason: how many files stay, their bytes, and what would change that."""
    found: dict[str, Any] = {}
    for total in plan.totals:
        if total.group.action == "keep":
            reason = total.group.reason
            fields = found.setdefault(
                reason,
                {"clips": 0, "bytes": 0, "words": REASON_WORDS[reason], "remedy": REMEDIES.get(reason, "")},
            )
            fields["clips"] += total.clips
            fields["bytes"] += total.size
    return found


def without_steps(
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
        "errors": [problem_fields(problem) for problem in problems],
    }
    return json.dumps({**fields, **more}) + "\n"


def failure_document(command: str, problem: Problem, exit_code: int) -> str:
    """The document of a run that failed before it had a plan."""
    return failures_document(command, (problem,), exit_code)


def failures_document(command: str, problems: Iterable[Problem], exit_code: int) -> str:
    """The same for several problems."""
    status = Status.STOPPED if is_signal_code(exit_code) else Status.FAILED
    return without_steps(command, "", status, exit_code, {}, problems)


def _all_steps(plan: Plan[Any, Any]) -> Iterator[Step]:
    yield from plan.steps
    yield from plan.left


def joined(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The members of an array, in pieces."""
    separator = ""
    for item in items:
        yield separator + json.dumps(item)
        separator = ", "


def _forecast_fields(disk: Forecast) -> dict[str, Any]:
    return {
        "path": shown(disk.path),
        "free": disk.free,
        "freed": disk.freed,
        "after": disk.after,
        "min_free": disk.floor,
        "trashed": disk.trashed,
        "trash_expires": disk.expires.isoformat() if disk.expires else None,
    }


def _disk_fields(disk: DiskUse) -> dict[str, Any]:
    return {
        "path": shown(disk.path),
        "free_before": disk.free_before,
        "free": disk.free,
        "more": disk.more,
        "trash_expires": disk.expires.isoformat() if disk.expires else None,
    }
