"""Which temporary files and empty folders `cleanup` removes: what nobody can be about to fill."""

from __future__ import annotations

from datetime import date, datetime, timedelta

ABANDONED = timedelta(days=1)
"""What was untouched for this long is no longer being written."""

FILLED_FOR = timedelta(days=2)
"""The folder of a day younger than this may still be filled."""


def is_abandoned(mtime: float, now: datetime) -> bool:
    """Whether a temporary file or a folder that was last changed then is left over; seconds since 1970."""
    return mtime < (now - ABANDONED).timestamp()


def is_over(day: date | None, now: datetime) -> bool:
    """Whether no camera is about to fill the folder of this day; a folder without a day stays."""
    return day is not None and day <= (now - FILLED_FOR).date()
