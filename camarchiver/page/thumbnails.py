"""Makes thumbnails of the clips of a page that have none, within a time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from camarchiver.archive.motion.thumbnails import ClipWithoutThumbnails, make_missing
from camarchiver.domain.clip import Tree
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.page.clips import PageClip
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.signals import Stopper

_log = logging.getLogger(__name__)


class ThumbnailMaker:
    """Puts thumbnails into the cache until the time is over, a stop is asked for, or they can't be kept."""

    def __init__(self, pipeline: Pipeline, seconds: float, stop: Stopper) -> None:
        self._pipeline = pipeline
        self._until = time.monotonic() + seconds
        self._stop = stop
        self._is_possible = os.access(pipeline.trees.state, os.W_OK)

    @property
    def is_over(self) -> bool:
        """Whether no further thumbnail is made."""
        return not self._is_possible or self._stop.is_set() or time.monotonic() >= self._until

    def make(self, clips: Iterable[PageClip]) -> int:
        """Make those that are missing; how many clips are left. A file that can't be read is not."""
        pipeline = self._pipeline
        try:
            made = make_missing(
                pipeline.trees,
                pipeline.writer,
                _without_thumbnails(clips),
                views=pipeline.conventions.views,
                seconds=self._until - time.monotonic(),
                stop=self._stop,
            )
        except (OSError, CamarchiverError) as error:
            _log.warning("no more thumbnails can be kept: %s", sentence(error))
            self._is_possible = False
            return 0
        return made.left


def _without_thumbnails(clips: Iterable[PageClip]) -> Iterator[ClipWithoutThumbnails]:
    for clip in clips:
        if clip.strip is None and clip.as_source is not None and (file := clip.file) is not None:
            archived = clip.archived
            is_encoded = file.tree is Tree.ARCHIVE and archived is not None and not archived.remuxed
            yield ClipWithoutThumbnails(clip.as_source, Path(file.path), is_encoded, clip.motion)
