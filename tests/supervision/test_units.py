"""record: what several processes of one camera did, added up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.errors import Problem, StorageError
from camarchiver.monitoring.metrics import Figure
from camarchiver.record.outbox.recorded_clip import PublishTotals, Recorded
from camarchiver.record.supervision.facts import CameraFacts, CameraFailure, RunFacts

CLIP = Recorded(Path("a.mp4"), datetime(2026, 5, 3, tzinfo=UTC), 10.0, 150, 1, 2.0, 0.2, 3.0, "", True)


def facts(**more: object) -> CameraFacts:
    found = CameraFacts("yard", Path("spool"), Path("outbox"), clips=(CLIP,), recorded=1)
    found = replace(found, totals=PublishTotals().with_clip(CLIP), frames=200, outages=1, last_frame=7.0)
    return replace(found, **more)  # type: ignore[arg-type]  # any of its fields


class TestFacts:
    def test_those_of_a_crashed_process_are_added(self) -> None:
        before = facts(problems=("once",), crashes=1, crash="signal SIGABRT")
        removed = Figure("camarchiver_clips_total", 2)
        both = facts(last_frame=None, removal_figures=(removed,), problems=("once",)).after(
            replace(before, removal_figures=(removed,))
        )
        assert both.clips == (CLIP, CLIP)
        assert both.totals == PublishTotals(2, 0, 0, 2, 20.0)
        assert (both.recorded, both.frames, both.outages, both.last_frame) == (2, 400, 2, 7.0)
        assert both.removal_figures == (Figure("camarchiver_clips_total", 4),)
        assert (both.problems, both.crashes, both.crash) == (("once",), 1, "signal SIGABRT")

    def test_only_the_newest_are_held(self, mocker: MockerFixture) -> None:
        mocker.patch("camarchiver.record.outbox.recorded_clip.KEPT", 1)
        later = replace(CLIP, path=Path("b.mp4"))
        both = facts(clips=(later,)).after(facts())
        assert (both.clips, both.recorded) == ((later,), 2)

    def test_a_run_is_well_while_every_camera_is(self) -> None:
        well = facts(is_connected=True)
        assert RunFacts((well, well), {}).is_well
        assert not RunFacts((well, facts()), {}).is_well
        assert not RunFacts((replace(well, is_full=True),), {}).is_well
        failure = CameraFailure.of(StorageError("no disk", hint="mount it"))
        assert not RunFacts((well,), {"gate": failure}).is_well
        assert failure.problem == Problem("storage", "no disk", "mount it")
        assert CameraFailure.of(failure.error) == failure
