"""archive: decisions and formats, without a disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from camarchiver.archive import workers
from camarchiver.archive.fallback import GpuBreaker
from camarchiver.archive.lossless import Unencoded, unencodable
from camarchiver.cli.commands.archive import archive
from camarchiver.domain.clip import Fingerprint
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, Outcome, Result
from camarchiver.domain.steps import Archive, ArchiveStep
from camarchiver.media.encoders import (
    ENCODERS,
    Backend,
    Encoder,
    EncodeSettings,
    FallbackLevel,
    encoders_of,
    obstacle,
    packet_trust,
)
from camarchiver.media.ffmpeg_args import Job, Transcode, transcode
from camarchiver.media.info import AudioStream, Media
from camarchiver.motion.activity import PacketTrust
from camarchiver.policy.archive_rules import SignedRule, stays_unencoded
from camarchiver.runtime.signals import Stop
from tests.values import MEDIA, VIDEO, a_clip


class TestLossless:
    SOFTWARE = (ENCODERS["libsvtav1"],)
    BOTH = (ENCODERS["libsvtav1"], ENCODERS["libx264"])

    @pytest.mark.parametrize(
        ("changed", "encoders", "reason"),
        [
            ({}, SOFTWARE, None),
            ({"signed": "ONVIF Media Signing", "varies": "changes"}, BOTH, Reason.SIGNED),
            ({"varies": "changes from 320x240 to 640x480 midway"}, BOTH, Reason.PICTURE_CHANGES),
            ({"unkeepable": "has frames whose times are out of order"}, BOTH, Reason.UNKEEPABLE_TIMES),
            ({"video_streams": 2}, BOTH, Reason.OTHER_STREAMS),
            ({"other_streams": ("data:gpmd",)}, BOTH, Reason.OTHER_STREAMS),
            ({"other_streams": ("data:tmcd",)}, BOTH, None),
            ({"video": replace(VIDEO, field_order="tt")}, SOFTWARE, Reason.INTERLACED),
            ({"video": replace(VIDEO, field_order="tt")}, BOTH, None),
            ({"video": replace(VIDEO, field_order="progressive")}, SOFTWARE, None),
        ],
    )
    def test_what_a_clip_tells_itself(
        self, changed: dict[str, Any], encoders: tuple[Encoder, ...], reason: Reason | None
    ) -> None:
        why = unencodable(replace(MEDIA, **changed), encoders, (), encode_signed=False)
        assert (why and why.reason) == reason

    @pytest.mark.parametrize(
        ("kept", "reason"), [((True,), Reason.OTHER_STREAMS), ((False,), None), ((), None)]
    )
    def test_sound_that_changes_is_not_copied_by_an_encode(
        self, kept: tuple[bool, ...], reason: Reason | None
    ) -> None:
        sound = [AudioStream("aac", 16000, 1, varies=varies) for varies in kept]
        why = unencodable(MEDIA, self.BOTH, sound, encode_signed=False)
        assert (why and why.reason) == reason

    def test_signed_clips_may_be_encoded_on_demand(self) -> None:
        rule = SignedRule(cameras={"garden": True})
        assert [rule.encodes(camera) for camera in ("front", "garden")] == [False, True]
        assert unencodable(replace(MEDIA, signed="x"), self.BOTH, (), encode_signed=True) is None
        assert (str(rule), str(SignedRule(reencode=True))) == ("keep", "reencode")

    @pytest.mark.parametrize(
        ("reason", "ways"),
        [
            (Reason.SIGNED, (ArchiveMethod.COPY,)),
            (Reason.OTHER_STREAMS, (ArchiveMethod.COPY,)),
            (Reason.REFUSED, (ArchiveMethod.REMUX, ArchiveMethod.COPY)),
            (Reason.NOT_SMALLER, (ArchiveMethod.REMUX, ArchiveMethod.COPY)),
        ],
    )
    def test_only_what_a_remux_keeps_is_remuxed(
        self, reason: Reason, ways: tuple[ArchiveMethod, ...]
    ) -> None:
        assert Unencoded(reason, "").ways == ways

    def test_a_copy_is_made_anew_only_where_that_may_come_out_otherwise(self) -> None:
        anew = {reason for reason in Reason if not stays_unencoded(reason, encode_signed=True)}
        assert {Reason.REFUSED, Reason.INTERLACED, Reason.SIGNED} <= anew
        assert not anew & {Reason.NOT_SMALLER, Reason.PICTURE_CHANGES, Reason.UNKEEPABLE_TIMES}
        assert stays_unencoded(Reason.SIGNED, encode_signed=False)


class TestBreaker:
    def test_one_failure_or_two_apart_change_nothing(self) -> None:
        asked: list[str] = []
        breaker = GpuBreaker(lambda: bool(asked.append("probe")), announce=asked.append)
        breaker.failed("x")
        breaker.succeeded()
        breaker.failed("x")
        assert (breaker.tripped, asked) == (False, [])

    def test_two_in_a_row_and_a_failed_trial_trip_it_once(self) -> None:
        said: list[str] = []
        breaker = GpuBreaker(lambda: False, announce=said.append)
        for _ in range(5):
            breaker.failed("GPU Hang (-21)")
        assert breaker.tripped
        assert said == ["the GPU failed (GPU Hang (-21)): software encodes from now on"]

    def test_a_good_trial_starts_the_count_afresh(self) -> None:
        trials = iter([True, False])
        breaker = GpuBreaker(lambda: next(trials), announce=lambda _: None)
        tripped = []
        for _ in range(4):
            breaker.failed("x")
            tripped.append(breaker.tripped)
        assert tripped == [False, False, False, True]

    def test_a_gpu_that_was_given_up_gets_a_trial_half_a_day_later(self) -> None:
        said, now = list[str](), [0.0]
        trials = iter([False, False, True])
        breaker = GpuBreaker(lambda: next(trials), announce=said.append, clock=lambda: now[0])
        tripped = []
        for hours in (0, 11, 12, 23, 24):
            now[0] = hours * 3600.0
            if hours == 0:
                breaker.failed("x")
                breaker.failed("x")
            tripped.append(breaker.tripped)
        assert tripped == [True, True, True, True, False]
        assert said[-1] == "the GPU works again"

    def test_many_threads_trip_it_once(self) -> None:
        said: list[str] = []
        breaker = GpuBreaker(lambda: False, announce=said.append)
        threads = [threading.Thread(target=breaker.failed, args=("x",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 1


class TestWorkload:
    def test_as_many_jobs_as_cores_and_memory_allow(self) -> None:
        svt = ENCODERS["libsvtav1"]
        assert workers.jobs_for(svt, cores=8, memory=64_000_000_000) == 8
        assert workers.jobs_for(svt, cores=8, memory=4_000_000_000) == 2
        assert workers.jobs_for(svt, cores=8, memory=1) == 1
        assert workers.jobs_for(ENCODERS["hevc_qsv"], cores=8, memory=1) == workers.GPU_JOBS

    def test_the_last_jobs_get_the_spare_threads(self) -> None:
        x264 = ENCODERS["libx264"]
        assert [workers.threads_for(x264, cores=4, running=n) for n in (4, 2, 1)] == [1, 2, 4]
        assert workers.threads_for(ENCODERS["hevc_qsv"], cores=4, running=2) == 0


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS.keys())
class TestEveryEncoder:
    """Whatever is asked about an encoder is answered by its row."""

    INTERLACED = replace(MEDIA, video=replace(VIDEO, field_order="tt"))
    FULL_RANGE = replace(MEDIA, video=replace(VIDEO, pixel_format="yuvj420p", color_range="pc"))

    def test_only_software_shares_cores_and_memory(self, encoder: Encoder) -> None:
        assert (encoder.software is not None) == (encoder.backend is Backend.SOFTWARE)
        jobs = {workers.jobs_for(encoder, cores=8, memory=memory) for memory in (1, 1 << 40)}
        assert jobs == ({workers.GPU_JOBS} if encoder.software is None else {1, 8})
        assert workers.threads_for(encoder, cores=8, running=4) == (0 if encoder.software is None else 2)

    @pytest.mark.parametrize(
        "media", [MEDIA, INTERLACED, FULL_RANGE], ids=["plain", "interlaced", "full range"]
    )
    def test_arguments_follow_at_every_level(self, encoder: Encoder, media: Media) -> None:
        software = encoder.backend is Backend.SOFTWARE
        for level in FallbackLevel:
            if (level is FallbackLevel.SOFTWARE) != software or obstacle(encoder, level, media):
                continue
            job = Job(Path("/camera/a.mp4"), Path("/a/b.mp4"), media, EncodeSettings(), "mp4", {}, threads=3)
            arguments = transcode(Transcode(job, encoder, level, (9, 0)))
            assert arguments[arguments.index("-c:v", arguments.index("-map")) + 1] == encoder.name
            if encoder.software is not None:
                name, value = encoder.software.thread_option
                last = len(arguments) - arguments[::-1].index(f"-{name}")
                assert value.format(3) in arguments[last].split(":")

    def test_it_can_be_chosen(self, encoder: Encoder) -> None:
        chosen = {option.name: option.type for option in archive.params}
        assert encoder.backend.value in chosen["encoder"].choices
        assert encoder.codec in chosen["codec"].choices
        assert encoder in encoders_of(encoder.backend, encoder.codec)
        assert packet_trust(encoder.name, None) in PacketTrust


class TestCrew:
    """Steps are begun in their order, several at a time, until the run is to stop."""

    @staticmethod
    def steps(*reasons: Reason) -> list[ArchiveStep]:
        return [Archive(a_clip(name=f"{index}.mp4"), "", reason) for index, reason in enumerate(reasons)]

    @staticmethod
    def performed(
        steps: list[ArchiveStep], *, stop: Stop | None = None, **how: float
    ) -> list[tuple[str, int]]:
        """Each step's name and the share that it was told, in the order of their beginning."""
        begun: list[tuple[str, int]] = []

        def perform(step: ArchiveStep, share: int) -> Outcome:
            begun.append((step.clip.name, share))
            return Outcome(step, Result.DONE, step.reason)

        jobs, limit = int(how.get("jobs", 1)), how.get("max_seconds")
        outcomes = workers.perform_all(steps, perform, jobs=jobs, stop=stop or Stop(), max_seconds=limit)
        assert len(list(outcomes)) == len(begun)
        return begun

    def test_in_order_and_the_last_ones_share_with_fewer(self) -> None:
        steps = self.steps(*[Reason.NOT_ARCHIVED] * 4)
        assert [name for name, _ in self.performed(steps)] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
        shares = [share for _, share in self.performed(steps, jobs=2)]
        assert (shares[0], shares[-1] <= 2) == (2, True)

    def test_a_second_name_begins_when_everything_else_has_ended(self) -> None:
        steps = self.steps(Reason.NOT_ARCHIVED, Reason.NOT_ARCHIVED, Reason.SAME_FILE)
        ended: list[str] = []

        def perform(step: ArchiveStep, share: int) -> Outcome:
            if step.reason is Reason.SAME_FILE:
                assert len(ended) == 2
            ended.append(step.clip.name)
            return Outcome(step, Result.DONE, step.reason)

        outcomes = list(workers.perform_all(steps, perform, jobs=3, stop=Stop(), max_seconds=None))
        assert [outcome.step for outcome in outcomes][-1] == steps[-1]

    def test_once_a_clip_found_no_room_only_much_smaller_ones_are_tried(self) -> None:
        sizes = (1000, 900, 501, 500, 400, 100)
        steps: list[ArchiveStep] = [
            Archive(
                a_clip(name=str(size), fingerprint=Fingerprint(1, size, size, 0)), "", Reason.NOT_ARCHIVED
            )
            for size in sizes
        ]

        def perform(step: ArchiveStep, share: int) -> Outcome:
            if step.size > 100:
                return Outcome(step, Result.FAILED, Reason.NO_SPACE)
            return Outcome(step, Result.DONE, step.reason)

        outcomes = workers.perform_all(steps, perform, jobs=1, stop=Stop(), max_seconds=None)
        assert [outcome.step.size for outcome in outcomes] == [1000, 500, 100]

    def test_nothing_is_begun_after_the_time_or_a_stop(self) -> None:
        steps = self.steps(*[Reason.NOT_ARCHIVED] * 3)
        assert self.performed(steps, max_seconds=0.0) == []
        stop = Stop()
        stop.ask(15)
        assert self.performed(steps, stop=stop) == []

        def perform(step: ArchiveStep, share: int) -> Outcome:
            stop_now.ask(15)
            return Outcome(step, Result.DONE, step.reason)

        stop_now = Stop()
        outcomes = list(workers.perform_all(steps, perform, jobs=1, stop=stop_now, max_seconds=None))
        assert len(outcomes) == 1
