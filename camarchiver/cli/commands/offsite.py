"""`camarchiver offsite`: verified copies of archives in other storage."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.help_page import HelpGroup
from camarchiver.cli.offsite_options import remote_options, verify_option, what_option
from camarchiver.cli.options import consent_options, general_options, option, options, tree_options
from camarchiver.cli.selection_options import cameras_option, exclude_option
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import Duration, When
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
        ("camarchiver archive /camera --cleanup -y && camarchiver offsite sync /camera", "every night"),
    ),
    codes=_CODES,
)
def offsite() -> None:
    """Keep verified copies of archives in other storage, by rclone: S3, SFTP, WebDAV and many others."""


selection_options = options(
    what_option,
    cameras_option,
    exclude_option,
    option(
        "--since",
        type=When(),
        envvar="CAMARCHIVER_OFFSITE_SINCE",
        only_own_section=True,
        help="Only clips that start then or later.",
    ),
    option("--limit", type=click.IntRange(min=1), help="Copy at most this many archives in this run."),
    option("--max-runtime", type=Duration(), help="Begin no further copy after this time, such as 6h."),
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
    common=(
        "--output",
        "--what",
        "--camera",
        "--since",
        "--limit",
        "--max-runtime",
        "--remote",
        "--bandwidth",
        "--verify",
        "--dry-run",
        "--no-confirm",
        "--json",
    ),
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
    What was copied before is known from the journal: the remote is not listed.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.offsite_options import cameras_own, rclone_settings
    from camarchiver.cli.runs.offsite import SyncOptions, run_sync
    from camarchiver.offsite.rclone import backends
    from camarchiver.offsite.verification import VerifyMethod
    from camarchiver.policy.offsite_rules import OffsitePolicy, WhatToCopy

    place = TreeOptions(chosen["directory"], chosen["output"], chosen["trash_root"], chosen["timezone"])
    rclone, since = rclone_settings(chosen), chosen["since"]
    policy = OffsitePolicy(
        backends.label(rclone.remote),
        WhatToCopy(chosen["what"]),
        cameras_own(context),
        frozenset(chosen["cameras"]),
        chosen["exclude"],
        since.start.replace(tzinfo=place.zone()) if since else None,
        chosen["limit"],
        chosen["retry_failed"],
    )
    method = VerifyMethod(chosen["verify"])
    sync_options = SyncOptions(place, policy, rclone, method, chosen["max_runtime"], _run_options(chosen))
    return run_sync(sync_options, conventions(context))


def _run_options(chosen: dict[str, Any]) -> RunOptions:
    from camarchiver.cli.runs.template import RunOptions

    return RunOptions(**{each.name: chosen[each.name] for each in fields(RunOptions)})
