"""How many bytes of footage a night brings, by the journal."""

from __future__ import annotations

from datetime import timedelta

from camarchiver.journal.store import Journal

DAYS = 14
"""Days of footage that count, the newest ones of the journal."""


def nightly_bytes(journal: Journal) -> int | None:
    """Bytes that the cameras record from one nightly run to the next; None before anything was archived."""
    days = journal.days()[-DAYS:]
    if not days:
        return None
    total = 0
    for day in days:
        archived = journal.day(day).archived.values()
        total += sum(entries[-1].size for entries in archived)
    return total // ((days[-1] - days[0]) // timedelta(days=1) + 1)
