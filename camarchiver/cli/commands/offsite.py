"""`camarchiver offsite`: verified copies of archives in other storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.help_page import ASKS, HelpGroup
from camarchiver.cli.offsite_options import reach_options, remote_options, verify_option, what_option
from camarchiver.cli.options import (
    config_option,
    consent_options,
    filled,
    general_options,
    json_option,
    option,
    options,
    timezone_option,
    tree_options,
)
from camarchiver.cli.selection_options import cameras_option, exclude_option
from camarchiver.cli.session import TreeOptions, show, write
from camarchiver.cli.types import Duration, Percent, TimeType
from camarchiver.errors import ExitCode

if TYPE_CHECKING:
    from camarchiver.cli.runs.template import RunOptions

_CODES = tuple(code for code in ExitCode if code is not ExitCode.ENCODER)


@click.group(
    cls=HelpGroup,
    has_section=True,
    examples=(
        ("camarchiver offsite sync /camera --remote b2:cameras --dry-run", "what would be copied, and why"),
        ("camarchiver offsite sync /camera", "copy and verify what has no copy yet"),
        ("camarchiver offsite verify /camera --sample 2", "read two percent of the copies back"),
    ),
    codes=_CODES,
)
def offsite() -> None:
    """Keep verified copies of archives in other storage, by rclone: S3, SFTP, WebDAV and many others."""


_COMMON = (
    *("--limit", "--max-runtime", "--remote", "--bandwidth", "--verify"),
    *("--dry-run", "--no-confirm", "--json"),
)
"""The options that the short help of `sync` and `verify` lists, besides their own."""


max_runtime_option = option(
    "--max-runtime", type=Duration(), help="Begin no further copy after this time, such as 6h."
)

selection_options = options(
    what_option,
    cameras_option,
    exclude_option,
    option(
        "--since",
        type=TimeType(),
        envvar="CAMARCHIVER_OFFSITE_SINCE",
        only_own_section=True,
        help="Only clips that start then or later.",
    ),
    option("--limit", type=click.IntRange(min=1), help="Copy at most this many archives in this run."),
    max_runtime_option,
    option("--retry-failed", is_flag=True, help="Retry archives that could not be copied before."),
    heading="Which archives",
)


@offsite.command(
    short_help="Copy archives to the remote and verify the copies.",
    examples=(
        ("camarchiver offsite sync /camera --dry-run", "show what would be copied, and why; copy nothing"),
        ("camarchiver offsite sync /camera --max-runtime 5h -q", "every night from cron"),
        ("camarchiver offsite sync /camera --what held --remote nas:evidence", "only what is held"),
    ),
    codes=_CODES,
    common=("--output", "--what", "--camera", "--since", *_COMMON),
)
@tree_options
@selection_options
@remote_options
@verify_option
@consent_options
@general_options
@click.pass_context
@with_channels
def sync(context: click.Context, /, **chosen: Any) -> int:
    """Copy archives below DIRECTORY to the remote: held ones first, then the newest.

    A copy counts only when it was compared with its archive's BLAKE2b. Nothing is removed here or there.
    What was copied before is known from the journal: the remote is not listed. A dry run says whether the
    remote can be reached, and its room.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.offsite_options import sync_policy, transfer_settings
    from camarchiver.cli.runs.offsite import OffsiteOptions, run_sync

    place = _place(chosen)
    sync_options = OffsiteOptions(place, transfer_settings(chosen), _run_options(chosen))
    return run_sync(sync_options, sync_policy(context, chosen, place.zone()), conventions(context))


@offsite.command(
    short_help="Compare copies with their archives again.",
    examples=(
        ("camarchiver offsite verify /camera --sample 2", "every night: all copies in fifty nights"),
        ("camarchiver offsite verify /camera", "every copy; this reads all of them back, if it must"),
        ("camarchiver offsite verify /camera --camera front --verify read-back", "one camera, whole"),
    ),
    codes=_CODES,
    common=("--output", "--sample", "--camera", *_COMMON, "--quiet"),
)
@tree_options
@options(
    option(
        "--sample",
        type=Percent(),
        default="100",
        envvar=None,
        help="Percent of the copies to verify: those that were not for the longest time.",
    ),
    cameras_option,
    option("--limit", type=click.IntRange(min=1), help="Verify at most this many copies in this run."),
    max_runtime_option,
    heading="Which copies",
)
@remote_options
@verify_option
@consent_options
@general_options
@click.pass_context
@with_channels
def verify(context: click.Context, /, **chosen: Any) -> int:
    """Compare the copies of archives below DIRECTORY with the journal's BLAKE2b.

    A copy that is missing or differs counts no more, and the next `offsite sync` makes it again. Exit 3
    if there is one. Where no copy that the journal knows can be read, the path or a password is wrong: the
    run ends, and no copy is lost for that.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.offsite_options import transfer_settings
    from camarchiver.cli.runs.offsite import OffsiteOptions, run_verify_copies
    from camarchiver.offsite.rclone import backends
    from camarchiver.policy.offsite_rules import CheckPolicy

    settings = transfer_settings(chosen)
    policy = CheckPolicy(
        backends.label(chosen["remote"]), frozenset(chosen["cameras"]), chosen["sample"], chosen["limit"]
    )
    verify_options = OffsiteOptions(_place(chosen), settings, _run_options(chosen))
    return run_verify_copies(verify_options, policy, conventions(context))


@offsite.command(
    "status",
    short_help="Show how many archives have a verified copy.",
    examples=(
        ("camarchiver offsite status /camera", "by the journal: the remote is not asked"),
        ("camarchiver offsite status /camera --space", "also how much room is left there"),
        ("camarchiver offsite status /camera --json", "the same for programs"),
    ),
    codes=ASKS,
)
@tree_options
@option("--space", is_flag=True, envvar=None, help="Ask the remote how much room is left.")
@remote_options
@json_option
@timezone_option
@config_option
@click.pass_context
def show_status(
    context: click.Context,
    /,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    timezone: str,
    remote: str,
    bandwidth: str,
    rclone: Path | None,
    *,
    space: bool,
    as_json: bool,
) -> None:
    """Show how many archives of each camera have a verified copy at the remote, and what is missing."""
    from camarchiver.cli.conventions import conventions
    from camarchiver.offsite.rclone import backends
    from camarchiver.offsite.rclone.remote import RcloneSettings
    from camarchiver.offsite.status import status
    from camarchiver.output import offsite_text
    from camarchiver.output.json import answers
    from camarchiver.pipeline import Pipeline

    backends.check(remote)
    place = TreeOptions(directory, output, trash_root, timezone)
    pipeline = Pipeline(place.trees(), place.zone(), "offsite", conventions(context))
    found = status(pipeline, RcloneSettings(remote, rclone, bandwidth), with_space=space)
    if as_json:
        write((answers.offsite_status(found, pipeline.run.id),))
    else:
        show(offsite_text.status_lines(found, pipeline.zone))


def _place(chosen: dict[str, Any]) -> TreeOptions:
    return TreeOptions(chosen["directory"], chosen["output"], chosen["trash_root"], chosen["timezone"])


@offsite.command(
    name="restore-all",
    short_help="Bring everything back on an empty machine.",
    examples=(
        ("camarchiver offsite restore-all b2:cameras /camera --dry-run", "what there is at the remote"),
        ("camarchiver offsite restore-all b2:cameras /camera", "archives and journal on a new disk"),
        ("camarchiver offsite restore-all /mnt/disk /camera -y", "from what plain rclone copied to a disk"),
    ),
    codes=_CODES,
)
@click.argument("remote")
@tree_options
@reach_options
@consent_options
@general_options
@with_channels
def restore_all(**chosen: Any) -> int:
    """Bring every archive at REMOTE back into an empty DIRECTORY, and make the journal anew.

    It needs nothing but the remote: the manifests there say which archives there are, and what was known of
    them. Each archive gets its name only if it has the BLAKE2b that its manifest has. Interrupted, it goes on
    when it is run again.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.runs.offsite import RestoreAllOptions, run_restore_all
    from camarchiver.offsite.rclone import backends
    from camarchiver.offsite.rclone.remote import RcloneSettings

    backends.check(chosen["remote"])
    rclone = RcloneSettings(chosen["remote"], chosen["rclone"], chosen["bandwidth"])
    restore_options = RestoreAllOptions(_place(chosen), rclone, _run_options(chosen))
    return run_restore_all(restore_options, conventions(click.get_current_context()))


def _run_options(chosen: dict[str, Any]) -> RunOptions:
    from camarchiver.cli.runs.template import RunOptions

    return filled(RunOptions, chosen)
