"""Which days of a site are outdated: from what each was gathered, and whether that has changed since."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from msgspec.structs import replace

from camarchiver import __version__
from camarchiver.cleanup.size_preview import SizePreview
from camarchiver.domain.clocks import DOUBTFUL
from camarchiver.domain.hold import LONGEST
from camarchiver.domain.memory import Memory
from camarchiver.journal.ledger import Ledger
from camarchiver.offsite.status import CopyCounter
from camarchiver.page.clips import PageClip
from camarchiver.page.site_state import VERSION, JournalMark
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.queries.growth import growth_by_day
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import StripKey

_NEAR = timedelta(seconds=LONGEST) + DOUBTFUL
"""How far from a hold the day may be, by its name, of a clip that it covers."""


class SiteMarks:
    """Compares what days consist of with what their pages were made from."""

    def __init__(self, pipeline: Pipeline, memory: Memory, by_size: SizePreview) -> None:
        self._journal = pipeline.journal
        self._memory = memory
        self._by_size = by_size
        self._zone = pipeline.zone
        self._now = pipeline.started
        self._archive, self._trash = pipeline.trees.archive, pipeline.trees.trash
        self._state = pipeline.trees.state

    def is_current(self, day: date, sources: Mapping[str, str], known: JournalMark | None) -> bool:
        """Whether nothing has changed since the mark was made; `sources` are digests by folder."""
        return (
            known is not None
            and known.digest == self._digest(day, sources, has_distant_file_time=known.has_distant_file_time)
            and all(_changed_at(folder) == at for folder, at in known.folders.items())
        )

    def make(
        self, day: date, sources: Mapping[str, str], clips: Sequence[PageClip], strays: Iterable[date]
    ) -> JournalMark:
        """The mark of a day that was just gathered."""
        known = self._journal.day(day)
        grown = growth_by_day(known.events, self._zone)
        folders, has_distant_file_time = {self._thumbnails(day), *self._folders(known.ledger)}, False
        for clip in clips:
            written = datetime.fromtimestamp(clip.identity[1] / 1e9, UTC)
            has_distant_file_time |= abs(written - clip.start) > DOUBTFUL
        counter = CopyCounter()
        counter.add(known.ledger)
        return JournalMark(
            self._digest(day, sources, has_distant_file_time=has_distant_file_time),
            {folder: _changed_at(folder) for folder in sorted(folders)},
            tuple(sorted(strays)),
            {at: dict(sizes) for at, sizes in grown.items()},
            sum(clip.strip is None and clip.file is not None for clip in clips),
            dict(Counter(line.camera for line, _ in known.ledger.archives.values())),
            {remote: dict(counts.cameras) for remote, counts in counter.counts().items()},
            has_distant_file_time,
        )

    def _folders(self, ledger: Ledger) -> set[str]:
        """The folders of all copies that the journal knows, also of those that are missing at the moment."""
        archives = {f"{self._archive}/{place}".rpartition("/")[0] for place in ledger.archives}
        return archives | {f"{self._trash}/{place}".rpartition("/")[0] for place in ledger.trashed}

    def _thumbnails(self, day: date) -> str:
        """The folder of the cache with the thumbnails of a day's clips."""
        key = StripKey(day, "clip.mp4", 0, 0)
        return str(thumbnails.path(self._state, key).parent)

    def _digest(self, day: date, sources: Mapping[str, str], *, has_distant_file_time: bool) -> str:
        damaged = sorted(item for item in self._memory.damaged.items() if item[1].day == day)
        facts: list[object] = [self._state_of_journal(day), sorted(sources.items())]
        facts += [self._by_size.days.get(day), damaged]
        midnight = datetime.combine(day, time(), UTC)
        for hold in self._memory.holds:
            if has_distant_file_time or hold.start - _NEAR <= midnight <= hold.end + _NEAR:
                has_lapsed = hold.until is not None and hold.until <= self._now
                facts.append((hold, has_lapsed))
        return facts_digest(facts)

    def _state_of_journal(self, day: date) -> tuple[int, int]:
        try:
            status = self._journal.path(day).stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns


def settings_digest(
    pipeline: Pipeline,
    policy: CleanupPolicy,
    cameras: Iterable[str],
    site: Path,
    *,
    playable: bool,
    remote: str,
) -> str:
    """Of everything that all pages depend on."""
    facts = (
        VERSION,
        __version__,
        str(pipeline.zone),
        pipeline.trees,
        pipeline.conventions.clocks,
        [(each.regex.pattern, each.regex.flags) for each in pipeline.conventions.patterns],
        pipeline.conventions.passed_over,
        replace(policy, cameras=frozenset()),
        sorted(policy.cameras),
        sorted(cameras),
        site,
        playable,
        remote,
    )
    return facts_digest(facts)


def facts_digest(facts: object) -> str:
    """A digest of what a page or a mark depends on, by its `repr`."""
    return hashlib.blake2b(repr(facts).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _changed_at(folder: str) -> int:
    """mtime_ns; 0 for a folder that is gone or can't be read."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  # thousands of folders in each refresh
    except OSError:
        return 0
