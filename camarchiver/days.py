"""Tells on which days of the journal a file in archive or trash may be spoken of."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

from camarchiver.journal import Journal
from camarchiver.names import Names, date_of_folder, unnumbered

_DAY = timedelta(days=1)


class Days:
    """Goes by names; only for a name that tells no day the whole journal is read, once."""

    def __init__(self, names: Names, journal: Journal) -> None:
        self._names = names
        self._journal = journal
        self._odd: dict[str, date] | None = None
        self._last: tuple[tuple[str, str], date | None] = (("", ""), None)
        """A clip and its pictures come one after the other: folder, stem, and the day they tell."""

    def of(self, relative: str) -> tuple[date, ...]:
        """The likeliest first; `relative` is the file's path below its root."""
        if (day := self._told_by(relative)) is not None:
            return _about(day)
        return () if (day := self._odd_days().get(relative)) is None else (day,)

    def _told_by(self, relative: str) -> date | None:
        folder, _, name = relative.rpartition("/")
        key = folder, unnumbered(name).rpartition(".")[0]
        if self._last[0] != key:
            parsed = self._names.read(key[1], folder)
            self._last = key, parsed.start.date() if parsed else date_of_folder(folder)
        return self._last[1]

    def _odd_days(self) -> dict[str, date]:
        if self._odd is None:
            self._odd = {}
            for day in self._journal.days():
                for event in self._journal.day(day).events:
                    for relative in (event.archive, event.trash):
                        if relative is not None and self._told_by(relative) is None:
                            self._odd[relative] = day
        return self._odd


@lru_cache(maxsize=64)
def _about(day: date) -> tuple[date, ...]:
    return day, day - _DAY, day + _DAY
