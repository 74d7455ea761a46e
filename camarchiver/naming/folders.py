"""What the names of folders mean: dates and cameras; and how names of cameras are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

NO_CAMERA = "camera"
FULL_DATE = ("year", "month", "day")

# YYYY/MM/DD, YYYY-MM-DD, YYYYMMDD, YYYY/MMDD, also without the day; some makers have hours below. Xiaomi has
# the hour behind the day (YYYYMMDDHH), Synology the half of the day (YYYYMMDDAM), Yi YYYYYMMMDDDHHH.
_DATE_FOLDERS = re.compile(
    r"(?:^|(?<=/))(?P<year>19[7-9]\d|20\d\d|2100)[-/Y]?(?P<month>0[1-9]|1[0-2])"
    r"(?:[-/M]?(?P<day>0[1-9]|[12]\d|3[01])(?:/?(?:[01]\d|2[0-3])|D(?:[01]\d|2[0-3])H|[AP]M)?)?(?=/|$)",
    re.ASCII,
)


@lru_cache(maxsize=64)
def date_of_folder(folder: str) -> date | None:
    """The day of a path that ends in YYYY/MM/DD, YYYY-MM-DD or YYYYMMDD."""
    return next((day for day, end in dates_in(folder) if end == len(folder)), None)


def dates_in(folder: str) -> Iterable[tuple[date, int]]:
    """The days that parts of a path mean, each with the position where its part ends."""
    for match in _DATE_FOLDERS.finditer(folder):
        if match["day"]:
            try:
                day = date(*(int(match[part]) for part in FULL_DATE))
            except ValueError:
                continue
            yield day, match.end("day")


@lru_cache(maxsize=64)
def date_within(folder: str) -> date:
    """The innermost day of a path; ValueError if it has none."""
    days = [day for day, _ in dates_in(folder)]
    if not days:
        raise ValueError(folder)
    return days[-1]


@lru_cache(maxsize=64)
def camera_of_folder(folder: str) -> str:
    """The innermost part of a path that is not a date; called for every clip of a folder."""
    return _DATE_FOLDERS.sub("", folder).rstrip("/").rpartition("/")[2]


def comparable(name: str) -> str:
    """The name in the form in which names of cameras, and filters on paths, are compared (NFC).

    `Küche` may be written with one letter for ü or with u and a combining diaeresis, as macOS and some
    cameras do. Both are one camera; files keep the bytes of their names.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)
