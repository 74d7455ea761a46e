"""Options about off-site copies, and what `[offsite]` says for other commands."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camarchiver.cli.options import CONFIG_FILE, option, options

if TYPE_CHECKING:
    from camarchiver.cleanup.offsite_copies import OffsiteAccess
    from camarchiver.offsite.executor import TransferSettings
    from camarchiver.policy.offsite_rules import OffsitePolicy

_METHODS = ("auto", "read-back", "remote-hash")
_WHAT = ("archives", "held")

_LIMIT = re.compile(r"off|\d+(\.\d+)?[BKMGT]?i?(:(off|\d+(\.\d+)?[BKMGT]?i?))?", re.IGNORECASE)
_ENTRY = re.compile(rf"((\w{{3}}-)?\d\d:\d\d,)?({_LIMIT.pattern})", re.IGNORECASE)


class Bandwidth(click.ParamType[str]):
    """A limit as rclone's `--bwlimit` takes it: bytes per second such as 2M, or a timetable of such."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if rclone understands it."""
        text = str(value).strip()
        if text and not all(_ENTRY.fullmatch(each) for each in text.split()):
            self.fail(f"{text!r} is no bandwidth: try 2M, or '08:00,512K 23:00,off'", param, ctx)
        return text


_REACH = "Where the copies are"

reach_options = options(
    option(
        "--bandwidth",
        type=Bandwidth(),
        default="",
        show_default=False,
        help="Bytes per second at most, such as 2M, or a timetable such as '08:00,512K 23:00,off'.",
    ),
    option(
        "--rclone",
        # Whether this user may start it is looked at when it is needed: `archive` works without it.
        type=click.Path(path_type=Path, readable=False),
        help="The rclone to use.  [default: the one of the extra `offsite`, otherwise the one in PATH]",
    ),
    heading=_REACH,
)

remote_options = options(
    option(
        "--remote",
        default="",
        show_default=False,
        metavar="NAME:PATH",
        heading=_REACH,
        help="Where the copies go: a remote of rclone's config and a path there, or an absolute path.",
    ),
    reach_options,
)

verify_option = option(
    "--verify",
    type=click.Choice(_METHODS),
    default="auto",
    envvar="CAMARCHIVER_OFFSITE_VERIFY",
    only_own_section=True,
    heading="Where the copies are",
    help="Read each copy back whole, or ask the remote for its own hash; auto asks where such a hash proves"
    " the whole object.",
)

what_option = option(
    "--what",
    type=click.Choice(_WHAT),
    default="archives",
    help="Copy all archives, or only held ones; `offsite` in [camera.NAME] may differ.",
)


def transfer_settings(chosen: Mapping[str, Any]) -> TransferSettings:
    """How copies are made and verified. Raises ConfigError for a remote that makes no sense."""
    from camarchiver.offsite.executor import TransferSettings
    from camarchiver.offsite.rclone import backends
    from camarchiver.offsite.rclone.remote import RcloneSettings
    from camarchiver.offsite.verification import VerifyMethod

    backends.check(chosen["remote"])
    rclone = RcloneSettings(chosen["remote"], chosen["rclone"], chosen["bandwidth"])
    return TransferSettings(rclone, VerifyMethod(chosen["verify"]), chosen["max_runtime"])


def sync_policy(context: click.Context, chosen: Mapping[str, Any], zone: tzinfo) -> OffsitePolicy:
    """What is copied, with the cameras that say so in `[camera.NAME]`. Raises ConfigError."""
    from camarchiver.cli.conventions import camera_tables
    from camarchiver.offsite.rclone import backends
    from camarchiver.policy.offsite_rules import OffsitePolicy, WhatToCopy

    tables, since = camera_tables(context), chosen["since"]
    return OffsitePolicy(
        backends.label(chosen["remote"]),
        WhatToCopy(chosen["what"]),
        {camera: WhatToCopy(own["offsite"]) for camera, own in tables.items() if "offsite" in own},
        frozenset(chosen["cameras"]),
        chosen["exclude"],
        since.start.replace(tzinfo=zone) if since else None,
        chosen["limit"],
        chosen["retry_failed"],
    )


def configured(context: click.Context) -> dict[str, Any]:
    """The values of `offsite sync` by the config files and the environment, for another command.

    `remote` is empty if none is configured. Raises ConfigError.
    """
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    group = root.command.get_command(root, "offsite")
    assert isinstance(group, click.Group)
    named = context.meta.get(CONFIG_FILE)
    arguments = ["--config", os.fspath(named)] if named else []
    before = dict(context.meta)
    try:
        with (
            group.make_context("offsite", [], parent=root, resilient_parsing=True) as above,
            group.commands["sync"].make_context("sync", arguments, parent=above) as inner,
        ):
            return dict(inner.params)
    finally:
        context.meta.update(before)


def offsite_access(context: click.Context) -> OffsiteAccess:
    """How off-site copies are reached, by config files and environment; without a remote it names none.

    Raises ConfigError.
    """
    from camarchiver.cleanup.offsite_copies import OffsiteAccess
    from camarchiver.offsite.rclone import backends
    from camarchiver.offsite.rclone.remote import RcloneSettings
    from camarchiver.offsite.verification import VerifyMethod

    chosen = configured(context)
    if chosen["remote"]:
        backends.check(chosen["remote"])
    rclone = RcloneSettings(chosen["remote"], chosen["rclone"], chosen["bandwidth"])
    return OffsiteAccess(rclone, VerifyMethod(chosen["verify"]))
