"""`why`: a clip's history, and what the next runs would do with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli import completions
from camarchiver.cli.commands.archive import archive
from camarchiver.cli.commands.cleanup import cleanup
from camarchiver.cli.commands.queries.find import not_found
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.offsite_options import offsite_access
from camarchiver.cli.options import CONFIG_FILE, filled, json_option, option, options, with_place
from camarchiver.cli.retention_options import RetentionOptions
from camarchiver.cli.runs.archive import ArchiveOptions
from camarchiver.cli.session import TreeOptions, in_trees, show
from camarchiver.cli.types import CameraNameType, DaysType, GivenPath, GivenTime, TimeType
from camarchiver.errors import CamarchiverError, ExitCode, UsageError
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.policy.cleanup_rules import CleanupPolicy

if TYPE_CHECKING:
    from camarchiver.output.history_text import CleanupPreview
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.history import ClipRecord

question_options = options(
    click.argument("path", type=GivenPath(path_type=Path), required=False),
    click.option(
        "--camera",
        type=CameraNameType(),
        shell_complete=completions.cameras,
        help="Only this camera; together with --at.",
    ),
    click.option(
        "--at",
        type=TimeType(clock=True),
        help="A day, minute or second, such as 2026-05-03, '2026-05-03 14:20' or 14:20 (the last time"
        " that the clock showed it), in the cameras' local time.",
    ),
    option(
        "--age",
        type=DaysType(zero=True),
        help="The --age with which `archive` runs here.  [default: its own]",
    ),
    json_option,
)


@click.command(
    cls=HelpCommand,
    examples=(
        (
            "camarchiver why -C /camera 2026/05/03/REO_front_20260503142000.mp4",
            "the history of a clip, given by any path that it has or had",
        ),
        (
            "camarchiver why -C /camera --camera front --at '2026-05-03 14:20'",
            "the clip that shows that minute",
        ),
        ("camarchiver why -C /camera --camera front --at 2026-05-03", "every clip of that day"),
    ),
    codes=ASKS,
)
@question_options
@with_place
def why(
    *,
    path: Path | None,
    camera: str | None,
    at: GivenTime | None,
    age: timedelta | None,
    as_json: bool,
    place: TreeOptions,
) -> int:
    """Show what happened to the clip at PATH (where it is, or once was), or to the clips of a time.

    For a clip that still exists this also shows what the next runs of archive and cleanup would do with it,
    by config files and environment. Exit 1 if nothing is known.
    """
    from camarchiver.output.history_text import story_lines
    from camarchiver.output.json import answers
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.find import FindQuestion
    from camarchiver.queries.history import ClipHistory

    if (path is None) == (at is None) or (path is not None and camera is not None):
        raise UsageError(
            "name a clip's PATH, or --at and perhaps --camera", hint="see camarchiver why --help"
        )
    zone, context = place.zone(), click.get_current_context()
    pipeline = Pipeline(
        place.trees(), zone, "why", conventions(context, trust_names=trusts_names(context, place.directory))
    )
    words = ("--age", f"{age.total_seconds():.0f}s") if age is not None else ()
    history, policy = ClipHistory(pipeline), archive_policy(context, place.directory, zone, *words)
    if path is not None:
        stories = [history.of_path(in_trees(path, pipeline.trees), policy, pipeline.started)]
    else:
        assert at is not None
        question = FindQuestion(
            frozenset((camera,) if camera else ()), covering=at.range(pipeline.started), with_gone=True
        )
        stories = list(history.of_time(question, policy, pipeline.started))
    known = [story for story in stories if story.is_known]
    missing = [] if known else ["nothing is known of such a clip"]
    if at is not None and not known:
        missing = list(not_found(pipeline, question))
    preview = _preview(pipeline, known, context, place)
    if as_json:
        found = known, missing
        click.echo(answers.stories(*found, preview, pipeline.run.id, pipeline.trees, zone), nl=False)
    else:
        for story in known:
            show(story_lines(story, preview, zone))
        show(missing, err=True)
    return ExitCode.DONE if known else ExitCode.FAILED


def _preview(
    pipeline: Pipeline, stories: Sequence[ClipRecord], context: click.Context, place: TreeOptions
) -> CleanupPreview:
    """What a cleanup would do now with the files of these stories, according to its own plan."""
    from camarchiver.cleanup import planner
    from camarchiver.output.history_text import CleanupPreview
    from camarchiver.state import volume_marker

    asked = frozenset(path for story in stories for path in story.places)
    if not asked:
        return CleanupPreview({})
    try:
        volume_marker.check_both(pipeline.trees)
        policy = cleanup_policy(context, place.directory)
        remote = offsite_access(context).label
        plan = planner.plan(pipeline, policy, list_all=False, asked=asked, remote=remote)
    except CamarchiverError as error:
        return CleanupPreview({}, stopped=error.message)
    steps = {step.path: step for each in (plan.steps, plan.left) for step in each if step.path in asked}
    return CleanupPreview(steps, plan.problems[0].message if plan.refused else "")


def archive_policy(context: click.Context, directory: Path, zone: tzinfo, *words: str) -> ArchivePolicy:
    """The policy of `archive DIRECTORY`, from config files, environment and more `words`."""
    return archive_options(context, directory, *words).policy(zone)


def archive_options(context: click.Context, directory: Path, *words: str) -> ArchiveOptions:
    """The options of `archive DIRECTORY`, from config files, environment and more `words`."""
    chosen = _parsed(archive, context, directory, words).params
    of_runs = {"cleanup": None, "access": None, "page": None, "channels": None}
    return filled(ArchiveOptions, {**chosen, **of_runs})


def cleanup_policy(context: click.Context, directory: Path) -> CleanupPolicy:
    """The policy of `cleanup DIRECTORY`, from config files and environment."""
    parsed = _parsed(cleanup, context, directory)
    return filled(RetentionOptions, parsed.params).policy(parsed)


def trusts_names(context: click.Context, directory: Path) -> bool:
    """Whether `cleanup DIRECTORY` would trust the names alone, by config files and environment."""
    return bool(_parsed(cleanup, context, directory).params["trust_names"])


def _parsed(
    command: click.Command, context: click.Context, directory: Path, words: tuple[str, ...] = ()
) -> click.Context:
    config = context.meta[CONFIG_FILE]
    named = ("--config", os.fspath(config)) if config is not None else ()
    arguments = [*named, *words, "--", os.fspath(directory)]
    return command.make_context(command.name, arguments, parent=context.find_root())
