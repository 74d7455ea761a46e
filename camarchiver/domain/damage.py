"""What is wrong with an archive that was found missing or damaged, and which run found it."""

from __future__ import annotations

from datetime import date, tzinfo
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from camarchiver.domain.untrusted import AwareDatetime, RelativePath, Run, check_time


class Flaw(StrEnum):
    """What can be wrong with an archive; part of the JSON format."""

    MISSING = "missing"
    WRONG_SIZE = "wrong-size"
    WRONG_HASH = "wrong-hash"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"


class RecordFlaw(StrEnum):
    """What can be wrong with camarchiver's own records; part of the JSON format."""

    UNREADABLE = "unreadable"
    TORN_JOURNAL = "torn-journal"
    UNFINISHED = "unfinished"


DETAIL_LENGTH = 1000
"""Characters kept of a sentence of ffmpeg or of the system."""

Detail = Annotated[str, Meta(max_length=DETAIL_LENGTH)]


class Damage(Struct, frozen=True, kw_only=True):
    """One archive that does not count until it is found sound or repaired."""

    flaw: Flaw
    detail: Detail
    at: AwareDatetime
    """When it was found."""
    run: Run
    """The run that found it."""
    source: RelativePath
    """The clip's path below the source root."""
    day: date
    """The clip's day, whose journal file has its lines."""

    def __post_init__(self) -> None:
        check_time(self.at)

    def words(self, zone: tzinfo | None = None) -> str:
        """For a person, in a time zone, or in the machine's."""
        at = f"{self.at.astimezone(zone):%Y-%m-%d %H:%M}"
        return f"{self.flaw}, found on {at} by run {self.run}: {self.detail}"
