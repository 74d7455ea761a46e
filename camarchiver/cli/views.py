"""Masks and zones as users write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from camarchiver.domain.motion import View
from camarchiver.errors import UsageError
from camarchiver.motion.events import polygon

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


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
