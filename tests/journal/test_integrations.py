"""journal: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from camarchiver.journal import event as journal_event
from camarchiver.journal.store import Journal


class TestJournal:
    @pytest.mark.parametrize(
        "changed",
        [{"source_mtime_ns": 2**63}, {"duration": math.nan}, {"source": "../a.mp4"}, {"source_size": -1}],
    )
    def test_no_line_is_written_that_could_not_be_read_again(
        self, tmp_path: Path, changed: dict[str, Any]
    ) -> None:
        """Such a clip would be archived, its source gone, and nothing would tell of it."""
        at = datetime(2026, 3, 1, tzinfo=UTC)
        sound = journal_event.JournalEvent(
            journal_event.EventKind.TRASHED, at, "r1", "vm", "a.mp4", at, source_size=1, source_mtime_ns=2
        )
        book = Journal(tmp_path)
        book.append(sound)
        with pytest.raises(OSError, match="could not be read again"):
            book.append(sound, structs.replace(sound, **changed))
        day = Journal(tmp_path).day(at.date())
        assert (day.events, day.torn) == ((sound,), 0)
