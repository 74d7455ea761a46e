"""monitoring: decisions and formats, without a disk."""

from __future__ import annotations

import re

from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Encoding, Outcome, Result
from camarchiver.domain.steps import Archive
from camarchiver.monitoring import metrics
from camarchiver.monitoring.metrics import Figure, FreeSpace, RemovalTotals, TreeState
from tests.values import a_clip


class TestFigures:
    """Numbers under Prometheus's names."""

    def test_outcomes_are_summed_by_camera_result_and_encoder(self) -> None:
        step = Archive(a_clip(camera="front"), "a.mp4", Reason.NOT_ARCHIVED)
        made = Outcome(step, Result.DONE, step.reason, encoding=Encoding("libsvtav1", (), 2.5, 1000, 100))
        failed = Outcome(step, Result.FAILED, Reason.DAMAGED)
        found = {each.key: each.value for each in RemovalTotals((made, made, failed)).figures()}
        done = metrics.labels(action="archive", result="done", camera="front", encoder="libsvtav1")
        lost = metrics.labels(action="archive", result="failed", camera="front", encoder="")
        assert found["camarchiver_clips_total", done] == 2
        assert found["camarchiver_clips_total", lost] == 1
        assert found["camarchiver_clip_bytes_total", done] == 2 * step.size
        assert found["camarchiver_archive_bytes_total", done] == 200
        assert found["camarchiver_encode_seconds_total", done] == 5.0
        assert ("camarchiver_archive_bytes_total", lost) not in found

    def test_only_success_moves_the_last_success(self) -> None:
        name = "camarchiver_last_success_timestamp_seconds"
        assert [each.value for each in metrics.of_end(100.0, 2.0, 0) if each.name == name] == [100.0]
        assert not [each for each in metrics.of_end(100.0, 2.0, 3) if each.name == name]

    @staticmethod
    def merged(before: tuple[Figure, ...], now: tuple[Figure, ...], own: str) -> dict[str, float]:
        owner = metrics.labels(command=own)
        base = {each.key: each.value for each in before if each.grows}
        found = metrics.merged(before, base, metrics.labelled(now, owner), owner)
        return {f"{each.name} {dict(each.labels)['command']}": each.value for each in found}

    def test_counters_grow_gauges_are_replaced_and_others_stay(self) -> None:
        def of(name: str, value: float, command: str) -> Figure:
            return Figure(name, value, metrics.labels(command=command))

        before = (
            of("runs_total", 5, "archive"),
            of("runs_total", 7, "cleanup"),
            of("last", 1, "archive"),
            of("last", 2, "cleanup"),
            of("success", 3, "archive"),
        )
        assert self.merged(before, (Figure("runs_total", 1), Figure("last", 9)), "archive") == {
            "runs_total archive": 6,
            "runs_total cleanup": 7,
            "last archive": 9,
            "last cleanup": 2,
            "success archive": 3,
        }

    def test_days_until_full_need_a_rate(self) -> None:
        room = FreeSpace("source", "/camera", 1000, 5000)
        name = "camarchiver_until_full_seconds"

        def told(rate: float | None) -> list[float]:
            found = metrics.of_tree_state(TreeState(1, 2, (room,), 3, 4.0, rate))
            return [each.value for each in found if each.name == name]

        assert told(100.0) == [864_000.0]
        assert told(0.0) == told(None) == []

    def test_names_follow_the_conventions(self) -> None:
        for name, text in metrics.HELP.items():
            assert re.fullmatch(r"camarchiver(_[a-z]+)+", name)
            assert text.endswith(".")
            assert not re.search("days|minutes|megabytes|_count$", name), "base units only"
