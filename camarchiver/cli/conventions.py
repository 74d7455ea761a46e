"""Reads what the config says of the trees: `[patterns]`, `[folders]` and the tables of cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from camarchiver import config as config_files
from camarchiver.cli.options import CONFIG_KEY
from camarchiver.cli.types import ClockType, DaysType, Rate, Size
from camarchiver.domain.clocks import Clocks
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.motion import CameraViews, View
from camarchiver.errors import ConfigError, UsageError, raise_all
from camarchiver.motion.events import polygon
from camarchiver.naming.folders import comparable
from camarchiver.naming.patterns import Pattern, compile_pattern
from camarchiver.naming.system_folders import PassedOver
from camarchiver.policy.archive_rules import KEEP, REENCODE
from camarchiver.policy.offsite_rules import WhatToCopy


class ViewTexts(click.ParamType[tuple[str, ...]]):
    """Masks or zones of a camera's table in the config: one text, or a list of them."""

    name = "list"

    def __init__(self, *, zones: bool) -> None:
        self._zones = zones

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The texts, each of which is valid."""
        texts = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(text, str) for text in texts):
            self.fail(f"{value!r} is not a text or a list of texts.", param, ctx)
        try:
            view_of((), texts) if self._zones else view_of(texts, ())
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}.", param, ctx)
        return texts


_KEYS: Mapping[str, click.ParamType[Any]] = {
    "age": DaysType(),
    "archive_age": DaysType(),
    "quiet_age": DaysType(),
    "archive_age_offsite": DaysType(),
    "trash_age": DaysType(zero=True),
    "max_age_hard": DaysType(),
    "max_size": Size(),
    "signed": click.Choice([KEEP, REENCODE]),
    "clock": ClockType(),
    "raw_rate": Rate(),
    "mask": ViewTexts(zones=False),
    "zone": ViewTexts(zones=True),
    "offsite": click.Choice([each.value for each in WhatToCopy]),
}
"""The keys that a camera may have of its own, in `[camera.NAME]`."""

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
"""Suffixes of pictures that are masks."""

_PASS_OVER = "pass_over"
"""The key of `[folders]`."""

_TRUSTING = ("", "archive", "cleanup")
"""The sections in which `trust_names` applies to the whole tree, for every command."""


def conventions(context: click.Context, *, trust_names: bool = False) -> Conventions:
    """What the config says about names, folders and clocks. Raises ConfigError.

    The names are also trusted if the command's own `--trust-names` says so.
    """
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    tables = camera_tables(context)
    own = {camera: keys["clock"] for camera, keys in tables.items() if "clock" in keys}
    values = [loaded.sections.get(section, {}).get("trust_names") for section in _TRUSTING]
    trusted = trust_names or bool(context.params.get("trust_names"))
    trusted = trusted or any(value is not None and value.value is True for value in values)
    passed_over = PassedOver(folders_to_pass_over(loaded))
    clocks = Clocks(own, trusted)
    return Conventions(own_patterns(loaded), passed_over, clocks, views_of(tables), frozenset(tables))


def views_of(tables: Mapping[str, Mapping[str, Any]]) -> CameraViews:
    """The masks and zones of the cameras that have any."""
    return CameraViews(
        {
            camera: view_of(keys.get("mask", ()), keys.get("zone", ()))
            for camera, keys in tables.items()
            if "mask" in keys or "zone" in keys
        }
    )


def own_patterns(loaded: config_files.Config) -> tuple[Pattern, ...]:
    """The patterns of `[patterns]`, in their order. Raises ConfigError with each that is wrong."""
    found, errors = list[Pattern](), list[ConfigError]()
    for name, entry in loaded.table("patterns").items():
        if not isinstance(entry.value, str):
            words = f"{entry.file}: pattern {name} is not a text"
            errors.append(ConfigError(words, hint="write a regular expression in quotes"))
            continue
        try:
            found.append(compile_pattern(entry.value, name=name))
        except ConfigError as error:
            errors.append(ConfigError(f"{entry.file}: {error.message}", hint=error.hint))
    raise_all(errors)
    return tuple(found)


def folders_to_pass_over(loaded: config_files.Config) -> tuple[str, ...]:
    """The globs of `[folders]`."""
    for key, entry in loaded.table("folders").items():
        if key != _PASS_OVER:
            raise ConfigError(
                f"{entry.file}: [folders] {key} is not a key{config_files.nearest(key, (_PASS_OVER,))}",
                hint=f'the key is {_PASS_OVER}, as {_PASS_OVER} = ["Lost Footage", "*.bak"]',
            )
        names = entry.value
        is_list = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
        if not is_list or any("/" in name or not name.strip("*?") for name in names):
            raise ConfigError(
                f"{entry.file}: [folders] {key} is not a list of folders' names",
                hint=f'write for example {_PASS_OVER} = ["Lost Footage", "*.bak"]; names have no /',
            )
        return tuple(names)
    return ()


def camera_tables(context: click.Context) -> dict[str, dict[str, Any]]:
    """The values of every `[camera.NAME]`, parsed. Raises ConfigError for an invalid key or value."""
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    tables: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    errors = list[ConfigError]()
    for name, entry in loaded.table("camera").items():
        camera = comparable(name)
        if not isinstance(entry.value, dict):
            words = f"{entry.file}: [camera] {name} is not a table"
            errors.append(ConfigError(words, hint=f"write [camera.{name}] above its keys"))
            continue
        if files.get(camera) == entry.file:
            words = (
                f"{entry.file}: there are two tables [camera.{name}], with composed and decomposed letters"
            )
            errors.append(ConfigError(words, hint="write one table for this camera"))
        files[camera] = entry.file
        own = tables[camera] = dict[str, Any]()
        for key, value in entry.value.items():
            try:
                own[key] = _value(entry.file, name, key, value, context)
            except ConfigError as error:
                errors.append(error)
    raise_all(errors)
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
        raise ConfigError(message, hint="correct that value") from error
    if found == 0:
        raise ConfigError(f"{file}: [camera.{camera}] {key}: 0 would keep nothing", hint="correct that value")
    return found


def view_of(masks: Sequence[str], zones: Sequence[str]) -> View:
    """What of a picture counts: masks are a picture or polygons, zones are `NAME=POLYGON`.

    Raises UsageError.
    """
    pictures = [Path(mask) for mask in masks if mask.lower().endswith(_PICTURES)]
    if len(pictures) > 1:
        raise UsageError("--mask takes one picture", hint="draw both into one, or use polygons")
    polygons = tuple(polygon(mask) for mask in masks if not mask.lower().endswith(_PICTURES))
    named = {}
    for zone in zones:
        name, separator, corners = zone.partition("=")
        if not (name and separator):
            raise UsageError(f"{zone!r} is not a zone", hint="write NAME=0.1,0.2 0.5,0.2 0.5,0.9")
        named[name] = polygon(corners)
    return View(polygons, pictures[0] if pictures else None, named)


def check_mask(view: View) -> None:
    """Raise UsageError if the picture of a mask does not exist."""
    if view.mask is not None and not view.mask.is_file():
        raise UsageError(f"{view.mask} is not a file", hint="give a PNG whose black parts are ignored")
