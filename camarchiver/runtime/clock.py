"""The moment by which plans and answers go, and the cameras' time zone.

The ages of lock files are differences to `time.time()`, wherever such a file is looked at.
"""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from camarchiver.errors import ConfigError


def now(zone: tzinfo) -> datetime:
    """This moment, aware, in the given zone."""
    return datetime.now(zone)


def zone(name: str) -> tzinfo:
    """The named time zone; the machine's own for an empty name. Raises ConfigError."""
    if not name:
        return _own_zone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # `Europe` is a folder of zones
        raise ConfigError(
            f"timezone {name!r} is not known", hint="use a name such as Europe/Berlin or UTC"
        ) from error


def _own_zone() -> tzinfo:
    import tzlocal

    try:
        return tzlocal.get_localzone()
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        named = f" (TZ is {os.environ['TZ']!r})" if "TZ" in os.environ else ""
        raise ConfigError(
            f"this machine's time zone can't be determined{named}",
            hint="set TZ, or timezone in the config file, to a name such as Europe/Berlin or UTC",
        ) from error
