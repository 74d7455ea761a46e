"""journal: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from camarchiver.journal import event as journal_event
from camarchiver.journal.store import DAYS_IN_MEMORY, Journal


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

    def test_a_day_is_not_forgotten_by_another_thread_while_it_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would end the run: one job looks up its clip while another reads many days."""
        at, book = datetime(2026, 3, 1, tzinfo=UTC), Journal(tmp_path)
        times = [at + timedelta(days) for days in range(DAYS_IN_MEMORY + 1)]
        book.append(
            *(
                journal_event.JournalEvent(
                    journal_event.EventKind.KEPT, at, "r1", "vm", "a.mp4", start, source_size=1
                )
                for start in times
            )
        )

        class Interrupted(OrderedDict[Any, Any]):
            """Lets another thread read every other day at the moment when a day was found."""

            def get(self, key: Any, default: Any = None) -> Any:
                found = super().get(key, default)
                if found is not None and threading.current_thread() is threading.main_thread():
                    other.start()
                    other.join(timeout=0.5)
                return found

        def read_the_others() -> None:
            for start in times[1:]:
                book.day(start.date())

        other = threading.Thread(target=read_the_others)
        assert book.day(at.date()).events
        monkeypatch.setattr(book, "_days", Interrupted(book._days))
        assert [event.start for event in book.day(at.date()).events] == [at]
        other.join(timeout=5)
        assert not other.is_alive()
