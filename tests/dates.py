"""The days that fixtures, sweeps and benches put their files on: one place, and the moment is its parameter.

Everything is in UTC, as the programs in the tests are told to be. Two variables move it:

- `TESTS_NOW`, an ISO moment, takes the place of the clock where files are prepared. The programs that are
  tried read their own clock, so this is only for preparing (scripts/other-days).
- `TESTS_DAYS_EARLIER=N` moves what is put into the past N days further back: the tests meet other ends
  of months and years. An age limit that must tell such files apart moves along: `age`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

DAYS_EARLIER = int(os.environ.get("TESTS_DAYS_EARLIER", "0"))


def now() -> datetime:
    """This moment. Take it once for all the names and times of one tree."""
    named = os.environ.get("TESTS_NOW")
    return datetime.fromisoformat(named).astimezone(UTC) if named else datetime.now(UTC)


def ago(days: float = 0) -> datetime:
    """A moment of the past, moved back by TESTS_DAYS_EARLIER."""
    return now() - timedelta(days=days + DAYS_EARLIER)


def recently(*, hours: float) -> datetime:
    """A moment that has to stay near, so that nothing moves it."""
    return now() - timedelta(hours=hours)


def age(days: float) -> str:
    """An age limit in days that parts files put at `ago(...)` as `days` does if nothing is moved."""
    return f"{days + DAYS_EARLIER:g}"


def lately() -> datetime:
    """When the sweeps' clips were recorded: old enough to go, not so old that the clock is doubted."""
    return ago(60).replace(hour=10, minute=15, second=0, microsecond=0)


def midnight(days: float) -> datetime:
    """The beginning of the day so many days ago."""
    return ago(days).replace(hour=0, minute=0, second=0, microsecond=0)


def folder_of(start: datetime) -> str:
    """The date folder of Reolink's upload."""
    return f"{start:%Y/%m/%d}"


def stamp_of(start: datetime) -> str:
    """The moment in a clip's name, to the second."""
    return f"{start:%Y%m%d%H%M%S}"


def clip_of(camera: str, start: datetime) -> str:
    """Where Reolink's upload puts a camera's clip, without its suffix."""
    return f"{folder_of(start)}/REO_{camera}_{stamp_of(start)}"


def repeated_hour() -> datetime:
    """The first 2:30 of the last night, long enough ago, in which Central Europe's 2:30 came twice."""
    year = ago(60).year - 1
    sunday = next(day for day in range(31, 24, -1) if datetime(year, 10, day).weekday() == 6)
    return datetime(year, 10, sunday, 0, 30, tzinfo=UTC)


BENCHES = datetime(2026, 1, 1, 3, tzinfo=UTC)
"""The moment for which the benches' trees are made; always the same, since they are kept and compared."""
BENCHES_CLIPS = datetime(2023, 11, 5, 8, tzinfo=UTC)
"""When the clips of the benches that encode were recorded."""
