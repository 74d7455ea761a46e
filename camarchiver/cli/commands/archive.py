"""`camarchiver archive`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.options import (
    CLEANUP,
    CONFIG_FILE,
    FOLDER,
    PAGE_TASK,
    consent_options,
    general_options,
    has_camera_tables,
    is_on_command_line,
    option,
    options,
    retention_options,
    sidecar_option,
    tree_options,
    trust_names_option,
)
from camarchiver.cli.selection_options import cameras_option, exclude_option
from camarchiver.cli.types import DaysType, Duration, Jobs, Percent, Rate, ReadableText, Size, TimeType
from camarchiver.media.encoders import CODECS, HARDWARE, Backend
from camarchiver.policy.archive_rules import ANY_CAMERA, KEEP, ONE_CAMERA, REENCODE, RawRates, SignedRule

if TYPE_CHECKING:
    from camarchiver.cli.runs.archive import OffsiteRun
    from camarchiver.cli.runs.page import PageTask
    from camarchiver.policy.cleanup_rules import CleanupPolicy

DEVICE = click.Path(path_type=Path, readable=False)
"""Trying the device reports how to get access to it, so a missing permission is no error here."""


def _signed_rule(context: click.Context, parameter: click.Parameter, value: str) -> SignedRule:
    """The option's value, and those of cameras with their own unless it came from the command line."""
    own = _cameras_own(context, "signed")
    return SignedRule(value == REENCODE, {camera: chosen == REENCODE for camera, chosen in own.items()})


def _raw_rates(context: click.Context, parameter: click.Parameter, value: Fraction | None) -> RawRates:
    """The option's value, and those of cameras with their own unless it came from the command line."""
    return RawRates(value, _cameras_own(context, "raw_rate"))


def _cameras_own(context: click.Context, key: str) -> dict[str, Any]:
    """The values of `[camera.NAME]`; none if the command line or the environment has one."""
    given = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    if context.get_parameter_source(key) in given or not has_camera_tables(context):
        return {}
    from camarchiver.cli.conventions import camera_tables

    return {camera: keys[key] for camera, keys in camera_tables(context).items() if key in keys}


same_content_option = option(
    "--same-content",
    type=click.Choice([ONE_CAMERA, ANY_CAMERA]),
    default=ONE_CAMERA,
    help="Whose clips share one archive if their bytes are the same: those of one camera, or any.",
)

what_options = options(
    option(
        "--age",
        type=DaysType(zero=True),
        default="30",
        help="Archive clips this many days old; 0 for every settled clip.",
    ),
    cameras_option,
    exclude_option,
    option("--since", type=TimeType(), help="Only clips that start then or later."),
    option(
        "--until",
        type=TimeType(),
        help="Only clips that start before this; a bare date includes that day.",
    ),
    option("--min-size", type=Size(), default="0", help="Only clips of at least this size."),
    option("--limit", type=click.IntRange(min=1), help="Encode at most this many clips in this run."),
    option(
        "--max-runtime",
        type=Duration(),
        help="Start no further clip after this time, such as 6h.",
    ),
    option(
        "--no-skip",
        is_flag=True,
        help="Encode again clips that are archived already. With --codec also those whose source is gone:"
        " from the original in the trash, or else from the archive, if that has another codec.",
    ),
    same_content_option,
    option("--retry-failed", is_flag=True, help="Retry clips that failed before, however long ago."),
    heading="Which clips",
)

removal_options = options(
    option("--delete", is_flag=True, help="Delete archived sources instead of moving them to the trash."),
    option("--keep-source", is_flag=True, help="Archive only; remove nothing."),
    sidecar_option,
    trust_names_option,
    heading="What becomes of the sources",
)

encoder_options = options(
    option(
        "--encoder",
        type=click.Choice(["auto", *(backend.value for backend in Backend)]),
        default="auto",
        help=f"The encoder; auto takes the first that works: {', '.join(HARDWARE)}, software.",
    ),
    option(
        "--codec",
        type=click.Choice(["auto", *CODECS]),
        default="auto",
        help="Video codec.",
    ),
    option(
        "--quality", type=click.IntRange(1, 63), help="Quality on the encoder's own scale; lower is better."
    ),
    option(
        "--preset",
        type=ReadableText("text", str),
        help="Preset on the encoder's own scale, such as 8 or medium.",
    ),
    option(
        "--max-height",
        type=click.IntRange(min=64),
        help="Scale pictures that are higher down to this, such as 1080.",
    ),
    option(
        "--audio",
        type=click.Choice(["copy", "aac", "none"]),
        default="copy",
        help="What to do with the sound.",
    ),
    option(
        "--verify",
        type=click.Choice(["quick", "full"]),
        default="quick",
        help="quick counts every frame and decodes keyframes; full decodes every archive completely."
        " What a GPU encoded is always decoded completely.",
    ),
    option(
        "--min-saving",
        type=Percent(),
        default="10",
        help="If encoding saves less than this, the archive is a lossless copy of the source.",
    ),
    option(
        "--signed",
        type=click.Choice([KEEP, REENCODE]),
        default=KEEP,
        callback=_signed_rule,
        help="Clips that the camera signed: keep their exact bytes, or encode them and lose the proof.",
    ),
    option(
        "--raw-rate",
        type=Rate(),
        callback=_raw_rates,
        metavar="RATE",
        help="Frames per second of .264, .265 and other raw streams, in which frames have no times.",
    ),
    option("--device", type=DEVICE, help="Render node, such as /dev/dri/renderD128."),
    option(
        "--ffmpeg",
        type=FOLDER,
        help="The ffmpeg to use.  [default: the better of the system's and the embedded one]",
    ),
    option("--jobs", type=Jobs(), default="auto", help="Clips encoded at the same time."),
    option(
        "--nice",
        type=click.IntRange(0, 19),
        default=19,
        help="Niceness of the encoders; 19 is the lowest CPU priority.",
    ),
    heading="How to encode",
)


scheduler_option = option(
    "--scheduler",
    heading="How to encode",
    metavar="ADDRESS",
    help="Encode on the workers of this Dask cluster, such as tcp://HOST:8786.",
)

offsite_option = option(
    "--offsite",
    heading="Afterwards",
    is_flag=True,
    help="Run `camarchiver offsite sync` afterwards, as [offsite] in the config says.",
)

cleanup_option = option(
    "--cleanup",
    heading=CLEANUP,
    is_flag=True,
    help="Run `camarchiver cleanup` afterwards, with its options.",
)

page_option = option(
    "--page",
    heading="Output and log",
    is_flag=True,
    help="Write the pages of `camarchiver page` afterwards; [page] in the config file says where.",
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver archive /camera --dry-run", "show what would be archived, and why; change nothing"),
        (
            "camarchiver archive /camera --camera front --since 2026-05-01 --keep-source",
            "one camera from that day on; remove nothing",
        ),
        (
            "camarchiver archive /camera --max-runtime 6h --cleanup -y",
            "every night from cron: archive, then remove what the policy no longer keeps",
        ),
    ),
    common=(
        "--output",
        "--age",
        "--camera",
        "--since",
        "--until",
        "--max-runtime",
        "--no-skip",
        "--keep-source",
        "--codec",
        "--cleanup",
        "--dry-run",
        "--no-confirm",
    ),
)
@tree_options
@what_options
@removal_options
@encoder_options
@scheduler_option
@offsite_option
@cleanup_option
@retention_options
@consent_options
@general_options
@page_option
@with_channels
def archive(**chosen: Any) -> int:
    """Turn the clips below DIRECTORY that are old enough into small archives.

    Each archive is verified against its source and durable on disk before the source moves to the
    trash. DIRECTORY is /camera unless given.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.offsite_options import offsite_access
    from camarchiver.cli.retention_options import RetentionOptions
    from camarchiver.cli.runs.archive import ArchiveOptions, run_archive

    context = click.get_current_context()
    own = set(ArchiveOptions.__struct_fields__)
    retention = {name: chosen[name] for name in RetentionOptions.__struct_fields__ if name in chosen}
    of_cleanup = [name for name in retention if name not in own]
    policy = _cleanup_policy(context, retention) if chosen["cleanup"] else None
    if policy is None:
        _refuse_without_cleanup(context, (*of_cleanup, "trash_age"))
    chosen["trash_age"] = _trash_age(context, chosen["trash_age"])
    offsite = _offsite_run(context, chosen["timezone"]) if chosen["offsite"] else None
    for name in (*of_cleanup, "cleanup", "offsite", "trust_names"):
        del chosen[name]
    pages = page_afterwards(context, chosen)
    access = offsite_access(context) if policy is not None else None
    options_ = ArchiveOptions(**chosen, cleanup=policy, access=access, offsite=offsite, page=pages)
    return run_archive(options_, conventions(context))


def page_afterwards(context: click.Context, chosen: dict[str, Any]) -> PageTask | None:
    """The pages that `--page` asks for; takes the option out of the command's parameters.

    Raises UsageError if the config file does not say where they are, and UsageError or StorageError if they
    can't be written there: before any clip is archived.
    """
    if not chosen.pop("page"):
        return None
    root = context.find_root()
    found: list[PageTask] = []
    config = context.meta[CONFIG_FILE]
    words = ["--config", str(config)] if config is not None else []
    for name in ("output", "trash_root", "timezone"):
        if chosen[name]:
            words.append(f"--{name.replace('_', '-')}={chosen[name]}")
    # Found by its name, because the module of `page` asks this one for the policy of `archive`.
    command = cast(click.Group, root.command).get_command(root, "page")
    assert command is not None
    with command.make_context("page", [*words, "--", str(chosen["directory"])], parent=root) as own:
        own.meta[PAGE_TASK] = found
        try:
            command.invoke(own)
        finally:
            del own.meta[PAGE_TASK]
    found[0].check()
    return found[0]


def _trash_age(context: click.Context, value: timedelta) -> timedelta:
    """How long the trash is kept: as `cleanup` keeps it by the config, unless `archive` has its own value."""
    if context.get_parameter_source("trash_age") is not click.core.ParameterSource.DEFAULT:
        return value
    from camarchiver.cli.options import CONFIG_KEY

    configured = context.meta[CONFIG_KEY].for_command("cleanup").get("trash_age")
    if configured is None:
        return value
    return DaysType(zero=True).convert(configured.value, None, context)


def _offsite_run(context: click.Context, timezone: str) -> OffsiteRun:
    """What `[offsite]` says of the copies. Raises ConfigError if it says nothing."""
    from camarchiver.cli.offsite_options import configured, sync_policy, transfer_settings
    from camarchiver.cli.runs.archive import OffsiteRun
    from camarchiver.runtime import clock

    values = configured(context)
    return OffsiteRun(transfer_settings(values), sync_policy(context, values, clock.zone(timezone)))


def _refuse_without_cleanup(context: click.Context, names: Iterable[str]) -> None:
    """Raise UsageError if a parameter was given that only concerns the cleanup after archiving."""
    from camarchiver.errors import UsageError

    given = next((name for name in names if is_on_command_line(context, name)), None)
    if given is not None:
        words = f"--{given.replace('_', '-')} does nothing without --cleanup"
        raise UsageError(words, hint="add --cleanup")


def _cleanup_policy(context: click.Context, retention: Mapping[str, Any]) -> CleanupPolicy:
    """What `--cleanup` keeps, by the retention options of `archive`.

    Raises UsageError for values that make no sense.
    """
    from camarchiver.cli.retention_options import RetentionOptions
    from camarchiver.errors import UsageError

    age = retention["age"]
    if retention["clean_output"] and (retention["archive_age"] or age) <= age:
        raise UsageError(
            "--clean-output here needs an --archive-age above --age, else what was archived goes at once",
            hint="add for example --archive-age 365",
        )
    only_of_cleanup = {"max_age_hard": None, "unarchived": False}
    return RetentionOptions(**{**only_of_cleanup, **retention}).policy(context)
