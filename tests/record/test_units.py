"""record: decisions and formats, without a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.errors import UsageError
from camarchiver.naming import recorder_names
from camarchiver.naming.patterns import Names
from camarchiver.record import clip_rules, schedule, watchdog
from camarchiver.record.capture import packet_times, parameter_sets
from camarchiver.record.capture.arrival_clock import ArrivalClock
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.picture_clock import PictureClock
from camarchiver.record.capture.sound.clock import SoundClock
from camarchiver.record.clip_rules import ClipAction, ClipState, RecordingLengths
from camarchiver.record.clips.preroll import PreRoll
from camarchiver.runtime import systemd


def rec_entry(at: float, *, key: bool = False, video: bool = True, size: int = 10) -> TimedPacket:
    return TimedPacket(at, at, 0.1, video, key, size, 0.0, None)


def rec_stream(seconds: int, *, group: float = 1.0, rate: int = 10) -> list[TimedPacket]:
    """Frames with a keyframe every `group` seconds, and sound after every second frame."""
    entries = []
    for number in range(seconds * rate):
        at = number / rate
        entries.append(rec_entry(at, key=number % round(group * rate) == 0))
        if number % 2:
            entries.append(rec_entry(at - 0.05, video=False, size=1))
    return entries


class TestHeaders:
    SEQUENCE = b"\x67\x4d\x00\x1f\x95"
    OTHER = b"\x67\x4d\x00\x28\x95"
    HEVC = b"\x42\x01\x01\x60"

    def packet(self, *units: bytes) -> bytes:
        return b"".join(b"\0\0\0\1" + unit for unit in units)

    def test_the_sequence_parameter_sets_before_the_first_slice(self) -> None:
        found = parameter_sets.sequence(
            self.packet(b"\x09\xf0", self.SEQUENCE, b"\x68\xee", b"\x65\x88", self.OTHER), "h264"
        )
        assert found == self.SEQUENCE
        assert (
            parameter_sets.sequence(self.packet(b"\x46\x01", self.HEVC, b"\x26\x01\xaf"), "hevc") == self.HEVC
        )
        assert parameter_sets.sequence(self.packet(b"\x65\x88"), "h264") == b""

    @given(
        st.lists(st.sampled_from([b"\0\0\1", b"\0", b"\x06", b"\x4e\x01", b"\x67"]) | st.binary(max_size=9)),
        st.sampled_from(["h264", "hevc", "av1"]),
    )
    def test_anything_may_come(self, parts: list[bytes], codec: str) -> None:
        data = b"".join(parts)
        assert isinstance(parameter_sets.sequence(data, codec), bytes)
        assert parameter_sets.codec(data) in ("", *parameter_sets.CODECS)
        count = parameter_sets.refresh(data, codec)
        assert count is None or count >= 0
        assert all(parameter_sets.every(data, codec))

    @pytest.mark.parametrize("codec", ["h264", "hevc"])
    def test_empty_units_are_passed_over(self, codec: str) -> None:
        first, slice_of = (self.SEQUENCE, b"\x65\x88") if codec == "h264" else (self.HEVC, b"\x26\x01\xaf")
        data = self.packet(b"", first, b"\0", slice_of)
        assert parameter_sets.refresh(data, codec) is None
        assert parameter_sets.every(data, codec) == {first}

    @pytest.mark.parametrize(
        ("information", "count", "of_hevc"),
        [
            (b"\x01\xff\x80", None, None),  # a size beyond the unit
            (b"\x05\x02\xaa\xbb\x06\x01\x84\x80", 0, 0),
            (b"\x06\x02\x0f\x60\x80", 29, 15),
            (b"\x06\x02\x0f\xa0\x80", 30, 0),  # of HEVC 15 pictures before this one
            (b"\xff\x01\x01\xaa\x06\x02\x0f\x60\x80", 29, 15),
            (b"\x06\x00\x80", 0, 0),
        ],
    )
    def test_a_recovery_point_tells_when_a_picture_is_whole(
        self, information: bytes, count: int | None, of_hevc: int | None
    ) -> None:
        data = self.packet(b"\x67\x42", b"\x06" + information, b"\x41\x9a")
        assert parameter_sets.refresh(data, "h264") == count
        assert parameter_sets.refresh(data, "hevc") is None
        data = self.packet(b"\x42\x01\x01", b"\x4e\x01" + information, b"\x02\x01\xd0")
        assert parameter_sets.refresh(data, "hevc") == of_hevc
        assert parameter_sets.refresh(data, "av1") is None

    def test_what_begins_a_packet_tells_its_codec(self) -> None:
        assert parameter_sets.codec(self.packet(b"\x09\xf0")) == "h264"
        assert parameter_sets.codec(self.packet(self.SEQUENCE)) == "h264"
        assert parameter_sets.codec(self.packet(b"\x46\x01\x50")) == "hevc"
        assert parameter_sets.codec(self.packet(b"\x40\x01\x0c")) == "hevc"
        assert parameter_sets.codec(self.packet(b"\x41\x9a\x21")) == ""
        assert parameter_sets.codec(b"\xff\xd8") == ""

    def test_whether_anything_stands_before_the_slice(self) -> None:
        assert parameter_sets.begins_with_slice(self.packet(b"\x02\x01\xd0"), "hevc")
        assert not parameter_sets.begins_with_slice(self.packet(b"\x4e\x01\x06"), "hevc")
        assert not parameter_sets.begins_with_slice(b"\xff\xd8\xff\xe0", "hevc")
        assert not parameter_sets.begins_with_slice(b"", "hevc")


class TestVigil:
    class Manager(systemd.Service):
        """Notes what it would send."""

        def __init__(self) -> None:
            super().__init__({"WATCHDOG_USEC": "20000000"})
            self.sent: list[str] = []

        def beat(self) -> None:
            self.sent.append("beat")

        def _send(self, *lines: str) -> None:
            self.sent += lines

    @pytest.fixture
    def now(self, mocker: MockerFixture) -> list[float]:
        moment = [100.0]
        mocker.patch("camarchiver.record.watchdog.time.monotonic", lambda: moment[0])
        return moment

    def test_every_frame_of_the_only_camera_feeds_the_watchdog(self, now: list[float]) -> None:
        manager = self.Manager()
        watch = watchdog.Watchdog(manager, ["yard"])
        for now[0] in (101.0, 300.0):
            watch.frame("yard")
        assert manager.sent == ["beat", "beat"]

    def test_a_camera_that_hangs_starves_it_until_it_is_known_to_be_away(self, now: list[float]) -> None:
        manager = self.Manager()
        watch = watchdog.Watchdog(manager, ["yard", "gate"])
        now[0] = 109.0
        watch.frame("yard")
        now[0] = 111.0
        watch.frame("yard")
        assert manager.sent == ["beat"]
        watch.report("gate", "lost", away=True)
        watch.frame("yard")
        assert manager.sent == ["beat", "STATUS=yard: waiting; gate: lost", "beat"]
        watch.frame("gate")
        now[0] = 125.0
        watch.frame("yard")
        assert manager.sent[3:] == ["beat"]

    def test_the_manager_hears_of_changes_once(self) -> None:
        manager = self.Manager()
        watch = watchdog.Watchdog(manager, ["yard", "gate"])
        watch.begin()
        for doing in ("watching", "watching", "recording"):
            watch.report("gate", doing)
        watch.end()
        assert manager.sent == [
            *("READY=1", "STATUS=yard: waiting; gate: waiting"),
            *("STATUS=yard: waiting; gate: watching", "STATUS=yard: waiting; gate: recording"),
            "STOPPING=1",
        ]


def held(ring: PreRoll, at: float) -> tuple[TimedPacket, ...]:
    """What a clip would show."""
    beginning = ring.since(at)
    return beginning.shown if beginning else ()


class TestRing:
    def test_it_gives_back_whole_groups(self) -> None:
        ring = PreRoll(5.0, 1_000_000)
        for entry in rec_stream(8):
            ring.push(entry)
        kept = held(ring, 5.5)
        assert kept[0].key
        assert kept[0].at == 5.0
        assert [entry.at for entry in kept if entry.video] == [number / 10 for number in range(50, 80)]

    def test_motion_older_than_the_ring_begins_with_its_oldest_keyframe(self) -> None:
        ring = PreRoll(2.0, 1_000_000)
        for entry in rec_stream(8):
            ring.push(entry)
        assert held(ring, 0.0)[0].at == 5.0

    def test_sound_that_came_before_its_keyframe_is_kept(self) -> None:
        ring = PreRoll(5.0, 1_000)
        ring.push(rec_entry(0.0, key=True))
        ring.push(rec_entry(0.95, video=False))
        ring.push(rec_entry(1.05, video=False))
        ring.push(rec_entry(1.0, key=True))
        assert [entry.at for entry in held(ring, 1.0)] == [1.0, 1.05]

    def test_nothing_before_the_first_keyframe(self) -> None:
        ring = PreRoll(5.0, 1_000)
        ring.push(rec_entry(0.0))
        ring.push(rec_entry(0.0, video=False))
        assert held(ring, 0.0) == ()
        assert ring.size == 0

    def test_a_group_beyond_the_limit_is_dropped_whole(self) -> None:
        ring = PreRoll(60.0, 100)
        for number in range(20):
            ring.push(rec_entry(number / 10, key=number == 0))
        assert held(ring, 0.0) == ()
        ring.push(rec_entry(2.0, key=True))
        assert len(held(ring, 0.0)) == 1

    @given(
        st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=200),
        st.integers(1, 200),
        st.floats(0.5, 5),
    )
    def test_bounds_and_order_hold_for_any_stream(
        self, packets: list[tuple[bool, int]], limit: int, seconds: float
    ) -> None:
        ring = PreRoll(seconds, limit)
        for number, (key, size) in enumerate(packets):
            ring.push(rec_entry(number / 10, key=key, size=size))
            kept = held(ring, float("-inf"))
            assert ring.size == sum(entry.size for entry in kept) <= limit
            assert not kept or kept[0].key
            assert [entry.at for entry in kept] == sorted(entry.at for entry in kept)

    def test_a_gradual_refresh_is_shown_from_its_end_on(self) -> None:
        """Ten pictures a second; a refresh begins each second and is complete after six pictures."""
        ring = PreRoll(5.0, 1_000_000)
        for entry in rec_stream(8):
            ring.push(replace(entry, refresh=6 if entry.key else 0))
        beginning = ring.since(5.5)
        assert beginning is not None
        assert [one.at for one in beginning.hidden] == [number / 10 for number in range(40, 46)]
        assert (beginning.hidden[0].key, beginning.shown[0].at) == (True, 4.6)
        assert all(one.at >= 4.6 for one in beginning.shown)
        # a clip that goes on with the next keyframe decodes what came before it
        again = replace(rec_entry(8.0, key=True), refresh=6)
        ring.push(again)
        assert [one.at for one in ring.before(again)] == [number / 10 for number in range(70, 80)]
        ring.push(whole := rec_entry(9.0, key=True))
        assert ring.before(whole) == ()

    def test_cleared(self) -> None:
        ring = PreRoll(5.0, 1_000)
        ring.push(rec_entry(0.0, key=True))
        ring.clear()
        assert held(ring, 0.0) == ()


class TestReel:
    LENGTHS = RecordingLengths(pre=2.0, post=3.0, longest=10.0)

    def ran(self, reel_: ClipState, entries: list[TimedPacket]) -> list[tuple[ClipAction, float]]:
        done = []
        for entry in entries:
            reel_, do = clip_rules.decide(reel_, entry, self.LENGTHS)
            if do is not ClipAction.WRITE:
                done.append((do, entry.at))
            if do is ClipAction.SPLIT:
                reel_ = ClipState(entry.at, reel_.until, reel_.trigger, reel_.group, entry.at)
            if do is ClipAction.END:
                break
        return done

    def test_it_ends_after_the_post_roll(self) -> None:
        assert self.ran(ClipState(0.0, 5.05, 2.0), rec_stream(8)) == [(ClipAction.END, 5.1)]

    def test_it_is_split_at_a_keyframe_before_it_gets_too_long(self) -> None:
        done = self.ran(ClipState(0.0, 35.0, 2.0), rec_stream(40, group=3.0))
        assert done == [
            (ClipAction.SPLIT, 9.0),
            (ClipAction.SPLIT, 18.0),
            (ClipAction.SPLIT, 27.0),
            (ClipAction.END, 35.1),
        ]

    def test_groups_longer_than_the_limit_split_at_every_keyframe(self) -> None:
        done = self.ran(ClipState(0.0, 50.0, 2.0), rec_stream(60, group=20.0))
        assert done == [(ClipAction.SPLIT, 20.0), (ClipAction.SPLIT, 40.0), (ClipAction.END, 50.1)]

    def test_motion_makes_it_longer_and_never_shorter(self) -> None:
        longer = clip_rules.prolonged(ClipState(0.0, 5.0, 2.0), 4.0, self.LENGTHS)
        assert longer.until == 7.0
        assert clip_rules.prolonged(longer, 1.0, self.LENGTHS).until == 7.0

    def test_names_are_read_back(self) -> None:
        stamp = recorder_names.stamp(datetime(2026, 5, 3, 14, 20, 5))
        assert recorder_names.file_name(stamp, 10.04, 1, ".mp4") == "motion_20260503_142005_10.0s.mp4"
        second = recorder_names.file_name(stamp, 10.0, 2, ".mov")
        assert second == "motion_20260503_142005_10.0s_2.mov"
        assert recorder_names.is_file_name(second)
        parsed = Names().read(second.removesuffix(".mov"), "yard")
        assert parsed is not None
        assert (parsed.camera, parsed.start, parsed.duration) == ("yard", datetime(2026, 5, 3, 14, 20, 5), 10)

    def test_numbers_count_clips_of_the_second_whatever_their_length(self) -> None:
        names = ["motion_20260503_142005_10.0s.mp4", "motion_20260503_142005_10.0s.jpg", "x.mp4"]
        assert recorder_names.next_number("motion_20260503_142005", names) == 2
        assert (
            recorder_names.next_number("motion_20260503_142005", [*names, "motion_20260503_142005_2.0s.mov"])
            == 3
        )
        assert recorder_names.next_number("motion_20260503_142006", names) == 1

    @pytest.mark.parametrize(
        ("moments", "missing"),
        [
            ([], 0),
            ([0.0, 0.1], 0),
            ([0.0, 0.1, 0.2, 0.3], 0),
            ([0.0, 0.1, 0.2, 0.5, 0.6, 0.7], 2),
            ([0.0, 0.0, 0.0, 0.0], 0),
        ],
    )
    def test_gaps(self, moments: list[float], missing: int) -> None:
        assert clip_rules.missing(moments) == missing


class TestSchedule:
    @pytest.mark.parametrize(
        ("text", "moment", "holds"),
        [
            ("08:00-18:00", "2026-05-04 08:00", True),
            ("08:00-18:00", "2026-05-04 18:00", False),
            ("08:00-09:00,17:00-18:00", "2026-05-04 17:30", True),
            ("18:00-06:00", "2026-05-04 03:00", True),
            ("18:00-06:00", "2026-05-04 06:00", False),
            ("fr 18:00-06:00", "2026-05-09 05:59", True),  # Saturday's morning is Friday's night
            ("fr 18:00-06:00", "2026-05-08 05:59", False),
            ("sa-mo 00:00-24:00", "2026-05-10 12:00", True),
            ("sa-mo 00:00-24:00", "2026-05-12 12:00", False),
            ("SA,SU 10:00-11:00", "2026-05-10 10:59", True),
            # the hour that comes twice, and the one that never comes
            ("02:00-03:00", "2026-10-25 02:30", True),
            ("01:00-04:00", "2026-03-29 03:00", True),
        ],
    )
    def test_ranges(self, text: str, moment: str, holds: bool) -> None:
        assert schedule.includes(schedule.parse(text), datetime.fromisoformat(moment)) is holds

    def test_none_is_always(self) -> None:
        assert schedule.includes((), datetime(2026, 5, 4))

    @pytest.mark.parametrize(
        "text", ["8-18", "08:00", "25:00-26:00", "08:60-09:00", "08:00-08:00", "xx 08:00-09:00", "a b c"]
    )
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            schedule.parse(text)


class TestArrivalClock:
    def test_what_is_sent_at_once_is_of_no_account(self) -> None:
        clock = ArrivalClock()
        for number in range(60):  # two seconds of the past, then as it is made
            clock.see(100 + number / 15, 5.0 + max(0.0, number / 15 - 2.0))
        assert clock.distance == pytest.approx(97.0)

    @pytest.mark.parametrize("rate", [0.8, 0.97, 1.03, 1.2])
    def test_a_clock_that_runs_wrongly_is_followed(self, rate: float) -> None:
        clock = ArrivalClock()
        for number in range(6000):
            arrival = number / 15
            clock.see(arrival * rate, arrival + 0.05 * (number % 3))
        assert clock.distance == pytest.approx(arrival * rate - arrival, abs=0.06 + 4.2 * max(0, 1 - rate))

    @pytest.mark.parametrize(("rate", "settled"), [(1.0, True), (1.2, True), (0.8, True), (30.0, False)])
    def test_a_pipe_that_is_filled_faster_tells_no_time(self, rate: float, settled: bool) -> None:
        clock = ArrivalClock()
        for number in range(90):
            clock.see(number / 15 * rate, number / 15)
            assert not clock.is_settled or number > 15
        assert clock.is_settled is settled

    def test_a_clock_that_is_set_is_followed_at_once(self) -> None:
        clock = ArrivalClock()
        assert clock.see(10.0, 1.0) == clock.see(10.1, 1.1) == 0.0
        assert clock.see(3.2, 1.2) == pytest.approx(-7.0)
        assert clock.distance == pytest.approx(2.0)
        assert clock.see(3.3, 4.3) == 0.0  # the connection stood still


class TestSoundClock:
    @staticmethod
    def placed(
        off: Callable[[float], float],
        *,
        live: bool = True,
        related: bool = True,
        reported: float = float("inf"),
        seconds: float = 10,
    ) -> dict[float, float]:
        """By its true time, where sound is placed whose clock is off by so many seconds."""
        clock = SoundClock(live=live, related=related)
        found: dict[float, float] = {}
        for number in range(int(seconds * 50)):
            moment = number / 50
            for video in (True, False) if moment >= reported else ():
                clock.reported(video=video)
            if number % 3 == 0:
                clock.picture(moment, moment)
            given = moment + off(moment)
            shift = clock.sound(given - 0.06, 0.06, moment + 0.01)
            if shift is not None:
                found[moment] = given + shift
        return found

    @pytest.mark.parametrize("ahead", [0.0, 0.3, -0.8])
    def test_a_small_distance_is_the_cameras_own(self, ahead: float) -> None:
        found = self.placed(lambda moment: ahead)
        assert len(found) == 500
        assert all(where == pytest.approx(moment + ahead) for moment, where in found.items())

    @pytest.mark.parametrize("ahead", [0.0, 0.3, -0.8])
    def test_without_sender_reports_a_small_distance_means_nothing(self, ahead: float) -> None:
        found = self.placed(lambda moment: ahead, related=False)
        late = {moment: where for moment, where in found.items() if moment > 2}
        assert len(late) == 399
        assert all(where == pytest.approx(moment, abs=0.05) for moment, where in late.items())

    @pytest.mark.parametrize("ahead", [0.3, -0.8])
    def test_a_sender_report_gives_the_distance_that_the_camera_means(self, ahead: float) -> None:
        found = self.placed(lambda moment: 0.9 if moment < 4 else ahead, related=False, reported=4.0)
        late = {moment: where for moment, where in found.items() if moment > 2}
        for moment, where in late.items():
            assert where == pytest.approx(moment + (ahead if moment >= 4 else 0.0), abs=0.05)

    @pytest.mark.parametrize("ahead", [3600.0, -250000.0, 6.0, 1.5])
    def test_another_clock_is_placed_by_arrival(self, ahead: float) -> None:
        found = self.placed(lambda moment: ahead)
        late = {moment: where for moment, where in found.items() if moment > 2}
        assert len(late) == 399
        assert all(where == pytest.approx(moment, abs=0.05) for moment, where in late.items())
        assert all(abs(where - moment) < 2.1 for moment, where in found.items())

    @pytest.mark.parametrize("step", [-300.0, 7200.0, -1.5])
    def test_a_step_costs_no_sound(self, step: float) -> None:
        found = self.placed(lambda moment: 0.0 if moment < 5 else step)
        assert len(found) == 500
        assert all(where == pytest.approx(moment, abs=0.05) for moment, where in found.items())

    def test_a_clock_that_runs_wrongly_stays_in_its_place(self) -> None:
        found = self.placed(lambda moment: 0.03 * moment, seconds=60)
        assert all(abs(where - moment) < 0.25 for moment, where in found.items())

    def test_reordered_pictures_leave_it_in_its_place(self) -> None:
        """Of four pictures the last one is sent first, when it is made; the others follow."""
        clock = SoundClock(live=True)
        found = []
        for number in range(300):
            made = number // 4 * 4 + 3
            shown = made - (3 if number % 4 == 1 else 2 if number % 4 == 2 else 1) * (number % 4 > 0)
            clock.picture(shown / 15, max(made, number) / 15)
            found.append(clock.sound(number / 15 + 3600, 0.0, number / 15 + 0.01))
        assert [shift for shift in found[60:] if shift != pytest.approx(-3600, abs=0.02)] == []

    def test_of_pictures_that_are_timed_by_arrival(self) -> None:
        clock = SoundClock(live=True)
        for number in range(200):
            clock.picture(number / 50, number / 50)
            shift = clock.sound(number / 50 + 0.3, 0.0, number / 50)
        assert shift == 0
        clock.place_by_arrival()
        assert clock.sound(4.3, 0.0, 4.0) == pytest.approx(-0.3)

    def test_of_a_file_only_what_is_far_off_is_left_out(self) -> None:
        assert len(self.placed(lambda moment: 5.0, live=False)) == 500
        assert not self.placed(lambda moment: 7200.0, live=False)


class TestDecodingTimes:
    @pytest.mark.parametrize(
        ("shown", "reorders"),
        [
            ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], False),
            ([0, 3, 1, 2, 6, 4, 5, 9, 7, 8], True),
            ([0, 4, 2, 1, 3, 8, 6, 5, 7, 9], True),
            ([0, -2, -1, 3, 1, 2, 6, 4, 5, 7], True),
            ([0, -2, -3, -1, 4, 2, 1, 3, 5, 6], True),
            ([0, 1, 2, 3, 4, 5, 6, -300, -299, -298], False),
        ],
    )
    @pytest.mark.parametrize("timeless", [True, False])
    def test_they_are_those_of_presentation_some_pictures_earlier(
        self, shown: list[int], reorders: bool, timeless: bool
    ) -> None:
        packets = [rec_picture(at, dts=None if number < 3 else at) for number, at in enumerate(shown)]
        if timeless:
            packets[0].pts = None
        made = completed(packets)
        assert [packet.pts for packet in made] == [100 * at for at in shown]
        orders = [packet.dts for packet in made]
        assert all(packet.dts <= packet.pts for packet in made)
        assert all(later > earlier for earlier, later in pairwise(orders) if abs(later - earlier) < 2000)
        assert (orders == [100 * at for at in shown]) is not reorders

    def test_what_the_source_says_stays(self) -> None:
        packets = [rec_picture(at, dts=at - 7) for at in (0, 3, 1, 2)]
        assert completed(packets, guessed=False) == packets
        assert [packet.dts for packet in packets] == [-700, -400, -600, -500]

    def test_rare_pictures_are_not_waited_for(self) -> None:
        taken: list[int] = []

        def sent() -> Iterator[Any]:
            for number in range(6):
                taken.append(number)
                yield rec_picture(number * 10)

        made = packet_times.complete(sent(), guessed=True)
        next(made)
        assert len(taken) == 3

    def test_the_few_pictures_of_a_short_stream_are_not_held_back_for_ever(self) -> None:
        assert len(completed([rec_picture(0), rec_picture(1)])) == 2

    PATTERNS = (
        [0, 3, 1, 2, 6, 4, 5, 9, 7, 8],
        [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11],
        [0, 2, 1, 4, 3, 6, 5],
        [0, 2, 1, 3, 4, 8, 6, 5, 7],
    )

    @pytest.mark.parametrize("pattern", PATTERNS)
    @pytest.mark.parametrize("step", [-75, 75, 54000])
    @pytest.mark.parametrize("says_durations", [True, False])
    def test_a_clock_that_is_set_goes_on_at_its_place(
        self, pattern: list[int], step: int, says_durations: bool
    ) -> None:
        """Whichever picture of a reordered group is the first by the clock that was set."""
        period = len(pattern) - 1
        steady = [period * group + at for group in range(12) for at in pattern[1:]]
        steps = {}
        for place in range(4 * period, 6 * period):
            packets = [rec_picture(at + (step if number >= place else 0)) for number, at in enumerate(steady)]
            for packet in packets if not says_durations else ():
                packet.duration = 0
            orders = [packet.dts / 100 for packet in completed(packets)]
            steps[place] = [orders[place] - orders[place - 1], orders[-1] - orders[0]]
        expected = [1 + step, len(steady) - 1 + step]
        assert steps == dict.fromkeys(steps, expected)

    def test_the_sound_of_a_clock_that_is_set_waits_with_its_pictures(self) -> None:
        sent = stepping()
        assert completed(sent) == sent

    def test_sound_does_not_wait_for_ever(self, mocker: MockerFixture) -> None:
        mocker.patch.object(packet_times, "time", mocker.Mock(monotonic=mocker.Mock(side_effect=count())))
        *before, picture = stepping()[:31]
        sound = [rec_sound(54025 + number) for number in range(5)]
        assert completed([*before, picture, *sound]) == [*before, *sound, picture]


def stepping() -> list[Any]:
    """Reordered pictures, from the 20th on each with a packet of sound; the clock is set at the 25th."""
    sent = []
    for number, at in enumerate([0, *(3 * group + place for group in range(17) for place in (3, 1, 2))]):
        step = 54000 if number >= 25 else 0
        sent += [rec_picture(at + step), rec_sound(number + step)][: 1 + (number >= 20)]
    return sent


def rec_sound(at: int) -> Any:
    """A packet of sound that begins with a picture."""
    times = {"pts": at * 100, "dts": at * 100, "duration": 100, "size": 9}
    return SimpleNamespace(stream=SimpleNamespace(type="audio"), time_base=Fraction(1, 1500), **times)


def completed(packets: list[Any], *, guessed: bool = True) -> list[Any]:
    return [packet for packet, _ in packet_times.complete(packets, guessed=guessed)]


def rec_picture(at: int, dts: int | None = None) -> Any:
    """A picture's packet, with a duration of 100 ticks."""
    times = {"pts": at * 100, "dts": None if dts is None else dts * 100, "duration": 100, "size": 9}
    return SimpleNamespace(stream=SimpleNamespace(type="video"), time_base=Fraction(1, 1500), **times)


class TestPictureClock:
    @staticmethod
    def shown(
        given: Callable[[float], float], *, late: Callable[[int], float] = lambda _: 0.0
    ) -> list[float]:
        """Where ten seconds of pictures are shown whose times are given so."""
        clock = PictureClock("yard")
        found = []
        for number in range(150):
            moment = number / 15
            packet = SimpleNamespace(pts=0, dts=0, time_base=Fraction(1, 90000))
            at = given(moment)
            entry = TimedPacket(at, at, 1 / 15, True, False, 9, moment + late(number), packet)
            found.append(clock.timed(entry).at)
        return found

    @pytest.mark.parametrize("step", [5.0, -3.0, -9.0, 1.5])
    def test_a_clock_that_is_set_by_some_seconds_goes_on(self, step: float) -> None:
        found = self.shown(
            lambda moment: moment if moment < 5 else moment + step, late=lambda number: 0.1 * (number % 3)
        )
        assert found == pytest.approx([number / 15 for number in range(150)])

    @pytest.mark.parametrize("step", [15.0, -600.0])
    def test_one_that_is_set_by_more_begins_anew(self, step: float) -> None:
        found = self.shown(lambda moment: moment if moment < 5 else moment + step)
        assert found[-1] == pytest.approx(149 / 15 + step)

    def test_a_connection_that_stood_still_changes_no_time(self) -> None:
        found = self.shown(
            lambda moment: moment, late=lambda number: max(0.0, 8 - number / 15) * (number > 60)
        )
        assert found == pytest.approx([number / 15 for number in range(150)])

    def test_one_that_stands_still_is_replaced_by_the_arrivals(self) -> None:
        found = self.shown(lambda moment: 7.0)
        assert found[:30] == [7.0] * 30
        assert found[40:] == pytest.approx([7 + number / 15 for number in range(40, 150)])
