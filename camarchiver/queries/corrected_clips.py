"""The clips that a correction of a camera's clock is about, and when they were recorded by it."""

from __future__ import annotations

from collections.abc import Iterator

from camarchiver.domain.clip import Clip, Fingerprint
from camarchiver.domain.clocks import ClockCorrection
from camarchiver.pipeline import Pipeline
from camarchiver.queries.find import FindQuestion, find_clips


def corrected_clips(pipeline: Pipeline, correction: ClockCorrection) -> Iterator[Clip]:
    """Each clip that it covers, wherever it is now, with its corrected time.

    A clip about which the correction says nothing, because its file's time does not agree with it, keeps its
    own: `corrected` is None.
    """
    question = FindQuestion(frozenset({correction.camera}), correction.start, correction.end)
    for found in find_clips(pipeline, question):
        folder, _, name = found.source.rpartition("/")
        print_of = Fingerprint(-1, -1, *found.identity)
        source = pipeline.trees.source
        clip = Clip(source, folder, name, found.camera, found.start, print_of, duration=found.seconds)
        yield clip._replace(corrected=correction.clock.corrected(clip))
