"""Turns the command line's folders and time zone into trees and a zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camarchiver.model import Trees


@dataclass(frozen=True, slots=True)
class Place:
    """Which trees a command works on, and in which zone their cameras live."""

    directory: Path
    output: Path | None
    trash_root: Path | None
    timezone: str

    def trees(self) -> Trees:
        """The three roots, absolute and free of symbolic links."""
        from camarchiver.model import Trees

        source = self.directory.resolve()
        return Trees(
            source,
            (self.output or source / "archived").resolve(),
            (self.trash_root or source / ".deleted").resolve(),
        )

    def zone(self) -> tzinfo:
        """The cameras' time zone."""
        from camarchiver import clock

        return clock.zone(self.timezone)
