"""Values that unit tests begin with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import structs

from camarchiver.domain.clip import Archived, Clip, Fingerprint
from camarchiver.media.info import AudioStream, Media, VideoStream
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.policy.cleanup_rules import CleanupPolicy, Limits

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_NS = 3600 * 10**9


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


VIDEO = VideoStream("h264", 2560, 1440, "yuv420p", 8, Fraction(25), Fraction(1, 12800))
MEDIA = Media("mp4", VIDEO, 1, (AudioStream("aac", 16000, 1),), (), 250, 5, 0, 0.0, 10.0, {})


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MONTH = ArchivePolicy(age=timedelta(days=30))
ROOT = Path("/camera")


def a_clip(**changed: object) -> Clip:
    start = changed.pop("start", datetime(2026, 3, 1, 8, 15, tzinfo=UTC))
    assert isinstance(start, datetime)
    fields: dict[str, object] = {
        "root": ROOT,
        "folder": "2026/03/01",
        "name": "REO_front_20260301081500.mp4",
        "camera": "front",
        "start": start,
        "fingerprint": Fingerprint(1, 2, 1000, int(start.timestamp() * 1e9)),
    }
    return Clip(**{**fields, **changed})  # type: ignore[arg-type]  # the fields of Clip, by name


def an_entry(clip: Clip, **changed: object) -> Archived:
    name = clip.relative
    entry = Archived(name, clip.fingerprint.size, clip.fingerprint.mtime_ns, "d1", name, 100, remuxed=False)
    return structs.replace(entry, **changed)  # type: ignore[arg-type]  # the fields of Archived, by name


# --- what the policy keeps ---------------------------------------------------------------------------

DAYS30 = timedelta(days=30)
KEEPING = CleanupPolicy(Limits(DAYS30, DAYS30, timedelta(days=21)))


def line_of(event: str, **fields: Any) -> dict[str, Any]:
    common = {
        "event": event,
        "at": "2026-04-01T02:00:00+00:00",
        "run": "r",
        "host": "h",
        "source": "d/REO_front_20260301081500.mp4",
        "start": "2026-03-01T08:15:00+00:00",
        "camera": "front",
        "source_size": 10,
        "source_mtime_ns": 5,
    }
    return {**common, **fields}
