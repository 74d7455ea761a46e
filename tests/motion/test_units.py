"""motion: decisions and formats, without a disk."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camarchiver.domain.motion import WHOLE_VIEW, View
from camarchiver.errors import UsageError
from camarchiver.motion import events as motion_events
from camarchiver.motion import keyframe_rules
from camarchiver.motion.clip_motion import KeyframeChange
from camarchiver.motion.detector import Detector
from camarchiver.motion.events import MotionEvent as Motion
from camarchiver.motion.events import MotionState, Rules, Score
from camarchiver.motion.keyframe_rules import KeyframeState
from camarchiver.motion.keyframes import KeyframeDetector
from camarchiver.motion.paths import Paths
from camarchiver.motion.planes import Blob, Luma, shrink


class TestAttention:
    @staticmethod
    def looks(
        packets: str, *, moving: str = "", doubtful: str = "", suspects: tuple[int, ...] = ()
    ) -> tuple[str, KeyframeState]:
        """Decoded of five packets a second, `k` a keyframe: `a` alone, `o` on, `s` since, `.` nothing."""
        state, told = KeyframeState(), ""
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


NIGHT = (BACKGROUND * 0.12 + 8).astype(np.float32)
Y, X = np.mgrid[0:180, 0:320].astype(np.float32)


def noisy(picture: np.ndarray, number: int, deviation: float = 2.0) -> Luma:
    noise = np.random.default_rng(number).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def spot(x: float, y: float, radius: float) -> np.ndarray:
    """A soft round spot, 1 in its middle."""
    return np.asarray(np.exp(-((X - x) ** 2 + (Y - y) ** 2) / radius**2), np.float32)


def lit(number: int, *, thing: int | None = None) -> Luma:
    """The wall at night with a torch's light that wanders over it."""
    picture = NIGHT.copy()
    picture *= 1 + 5 * spot(60 + 9 * number, 60 + 20 * np.sin(number / 3), 22)
    if thing is not None:
        picture[80:140, thing : thing + 20] = 60
        picture[80:140:6, thing : thing + 20] = 90
    return noisy(picture, 700 + number)


def far(x: float, y: int, number: int) -> Luma:
    """A figure of 40 pixels at 720p, ten of the detector's."""
    large = np.zeros((16 * 16, 12 * 16), np.float32)
    large[2 * 16 : 12 * 16, 4 * 16 : 7 * 16] = 1
    shift = np.array([[1 / 16, 0, x], [0, 1 / 16, y]], np.float32)
    figure = cv2.warpAffine(cv2.blur(large, (16, 16)), shift, (320, 180))
    return noisy((BACKGROUND * 0.3 + 100) * (1 - figure) + 115 * figure, 800 + number, 1.0)


class TestWhatIsNoObject:
    @staticmethod
    def night(count: int = 25) -> list[Luma]:
        return [noisy(NIGHT, number) for number in range(count)]

    def test_a_torch_that_wanders_over_a_wall(self) -> None:
        assert gated(seen(self.night() + [lit(number) for number in range(25)] + self.night(10))) == []

    def test_somebody_beside_its_light_is_seen(self) -> None:
        walking = [lit(number, thing=30 + 6 * number) for number in range(20)]
        (event,) = gated(seen(self.night() + walking + self.night(10)))
        assert [event.start, event.end] == pytest.approx([5.0, 8.8], abs=0.5)

    def test_insects_before_the_lens(self) -> None:
        places = np.random.default_rng(5).normal(0, 22, (20, 2)).cumsum(0) + np.array([160, 90])
        flying = [
            noisy(NIGHT + 110 * spot(x % 320, y % 180, 7), 750 + number)
            for number, (x, y) in enumerate(places)
        ]
        assert gated(seen(self.night() + flying + self.night(10))) == []

    @pytest.mark.parametrize("blur", [0.8, 1.5, 2.5])
    def test_a_lens_that_looks_for_its_focus(self, blur: float) -> None:
        fine = cv2.resize(
            np.random.default_rng(3).integers(40, 220, (90, 160)).astype(np.float32), (320, 180)
        )
        fine[:, :200] = 120
        fine[60:120, 40:120] = BACKGROUND[60:120, 40:120]
        still = [noisy(fine, number) for number in range(25)]
        softer = [abs(np.sin(np.pi * number / 8)) * blur + 0.01 for number in range(17)]
        hunting = [noisy(cv2.GaussianBlur(fine, (0, 0), each), number) for number, each in enumerate(softer)]
        assert gated(seen(still + hunting + still)) == []

    def test_leaves_that_move_from_the_first_frame(self) -> None:
        leaves = [scene(number, thing=100 + int(7 * np.sin(number / 2)), width=30) for number in range(60)]
        assert all(event.start > 3 for event in gated(seen(leaves)))
        assert len(gated(seen(leaves))) <= 1

    def test_the_ground_that_a_parked_car_left(self) -> None:
        parked = [scene(number, thing=94, width=60) for number in range(25)]
        leaving = [scene(100 + number, thing=94 + 16 * number, width=60) for number in range(1, 15)]
        leaf = [scene(300 + number) for number in range(60)]
        for number, frame in enumerate(leaf):
            if number % 3:
                frame[100:104, 92 + number % 3 : 96 + number % 3] = 230
        (event,) = gated(seen(parked + leaving + leaf))
        assert event.start == pytest.approx(5.0, abs=0.4)
        assert event.end < 8.0

    def test_a_spot_that_remains_is_nobody_who_stands_still(self) -> None:
        frames = [*calm(), *walk(40, 20), *calm(10)]
        for frame in frames[30:]:  # they have dropped something
            frame[116:128, 60:68] = 20
        scores = seen(frames)
        assert all(score.area for score in scores[25:45])
        assert not any(score.present for score in scores[46:])


class TestPersonsFarAway:
    @pytest.mark.parametrize("speed", [1.5, 2.0, 3.0, -2.0])
    def test_who_walks_on_is_seen(self, speed: float) -> None:
        still = [noisy(BACKGROUND * 0.3 + 100, number, 1.0) for number in range(25)]
        start = 100.0 if speed > 0 else 220.0
        walking = [far(start + speed * number, 96, number) for number in range(30)]
        (event, *_) = gated(seen(still + walking))
        assert 5.0 <= event.start <= 7.0

    @staticmethod
    def followed(places: list[tuple[float, float] | None]) -> int | None:
        """After how many pictures a blob has travelled; None if it never does."""
        paths = Paths()
        for number, place in enumerate(places):
            found = [Blob(np.ones((1, 2), np.bool_), 2, slice(0, 1), slice(0, 2), place)] if place else []
            if paths.follow(found, number * PERIOD) is not None:
                return number
        return None

    def test_a_straight_way_of_two_cells_and_a_half(self) -> None:
        assert self.followed([(10 + 0.4 * number, 5.0) for number in range(10)]) == 7
        assert self.followed([(10 + 0.3 * number, 5.0) for number in range(10)]) is None

    def test_a_way_with_gaps(self) -> None:
        way: list[tuple[float, float] | None] = [(10 + 0.6 * number, 5.0) for number in range(12)]
        way[2] = way[5] = None
        assert self.followed(way) is not None
        for number in (1, 3, 4, 6, 8, 9):
            way[number] = None
        assert self.followed(way) is None

    def test_a_zigzag_is_no_way(self) -> None:
        assert self.followed([(10 + 0.5 * number, 5.0 + 4 * (number % 2)) for number in range(20)]) is None

    def test_what_sways_stays_in_its_place(self) -> None:
        assert self.followed([(10 + 1.2 * np.sin(number * 1.3), 5.0) for number in range(40)]) is None

    def test_where_everything_moves_chance_makes_no_way(self) -> None:
        rng, paths = np.random.default_rng(3), Paths()
        for number in range(40):
            rain = [
                Blob(np.ones((1, 2), np.bool_), 2, slice(0, 1), slice(0, 2), (float(x), float(y)))
                for x, y in rng.uniform(0, 40, (30, 2))
            ]
            assert paths.follow(rain, number * PERIOD) is None


class TestKeyframes:
    """What moved from one keyframe to the next, without a learned background."""

    def looked(self, *frames: Luma, view: View = WHOLE_VIEW) -> list[KeyframeChange]:
        detector = KeyframeDetector(Rules(), view)
        found = [detector.look(frame, 4.0 * number) for number, frame in enumerate(frames)]
        assert found[0] is None
        return [change for change in found if change is not None]

    def test_noise_is_no_motion(self) -> None:
        assert self.looked(*calm(8)) == [KeyframeChange(4.0 * at, 4.0 * at + 4, 0, 0) for at in range(7)]

    def test_who_comes_and_goes_is_an_object(self) -> None:
        came, went = self.looked(scene(1), scene(2, thing=94), scene(3))
        assert (came.went, went.came) == (0, 0)
        assert all(0.5 <= area <= 8 for area in (came.came, went.went))

    @pytest.mark.parametrize("light", [0.4, 0.7, 1.3])
    def test_a_light_switch_is_no_object(self, light: float) -> None:
        (change,) = self.looked(scene(1), scene(2, light=light))
        assert not change.is_motion

    def test_a_change_of_everything_is_unsure(self) -> None:
        rng = np.random.default_rng(1)
        wild = np.kron(rng.integers(0, 255, (23, 40)), np.ones((8, 8)))[:180].astype(np.uint8)
        (change,) = self.looked(scene(1), wild)
        assert change.unsure
        assert not change.is_motion

    def test_masks_hide_and_zones_name(self) -> None:
        left, right = ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), ((0.5, 0), (1, 0), (1, 1), (0.5, 1))
        frames = scene(1), scene(2, thing=94)
        (seen,) = self.looked(*frames, view=View(zones={"left": left, "right": right}))
        assert (seen.is_motion, seen.zones) == (True, ("left",))
        (elsewhere,) = self.looked(*frames, view=View(zones={"right": right}))
        assert (elsewhere.is_motion, elsewhere.zones) == (True, ())
        (hidden,) = self.looked(*frames, view=View(ignored=(left,)))
        assert (hidden.is_motion, hidden.unsure) == (False, False)
