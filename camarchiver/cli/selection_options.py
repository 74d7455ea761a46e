"""Options that choose clips, the same for every command that works through a tree."""

from __future__ import annotations

from camarchiver.cli import completions
from camarchiver.cli.options import option
from camarchiver.cli.types import CameraNameType

cameras_option = option(
    "--camera",
    "cameras",
    type=CameraNameType(),
    shell_complete=completions.cameras,
    multiple=True,
    metavar="NAME",
    help="Only this camera (repeatable).",
)

exclude_option = option(
    "--exclude", multiple=True, metavar="GLOB", help="Skip paths or names that match (repeatable)."
)
