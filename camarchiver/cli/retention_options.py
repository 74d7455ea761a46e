"""Turns options and the config's cameras into the policy of `cleanup`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click
from msgspec import Struct

from camarchiver.cli.conventions import camera_tables
from camarchiver.errors import UsageError
from camarchiver.policy.cleanup_rules import CleanupPolicy, Limits


class RetentionOptions(Struct, frozen=True):
    """The options of `cleanup` that select what is kept, parsed."""

    age: timedelta
    archive_age: timedelta | None
    quiet_age: timedelta | None
    archive_age_offsite: timedelta | None
    offsite_counts: timedelta | None
    trash_age: timedelta
    max_age_hard: timedelta | None
    max_size: int | None
    min_free: int | None
    clean_output: bool
    unarchived: bool
    delete: bool
    cameras: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_large: bool
    max_removals: int
    sidecar: str

    def policy(
        self, context: click.Context, *, spared_run: str = "", free: int | None = None
    ) -> CleanupPolicy:
        """The policy, with the limits of cameras that have their own. Raises UsageError, ConfigError."""
        if 0 in (self.max_size, self.min_free, free):
            raise UsageError(
                "a size of 0 can't be meant: it would keep nothing, or ask for nothing",
                hint="leave the option out, or name a size such as 500GB",
            )
        general = Limits(
            self.age,
            self.archive_age or self.age,
            self.trash_age,
            self.max_age_hard,
            self.max_size,
            self.quiet_age,
            self.archive_age_offsite,
        )
        own = _own_limits(context, general)
        if self.offsite_counts is None and any(
            each.archive_age_offsite is not None for each in (general, *own.values())
        ):
            raise UsageError(
                "archive_age_offsite removes nothing as long as no off-site copy counts",
                hint="say how long one counts after it was verified, for example --offsite-counts 30",
            )
        return CleanupPolicy(
            limits=general,
            cameras_own=own,
            offsite_counts=self.offsite_counts,
            clean_output=self.clean_output,
            unarchived=self.unarchived,
            delete=self.delete,
            cameras=frozenset(self.cameras),
            exclude=self.exclude,
            max_size=self.max_size,
            min_free=self.min_free,
            free=free,
            keep_sidecars=self.sidecar == "keep",
            allow_large=self.allow_large,
            max_removals=self.max_removals,
            spared_run=spared_run,
        )


def _own_limits(context: click.Context, general: Limits) -> dict[str, Limits]:
    """A camera's own value replaces a common default; if both were given, the stricter one applies."""
    found = {}
    for camera, own in camera_tables(context).items():

        def limit(key: str, common: Any, own: Mapping[str, Any] = own) -> Any:
            if key not in own:
                return common
            return min(own[key], common) if common is not None and _is_given(context, key) else own[key]

        found[camera] = Limits(
            age=limit("age", general.age),
            archive_age=limit("archive_age", general.archive_age),
            trash_age=limit("trash_age", general.trash_age),
            max_age_hard=limit("max_age_hard", general.max_age_hard),
            max_size=own.get("max_size"),
            quiet_age=limit("quiet_age", general.quiet_age),
            archive_age_offsite=limit("archive_age_offsite", general.archive_age_offsite),
        )
    return found


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT)
