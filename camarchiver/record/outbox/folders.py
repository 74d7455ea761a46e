"""Where one camera's clips are written and published; known without PyAV."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from camarchiver.naming import recorder_names
from camarchiver.storage import atomic


class Folders(Struct, frozen=True):
    """Where one camera's clips are written and where they are published."""

    spool: Path
    outbox: Path

    def make(self) -> None:
        """Create both folders, durably."""
        for folder in (self.spool, self.outbox):
            atomic.make_folders(folder)

    @property
    def locks(self) -> tuple[Path, Path]:
        """The locks that a recorder holds while it writes here."""
        return self.spool / ".record.lock", self.outbox / ".record.lock"

    def leftovers(self) -> tuple[Path, ...]:
        """What a killed copy left in the outbox. Raises OSError."""
        return tuple(
            path
            for path in sorted(self.outbox.iterdir())
            if recorder_names.is_begun(atomic.staged_stem(path.name) or "")
        )

    def sweep(self) -> None:
        """Delete what a killed copy left in the outbox."""
        for path in self.leftovers():
            path.unlink(missing_ok=True)
