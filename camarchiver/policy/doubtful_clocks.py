"""The problem that a plan reports for clips with doubtful clocks, so that their owner can decide. Pure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Protocol

from camarchiver.errors import Problem
from camarchiver.runtime.formatting import shown

CODE = "clock-doubtful"
"""The problem's code in the JSON format."""

_NAMED = 5
"""Cameras that are named; the others are counted."""

REMEDY = (
    'say in the config file which clock is right: [camera.NAME] clock = "mtime", "names" or a correction such'
    ' as "+26y3d"; or for a range of times with camarchiver clock add; or --trust-names, if the files of the'
    " whole tree lost their times"
)


class _CameraFile(Protocol):
    @property
    def camera(self) -> str: ...

    @property
    def path(self) -> Path: ...


class DoubtfulClips:
    """Counts the clips that stay because nobody knows when they were recorded."""

    def __init__(self) -> None:
        self._clips = Counter[str]()
        self._example: _CameraFile | None = None

    def add(self, file: _CameraFile) -> None:
        """Count one."""
        self._clips[file.camera] += 1
        self._example = self._example or file

    def problems(self) -> tuple[Problem, ...]:
        """The sentence for the owner; none if there are no such clips."""
        if self._example is None:
            return ()
        named = [
            f"{count:,} of {shown(camera) or 'no camera'}"
            for camera, count in self._clips.most_common(_NAMED)
        ]
        others = len(self._clips) - _NAMED
        more = f" and of {others} other camera{'s' * (others > 1)}" if others > 0 else ""
        words = (
            f"files whose camera's clock is doubtful stay, {', '.join(named)}{more}: their names and their"
            f" times differ by more than a day, or are in the future, as {shown(self._example.path)}"
        )
        return (Problem(CODE, words, REMEDY),)
