"""motion: decisions and formats, without a disk."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camarchiver.errors import UsageError
from camarchiver.motion import events as motion_events
from camarchiver.motion import keyframe_rules
from camarchiver.motion.detector import Detector, Luma, View, shrink
from camarchiver.motion.events import MotionEvent as Motion
from camarchiver.motion.events import MotionState, Rules, Score
from camarchiver.motion.keyframe_rules import Attention


class TestAttention:
    @staticmethod
    def looks(
        packets: str, *, moving: str = "", doubtful: str = "", suspects: tuple[int, ...] = ()
    ) -> tuple[str, Attention]:
        """Decoded of five packets a second, `k` a keyframe: `a` alone, `o` on, `s` since, `.` nothing."""
        state, told = Attention(), ""
        for number, packet in enumerate(packets):
            state, look = keyframe_rules.step(
                state,
                number / 5,
                key=packet == "k",
                moving=moving[number : number + 1] == "m",
                doubtful=doubtful[number : number + 1] == "d",
            )
            told += {"NOTHING": ".", "ALONE": "a", "ON": "o", "SINCE": "s"}[look.name]
            if number in suspects:
                state = keyframe_rules.suspect(state, number / 5)
        return told, state

    @pytest.mark.parametrize(
        ("packets", "looks"),
        [
            ("k....k....k....", "a....a....a...."),
            ("k..k..k..k..k..", "a.....a.....a.."),
            ("k.........k....", "a.........a...."),
            ("...k...", "...a..."),
        ],
    )
    def test_keyframes_a_second_apart_while_nothing_happens(self, packets: str, looks: str) -> None:
        assert self.looks(packets)[0] == looks

    def test_a_suspicion_lasts_half_a_second(self) -> None:
        assert self.looks("k.........k.........k", suspects=(10,))[0] == "a.........aoo.......a"

    def test_and_longer_while_in_doubt(self) -> None:
        doubtful = "...........ddddd"
        looks, _ = self.looks("k.........k.........k", doubtful=doubtful, suspects=(10,))
        assert looks == "a.........aooooo....a"

    def test_a_keyframe_within_a_burst_belongs_to_it(self) -> None:
        doubtful = "......dddddddd"
        assert self.looks("k....k....k....k", doubtful=doubtful, suspects=(5,))[0] == "a....aoooooooo.a"

    def test_confirmed_it_is_over(self) -> None:
        moving = "............mmmmmmmmmmmmmmmmmmm"
        looks, _ = self.looks("k.........k.........k.........k", moving=moving, suspects=(10,))
        assert looks == "a.........ao........a.........a"

    def test_where_keyframes_are_rare_it_goes_on(self) -> None:
        moving = "." * 17 + "m" * 8
        looks, _ = self.looks("k" + "." * 14 + "k" + "." * 14 + "k", moving=moving, suspects=(15,))
        assert looks == "a" + "." * 14 + "a" + "o" * 9 + "." * 5 + "a"

    def test_a_keyframe_that_does_not_come_is_not_waited_for(self) -> None:
        looks, state = self.looks("k....k" + "." * 20, moving="......" + "m" * 20)
        assert looks == "a....a" + "." * 12 + "s" + "o" * 7
        assert state.spacing > keyframe_rules.LONG


PERIOD = 0.2


def gated(scores: list[Score], rules: Rules | None = None, period: float = PERIOD) -> list[Motion]:
    gate, events = MotionState(rules or Rules()), []
    for number, score in enumerate(scores):
        gate, event = motion_events.step(gate, score, round(number * period, 3))
        events += [event] if event else []
    last = motion_events.finish(gate)
    return events + ([last] if last else [])


def areas(text: str) -> list[Score]:
    """One character a frame: `.` rest, a digit motion of that area, `s` standing still, `?` unsure."""
    special = {".": Score(0.0), "s": Score(0.0, 2.0), "?": Score(0.0, unsure=True)}
    return [special[sign] if sign in special else Score(float(sign)) for sign in text]


class TestMotion:
    @pytest.mark.parametrize(
        ("scores", "spans"),
        [
            ("..........", []),
            ("..1.......", []),
            ("..1..1..1.", []),
            ("..11......", [(0.4, 0.6)]),
            ("..1.1.....", [(0.4, 0.8)]),
            ("..11....1.........", [(0.4, 1.6)]),
            ("..11......11......", [(0.4, 0.6), (2.0, 2.2)]),
            ("..11sssssss1......", [(0.4, 2.2)]),
            ("..11ss......", [(0.4, 1.0)]),
            ("..ssssss....", []),
            ("????????", []),
            ("..11???11......", [(0.4, 1.6)]),
            ("..11??????11......", [(0.4, 2.2)]),
            ("..1?1.....", [(0.4, 0.8)]),
            ("..11", [(0.4, 0.6)]),
        ],
    )
    def test_golden_scores(self, scores: str, spans: list[tuple[float, float]]) -> None:
        assert [(event.start, event.end) for event in gated(areas(scores))] == spans

    def test_peak_and_zone_are_those_of_the_largest_motion(self) -> None:
        scores = [Score(1.0, zone="door"), Score(3.0, zone="yard"), Score(2.0, zone="door")]
        assert gated(scores) == [Motion(0.0, 0.4, 3.0, 0.2, "yard")]

    def test_standing_still_is_held_only_so_long(self) -> None:
        (event,) = gated(areas("11" + "s" * 200), Rules(still=5.0))
        assert event.end == pytest.approx(5.2)

    @pytest.mark.parametrize("period", [1.5, 2.0])
    def test_frames_far_apart_are_not_taken_together(self, period: float) -> None:
        assert gated(areas("111111"), period=period) == []

    @pytest.mark.parametrize(
        ("scores", "end"),
        [("..11k.k.k.", 2.6), ("..11k1k1k.k.", 6.6), ("..11ksk?k.k.", 6.6), ("..11k.k1k.k.", 6.6)],
    )
    def test_what_nobody_looked_at_counts_with_an_open_event(self, scores: str, end: float) -> None:
        """`k`: the next frame is two seconds after the one before."""
        gate, events, at = MotionState(), list[Motion](), 0.0
        seldom = False
        for sign in scores:
            if sign == "k":
                seldom = True
                continue
            at += 2.0 if seldom else PERIOD
            gate, event = motion_events.step(gate, *areas(sign), at - PERIOD)
            events += [event] if event else []
        assert [(round(event.start, 3), round(event.end, 3)) for event in events] == [(0.4, end)]

    @given(
        st.lists(
            st.tuples(
                st.floats(0.01, 3.0),
                st.builds(
                    Score,
                    st.sampled_from([0.0, 0.1, 0.2, 5.0]),
                    st.sampled_from([0.0, 4.0]),
                    unsure=st.booleans(),
                ),
            ),
            max_size=80,
        )
    )
    def test_events_are_ordered_apart_and_within_the_input(self, frames: list[tuple[float, Score]]) -> None:
        gate, events, at = MotionState(), list[Motion](), 0.0
        for gap, score in frames:
            at += gap
            gate, event = motion_events.step(gate, score, at)
            events += [event] if event else []
        events += [last] if (last := motion_events.finish(gate)) else []
        for event in events:
            assert frames[0][0] <= event.start <= event.peak_at <= event.end <= at
            assert event.peak >= Rules().min_area
        assert all(one.end < other.start for one, other in itertools.pairwise(events))

    @pytest.mark.parametrize(("name", "level"), [("low", "25"), ("medium", "50"), ("high", "75")])
    def test_named_sensitivities(self, name: str, level: str) -> None:
        assert motion_events.rules_for(name) == motion_events.rules_for(level)

    def test_medium_is_the_default_and_more_sensitive_asks_for_less(self) -> None:
        assert motion_events.rules_for("medium") == Rules()
        assert (
            motion_events.rules_for("75").min_area < Rules().min_area < motion_events.rules_for("25").min_area
        )
        assert motion_events.rules_for("low", min_area=2.5).min_area == 2.5

    @pytest.mark.parametrize("sensitivity", ["", "loud", "0", "101", "-5", "nan"])
    def test_unknown_sensitivity(self, sensitivity: str) -> None:
        with pytest.raises(UsageError):
            motion_events.rules_for(sensitivity)

    @pytest.mark.parametrize("area", [0.0, -1.0, 100.0, float("nan")])
    def test_impossible_area(self, area: float) -> None:
        with pytest.raises(UsageError):
            motion_events.rules_for("medium", min_area=area)

    def test_polygon(self) -> None:
        assert motion_events.polygon("0,0 0.5,0 0.5,1") == ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))

    @pytest.mark.parametrize("text", ["", "0,0 1,1", "0,0 1,1 2,0", "0 1 2", "a,b c,d e,f", "0,0 1,0 1,nan"])
    def test_wrong_polygon(self, text: str) -> None:
        with pytest.raises(UsageError):
            motion_events.polygon(text)


SQUARES = np.random.default_rng(7).integers(60, 190, (23, 40)).astype(np.float32)
BACKGROUND = np.kron(SQUARES, np.ones((8, 8), np.float32))[:180]
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


def scene(number: int, *, light: float | np.ndarray = 1.0, thing: int | None = None, width: int = 20) -> Luma:
    """One noisy frame of a patterned wall; `thing` is the left edge of a dark striped figure."""
    picture = BACKGROUND * light
    if thing is not None:
        picture[80:140, thing : thing + width] = 20
        picture[80:140:6, thing : thing + width] = 60
    noise = np.random.default_rng(number).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def seen(frames: list[Luma], view: View | None = None) -> list[Score]:
    detector = Detector(Rules(), view)
    return [detector.score(frame, number * PERIOD) for number, frame in enumerate(frames)]


def calm(count: int = 25) -> list[Luma]:
    return [scene(number) for number in range(count)]


def walk(start: int, count: int = 10) -> list[Luma]:
    return [scene(100 + number, thing=start + 6 * number) for number in range(count)]


class TestDetector:
    def test_noise_is_no_motion(self) -> None:
        assert not any(score.area or score.unsure for score in seen(calm(40)))

    def test_a_figure_that_walks_is_motion_of_its_size(self) -> None:
        scores = seen(calm() + walk(40) + calm(10))
        assert all(0.5 <= score.area <= 8 for score in scores[25:35])
        assert [(event.start, event.end) for event in gated(scores)] == [(5.0, 6.8)]

    @pytest.mark.parametrize("light", [0.3, 0.6, 1.3])
    def test_a_light_switch_is_no_motion(self, light: float) -> None:
        lit = [scene(200 + number, light=light) for number in range(15)]
        assert gated(seen(calm() + lit + calm(15))) == []

    def test_headlights_that_pass_are_no_motion(self) -> None:
        y, x = np.mgrid[0:180, 0:320]
        beams = [np.exp(-(((x - 30 * number) / 50) ** 2) - ((y - 90) / 40) ** 2) for number in range(15)]
        frames = [scene(600 + number, light=1 + 0.8 * beam) for number, beam in enumerate(beams)]
        assert gated(seen(calm() + frames + calm(10))) == []

    def test_infrared_switching_is_learned_at_once(self) -> None:
        detector = Detector(Rules())
        negative = [255 - frame for frame in calm(10)]
        scores = [detector.score(frame, number * PERIOD) for number, frame in enumerate(calm() + negative)]
        assert [score.unsure for score in scores[25:27]] == [True, False]
        assert gated(scores) == []

    def test_slow_light_is_no_motion(self) -> None:
        frames = [scene(number, light=1 - number / 100) for number in range(50)]
        assert gated(seen(frames)) == []

    def test_light_switched_while_somebody_walks_does_not_end_the_event(self) -> None:
        dark = [scene(300 + number, light=0.4, thing=100 + 6 * number) for number in range(10)]
        (event,) = gated(seen(calm() + walk(40) + dark))
        assert event.start == 5.0
        assert event.end >= 8.6

    def test_a_shaking_camera_is_no_motion(self) -> None:
        shaken = [np.roll(scene(400 + number), shift, 1) for number, shift in enumerate([2, -2, 1, -1, 0, 0])]
        assert gated(seen(calm() + shaken + calm(10))) == []

    def test_whoever_stands_still_is_present_and_then_becomes_background(self) -> None:
        standing = [scene(500 + number, thing=94) for number in range(90)]
        scores = seen(calm() + walk(40) + standing)[35:]
        assert all(score.present for score in scores[1 : int(11 / PERIOD)])
        assert not any(score.present or score.area for score in scores[int(13 / PERIOD) :])

    def test_whoever_leaves_a_background_they_were_learned_with_is_not_held(self) -> None:
        scores = seen([scene(number, thing=94) for number in range(25)] + calm(40))
        assert not any(score.present for score in scores)

    def test_a_change_of_everything_is_unsure_at_first_and_motion_when_it_goes_on(self) -> None:
        rng = np.random.default_rng(1)
        wild = [
            np.kron(rng.integers(0, 255, (23, 40)), np.ones((8, 8)))[:180].astype(np.uint8) for _ in range(12)
        ]
        scores = seen(calm() + wild)[25:]
        assert all(score.unsure for score in scores[:5])
        assert all(score.area for score in scores[8:])

    def test_ignored_parts_are_ignored(self) -> None:
        assert gated(seen(calm() + walk(40), View(ignored=(LEFT,)))) == []
        assert gated(seen(calm() + walk(40), View(ignored=(RIGHT,)))) != []

    def test_motion_has_the_name_of_its_zone(self) -> None:
        (event,) = gated(seen(calm() + walk(40), View(zones={"gate": RIGHT, "door": LEFT})))
        assert event.zone == "door"

    def test_with_zones_motion_outside_does_not_count(self) -> None:
        assert gated(seen(calm() + walk(40), View(zones={"gate": RIGHT}))) == []

    def test_a_new_picture_size_begins_anew(self) -> None:
        detector = Detector(Rules())
        for number, frame in enumerate([*calm(), *(frame[:120] for frame in calm())]):
            assert not detector.score(np.ascontiguousarray(frame), number * PERIOD).area

    def test_peek_does_not_learn(self) -> None:
        detector = Detector(Rules())
        for number, frame in enumerate(calm()):
            detector.score(frame, number * PERIOD)
        assert detector.peek(scene(900)) < Rules().min_area
        assert all(detector.peek(scene(900, thing=60)) > 1 for _ in range(20))

    @pytest.mark.parametrize(("shape", "small"), [((720, 1280), (180, 320)), ((120, 160), (240, 320))])
    def test_shrink_scales_to_one_width(self, shape: tuple[int, int], small: tuple[int, int]) -> None:
        assert shrink(np.zeros(shape, np.uint8)).shape == small
