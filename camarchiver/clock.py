"""The one place that reads the wall clock and the machine's time zone."""

from __future__ import annotations

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from camarchiver.errors import ConfigError


def now(zone: tzinfo) -> datetime:
    """This moment, aware, in the given zone."""
    return datetime.now(zone)


def zone(name: str) -> tzinfo:
    """The named time zone; the machine's own for an empty name."""
    if not name:
        import tzlocal

        return tzlocal.get_localzone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"timezone {name!r} is not known", hint="use a name such as Europe/Berlin or UTC"
        ) from error
