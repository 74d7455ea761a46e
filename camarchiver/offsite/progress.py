"""Shows the bytes of transfers while they go, not only when an archive is done."""

from __future__ import annotations

from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.rclone.trouble import RemoteError
from camarchiver.offsite.transfers import Transfers
from camarchiver.runtime.progress import Display, Silent


class TransferProgress:
    """Adds to a display what rclone moved meanwhile; an archive counts with its size when it is done."""

    def __init__(self, remote: Remote, transfers: Transfers, display: Display) -> None:
        self._remote = remote
        self._transfers = transfers
        self._display = display
        self._moved = 0
        self._ahead = 0
        """Bytes that were shown of archives that are not done."""

    def look(self) -> None:
        """Show what was moved since the last look."""
        if isinstance(self._display, Silent):
            return
        try:
            moved = self._remote.transferred()
        except RemoteError:
            return
        # What is read back is moved twice: it can't be more than the archives on the way.
        more = min(moved - self._moved, self._transfers.on_the_way - self._ahead)
        self._moved = moved
        if more > 0:
            self._ahead += more
            self._display.done(more)

    def done(self, size: int) -> None:
        """An archive of this many bytes is done."""
        shown = min(self._ahead, size)
        self._ahead -= shown
        self._display.done(size - shown)
