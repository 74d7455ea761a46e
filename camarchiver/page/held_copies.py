"""Small H.264 copies of held clips that browsers can't play, in the folder of a site."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from camarchiver.domain.clip import Clip, Tree, Trees
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.export.h264_copies import PLAYABLE, PlayableMaker, playable_maker
from camarchiver.journal.ledger import ClipKey
from camarchiver.journal.lookup import MOST_NAMES
from camarchiver.media import archive_tag
from camarchiver.media.encoders import EncodeSettings
from camarchiver.media.info import HeaderInfo
from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.naming.paths import numbered
from camarchiver.page.clips import PageClip
from camarchiver.queries.find import ClipFile
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic

_log = logging.getLogger(__name__)

PLAYED = frozenset({"h264", "av1", "vp8", "vp9"})
"""Codecs that browsers play."""

SMALL = EncodeSettings(max_height=720, audio="aac", only_420=True)


class HeldCopies:
    """Makes the copies, and finds those that were made before."""

    def __init__(self, site: Path, trees: Trees, stop: Stopper) -> None:
        self._site = site
        self._roots = {Tree.SOURCE: trees.source, Tree.ARCHIVE: trees.archive, Tree.TRASH: trees.trash}
        self._stop = stop
        self._opened = ExitStack()
        self._prober: Prober | None = None
        self._maker: PlayableMaker | None = None

    def close(self) -> None:
        """End the processes that were needed."""
        self._opened.close()

    def of(self, clips: Iterable[PageClip]) -> dict[ClipKey, str]:
        """The copies of these clips that are held, by the clip's key; their paths are below the site.

        Raises EncoderError if there is no encoder, and OSError if a copy can't be written.
        """
        found = {}
        for clip in clips:
            if clip.hold and clip.file and (copy := self._copy_of(clip, clip.file)) is not None:
                found[clip.key] = copy
        return found

    def _copy_of(self, clip: PageClip, file: ClipFile) -> str | None:
        if (known := self._made_before(clip)) is not None:
            return known
        if self._stop.is_set() or self._plays(Path(file.path)):
            return None
        if self._maker is None:
            self._maker = self._opened.enter_context(playable_maker(None, self._stop, SMALL))
        try:
            return self._maker.make(self._as_file(clip, file), clip.source, self._site, Silent()).target
        except CamarchiverError as error:
            _log.warning("%s: no playable copy was made: %s", clip.source, sentence(error))
            return None

    def _made_before(self, clip: PageClip) -> str | None:
        """The copy of this very clip: others may have its name but for the suffix, or had it before."""
        wanted = f"{PLAYABLE}/{clip.source.rpartition('.')[0]}.mp4"
        for target in (numbered(wanted, number) for number in range(1, MOST_NAMES)):
            if not (self._site / target).is_file():
                return None
            header = self._header(self._site / target)
            tag = archive_tag.parse(header.tags.get("comment", "")) if header is not None else None
            if tag is not None and (tag.source, tag.size, tag.mtime_ns) == clip.key:
                return target
        return None

    def _plays(self, path: Path) -> bool:
        """Whether browsers play a file, by its header; one that can't be read is not copied either."""
        header = self._header(path)
        return header is None or header.codec in PLAYED

    def _header(self, path: Path) -> HeaderInfo | None:
        """What a file's header says; None if it can't be read."""
        if self._prober is None:
            self._prober = self._opened.enter_context(Prober())
        try:
            return self._prober.read_header(path)
        except ProbeError:
            return None

    def _as_file(self, clip: PageClip, file: ClipFile) -> Clip:
        """The clip with its bytes where the copy to look at is."""
        assert clip.as_source is not None
        root = self._roots[file.tree]
        place = file.path.removeprefix(f"{root}/")
        return replace(clip.as_source, root=root, place=place)


def remove(site: Path, copies: Iterable[str]) -> None:
    """Remove copies of clips that are no longer held, and folders that become empty."""
    for copy in copies:
        path = site / copy
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == site or any(folder.iterdir()):
                break
            folder.rmdir()
            atomic.fsync_folder(folder.parent)
