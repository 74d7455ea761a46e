"""Turns options and the config's cameras into the policy of `cleanup`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from camarchiver import config as config_files
from camarchiver.cli.options import CONFIG_KEY
from camarchiver.cli.types import DaysType, Size
from camarchiver.errors import ConfigError, UsageError
from camarchiver.naming.cameras import comparable
from camarchiver.policy.cleanup_rules import CleanupPolicy, Limits
from camarchiver.policy.unencoded_rules import KEEP, REENCODE

_KEYS: Mapping[str, click.ParamType[Any]] = {
    "age": DaysType(),
    "archive_age": DaysType(),
    "trash_age": DaysType(zero=True),
    "max_age_hard": DaysType(),
    "max_size": Size(),
    "signed": click.Choice([KEEP, REENCODE]),
}
"""The keys that a camera may have of its own, in `[camera.NAME]`."""


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """The options of `cleanup` that select what is kept, parsed."""

    age: timedelta
    archive_age: timedelta | None
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
    trust_names: bool
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
            self.age, self.archive_age or self.age, self.trash_age, self.max_age_hard, self.max_size
        )
        return CleanupPolicy(
            limits=general,
            cameras_own=_own_limits(context, general),
            clean_output=self.clean_output,
            unarchived=self.unarchived,
            delete=self.delete,
            cameras=frozenset(self.cameras),
            exclude=self.exclude,
            max_size=self.max_size,
            min_free=self.min_free,
            free=free,
            keep_pictures=self.sidecar == "keep",
            trust_names=self.trust_names,
            allow_large=self.allow_large,
            max_removals=self.max_removals,
            spared_run=spared_run,
        )


def camera_tables(context: click.Context) -> dict[str, dict[str, Any]]:
    """The values of every `[camera.NAME]`, parsed. Raises ConfigError for an invalid key or value."""
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    tables: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    for name, entry in loaded.table("camera").items():
        if not isinstance(entry.value, dict):
            raise ConfigError(
                f"{entry.file}: [camera] {name} is not a table", hint=f"write [camera.{name}] above its keys"
            )
        camera = comparable(name)
        if files.get(camera) == entry.file:
            raise ConfigError(
                f"{entry.file}: [camera.{name}] stands there twice, with composed and decomposed letters",
                hint="write one table for this camera",
            )
        files[camera] = entry.file
        tables[camera] = {
            key: _value(entry.file, name, key, value, context) for key, value in entry.value.items()
        }
    return tables


def _value(file: object, camera: str, key: str, value: object, context: click.Context) -> Any:
    if key not in _KEYS:
        raise ConfigError(
            f"{file}: [camera.{camera}] {key} is not a key{config_files.nearest(key, _KEYS)}",
            hint="keys are " + ", ".join(_KEYS),
        )
    try:
        found = _KEYS[key].convert(value, None, context)
    except click.BadParameter as error:
        message = f"{file}: [camera.{camera}] {key}: {error.message}"
        raise ConfigError(message, hint="mend that value") from error
    if found == 0:
        raise ConfigError(f"{file}: [camera.{camera}] {key}: 0 would keep nothing", hint="mend that value")
    return found


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
        )
    return found


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT)
