"""thumbnails and motion of archived clips: the installed command as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import av
import pytest
from msgspec.structs import replace

from camarchiver.archive.motion.thumbnails import ClipWithoutThumbnails, make_missing
from camarchiver.cleanup import planner
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.domain.clip import Clip, Trees
from camarchiver.domain.motion import ClipMotion, MotionSpan, ThumbnailStrip
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Result
from camarchiver.errors import ExitCode
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.media.info import CHAPTERS
from camarchiver.media.parsing.prober import Prober
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import StripKey
from tests.clips import FFMPEGS, FOOTAGE
from tests.commands import START, Command, Put, archive, journal
from tests.yards import Yard, cleanup_policy

NAME = "2026/03/01/REO_front_20260301081500"
STILL = "-f lavfi -i smptebars=s=320x240:r=15:d=20"
WALK = (
    '-f lavfi -i "smptebars=s=320x240:r=15:d=20[b];color=black:s=30x60:r=15:d=20[o];'
    "[b][o]overlay=x='40*(t-8)':y=90:enable='between(t,8,12)'\""
)
"""Somebody crosses the picture from second 8 to second 12."""
LARGE = "-c:v libx264 -preset ultrafast -qp 5 -bf 0 -g 30"


def chapters_of(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (
                round(float(each["start"] * each["time_base"]), 1),
                round(float(each["end"] * each["time_base"]), 1),
                each["metadata"]["title"],
            )
            for each in container.chapters()
        ]


def motion_of(tree: Path, event: str = "archived") -> dict[str, Any]:
    (line,) = [each for each in journal(tree) if each["event"] == event]
    found: dict[str, Any] = line["motion"]
    return found


def strip_of(tree: Path, suffix: str = ".mp4") -> thumbnails.ThumbnailStrip | None:
    (line, *_) = journal(tree)
    key = StripKey(date(2026, 3, 1), NAME + suffix, line["source_size"], line["source_mtime_ns"])
    return thumbnails.read(tree / "archived/.camarchiver", key)


STRIP = ThumbnailStrip(320, 180, (0.0,))
JPEG = b"\xff\xd8\xff\xd9"
LEFT, RIGHT = "0,0 0.5,0 0.5,1 0,1", "0.5,0 1,0 1,1 0.5,1"
SLOW = (
    WALK.replace("color=black:s=30x60:r=15", "testsrc2=s=30x60:r=15")
    .replace("40*(t-8)", "20*t")
    .replace("between(t,8,12)", "between(t,1,17)")
)
"""Somebody crosses the picture slowly; the keyframe of second 10 shows them right of its middle."""


class TestMasksAndZones:
    """Parts of a camera's picture, from its table in the config."""

    def archived(self, put: Put, tree: Path, tmp_path: Path, lines: str, camera: str = "front") -> Any:
        config = tmp_path / "config.toml"
        config.write_text(f"[camera.{camera}]\n{lines}\n")
        put(f"{NAME}.mp4", f"{SLOW} {LARGE}")
        assert archive(tree, "--config", config).returncode == 0
        return motion_of(tree)

    def test_a_zone_is_named(self, put: Put, tree: Path, tmp_path: Path) -> None:
        motion = self.archived(put, tree, tmp_path, f'zone = ["gate={RIGHT}", "door={LEFT}"]')
        zones = {zone for span in motion["spans"] for zone in span.get("zones", ())}
        assert zones == {"gate"}
        assert "motion: gate" in {title for *_, title in chapters_of(tree / "archived" / f"{NAME}.mp4")}

    def test_under_a_mask_nothing_counts_and_nothing_is_quiet(
        self, put: Put, tree: Path, tmp_path: Path
    ) -> None:
        assert self.archived(put, tree, tmp_path, 'mask = "0,0 1,0 1,1 0,1"') == {"unsure": True}

    def test_they_are_this_cameras_alone(self, put: Put, tree: Path, tmp_path: Path) -> None:
        assert self.archived(put, tree, tmp_path, 'mask = ["0,0 1,0 1,1 0,1"]', camera="yard")["spans"]

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ('mask = "0,0 2,0 1,1"', "is not a polygon in the picture"),
            ('zone = ["0,0 1,0 1,1"]', "is not a zone"),
            ("mask = [7]", "is not a text or a list of texts"),
            ('mask = "missing.png"', "missing.png is not a file"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, told: Command, lines: str, words: str) -> None:
        config = tmp_path / "config.toml"
        config.write_text(f"[camera.front]\n{lines}\n")
        said = told("config", "check", "--config", config)
        assert said.returncode == ExitCode.CONFIG
        assert words in said.stdout + said.stderr


class TestArchiving:
    """What the archiving of a clip leaves beside its archive."""

    def test_a_clip_in_which_somebody_walks(self, put: Put, tree: Path, told: Command) -> None:
        put(f"{NAME}.mp4", f"{WALK} {LARGE}")
        assert archive(tree).returncode == 0
        (span,) = motion_of(tree)["spans"]
        assert (span["start"], span["end"]) == pytest.approx((8, 12), abs=0.7)
        path = tree / "archived" / f"{NAME}.mp4"
        before, moving, after = chapters_of(path)
        assert (before[0], before[2], moving[2], after[2]) == (0, "no motion", "motion", "no motion")
        assert moving[:2] == pytest.approx((span["start"], span["end"]), abs=0.1)
        assert after[1] == pytest.approx(20, abs=0.1)
        assert strip_of(tree) is not None
        with Prober() as prober:
            assert prober.measure(path).other_streams == (CHAPTERS,)
        assert told("verify", tree, "--full").returncode == 0
        assert "; motion for " in told("why", "-C", tree, f"{NAME}.mp4").stdout

    def test_a_clip_in_which_nothing_moves(self, put: Put, tree: Path) -> None:
        put(f"{NAME}.mp4", f"{STILL} {LARGE}")
        assert archive(tree).returncode == 0
        assert motion_of(tree) == {}
        assert chapters_of(tree / "archived" / f"{NAME}.mp4") == []
        strip = strip_of(tree)
        assert strip is not None
        assert {score.area for score in strip.scores} == {0}

    def test_an_mkv_with_sound(self, put: Put, tree: Path, told: Command) -> None:
        put(f"{NAME}.mkv", f"{WALK} -f lavfi -i sine=d=20 {LARGE} -c:a wmav2 -b:a 32k")
        assert archive(tree, "--audio", "copy", "--min-saving", "0").returncode == 0
        assert [title for *_, title in chapters_of(tree / "archived" / f"{NAME}.mkv")] == [
            "no motion",
            "motion",
            "no motion",
        ]
        assert told("verify", tree, "--full").returncode == 0

    def test_a_lossless_copy_is_scored_and_stays_as_it_is(self, put: Put, tree: Path) -> None:
        path = put(f"{NAME}.mp4", f"{WALK} {LARGE}")
        content = path.read_bytes()
        assert archive(tree, "--min-saving", "99").returncode == 0
        assert (tree / "archived" / f"{NAME}.mp4").read_bytes() == content
        motion = motion_of(tree)
        assert motion["unsure"]
        assert motion["spans"][0]["start"] == pytest.approx(8, abs=2)
        assert strip_of(tree) is not None

    def test_chapters_of_the_source_are_kept_alone(self, put: Put, tree: Path, tmp_path: Path) -> None:
        text = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=20\ntitle=mine\n"
        (tmp_path / "chapters").write_text(text)
        own = f"-f ffmetadata -i {tmp_path / 'chapters'} -map 0 -map_chapters 1"
        put(f"{NAME}.mkv", f"{WALK} {own} {LARGE}")
        assert archive(tree).returncode == 0
        assert [title for *_, title in chapters_of(tree / "archived" / f"{NAME}.mp4")] == ["mine"]
        assert motion_of(tree)["spans"]

    def test_an_mp4_with_chapters_of_its_own_is_copied_unchanged(
        self, put: Put, tree: Path, tmp_path: Path
    ) -> None:
        text = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=20\ntitle=mine\n"
        (tmp_path / "chapters").write_text(text)
        own = f"-f ffmetadata -i {tmp_path / 'chapters'} -map 0 -map_chapters 1"
        content = put(f"{NAME}.mp4", f"{WALK} {own} {LARGE}").read_bytes()
        assert archive(tree).returncode == 0
        assert journal(tree)[0]["unencoded"] == "other-streams"
        assert (tree / "archived" / f"{NAME}.mp4").read_bytes() == content

    def test_an_archive_without_a_journal_is_adopted_with_its_motion(self, put: Put, tree: Path) -> None:
        put(f"{NAME}.mp4", f"{WALK} {LARGE}")
        assert archive(tree, "--keep-source").returncode == 0
        path = tree / "archived" / f"{NAME}.mp4"
        before, spans = path.read_bytes(), motion_of(tree)["spans"]
        shutil.rmtree(tree / "archived/.camarchiver/journal")
        assert archive(tree, "--keep-source").returncode == 0
        assert motion_of(tree, "adopted")["spans"] == spans
        assert path.read_bytes() == before
        assert strip_of(tree) is not None

    def test_a_damaged_archive_is_repaired_with_its_chapters(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        put(f"{NAME}.mp4", f"{WALK} {LARGE}")
        assert archive(tree).returncode == 0
        path = tree / "archived" / f"{NAME}.mp4"
        chapters = chapters_of(path)
        path.write_bytes(path.read_bytes()[:-100])
        told("verify", tree, "--repair", "-y")
        assert chapters_of(path) == chapters != []
        assert told("verify", tree, "--full").returncode == 0

    @pytest.mark.parametrize(
        "script",
        [
            "exit 1",
            'echo "something is odd" >&2; exec "$REAL" "$@"',
            '"$REAL" "$@" && "$REAL" -v 8 -i "$last" -c copy -t 3 -f mp4 "$last.x" && mv "$last.x" "$last"',
            'touch "$last"',
        ],
        ids=["fails", "says-something", "shortens", "writes-nothing"],
    )
    def test_an_archive_whose_chapters_fail_is_published_without(
        self, put: Put, tree: Path, tmp_path: Path, script: str
    ) -> None:
        odd = tmp_path / "odd-ffmpeg"
        odd.write_text(
            f"#!/bin/bash\nREAL={FFMPEGS['embedded']}\nfor last; do :; done\nlast=${{last#file:}}\n"
            f'case "$*" in *ffmetadata*)\n{script}\n;; *) exec "$REAL" "$@" ;; esac\n'
        )
        odd.chmod(0o755)
        put(f"{NAME}.mp4", f"{WALK} {LARGE}")
        assert archive(tree, "--ffmpeg", odd).returncode == 0
        path = tree / "archived" / f"{NAME}.mp4"
        assert chapters_of(path) == []
        assert motion_of(tree)["spans"]
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_a_cache_that_cannot_be_written_costs_no_archive(self, put: Put, tree: Path) -> None:
        put(f"{NAME}.mp4", f"{STILL} {LARGE}")
        (tree / "archived/.camarchiver").mkdir(parents=True)
        (tree / "archived/.camarchiver/cache").write_text("in the way")
        assert archive(tree).returncode == 0
        assert (tree / "archived" / f"{NAME}.mp4").is_file()
        assert strip_of(tree) is None

    def test_both_files_of_a_dead_run_are_swept(self, put: Put, tree: Path) -> None:
        source = put(f"{NAME}.mp4", f"{STILL} {LARGE}")
        folder, state = tree / "archived/2026/03/01", tree / "archived/.camarchiver"
        folder.mkdir(parents=True)
        (state / "claims").mkdir(parents=True)
        staged = [f".REO_front_20260301081500.{token * 16}.staged.mp4" for token in "ab"]
        for name in staged:
            (folder / name).write_bytes(b"unfinished")
        note = {
            "clip": f"{NAME}.mp4",
            "size": source.stat().st_size,
            "mtime_ns": START * 10**9,
            "start": "2026-03-01T08:15:00+00:00",
            "camera": "front",
            "sidecars": [],
            "host": "elsewhere",
            "pid": 1,
            "run": "r",
            "staged": f"2026/03/01/{staged[0]}",
            "staged_again": f"2026/03/01/{staged[1]}",
        }
        (state / "claims/0123456789abcdef.json").write_text(json.dumps(note))
        assert archive(tree).returncode == 0
        assert [each.name for each in folder.iterdir()] == ["REO_front_20260301081500.mp4"]


MOVING = ClipMotion((MotionSpan(1, 3, ("gate",)), MotionSpan(5, 9)))
SHORT = ClipMotion((MotionSpan(1, 2, ("door", "gate")),), unsure=True)
QUIET = ClipMotion()
UNSURE = ClipMotion(unsure=True)


def labelled() -> Iterator[tuple[Path, bool]]:
    """Each labelled clip, and whether something happens in it."""
    for folder in ("motion", "motion2"):
        events = FOOTAGE / folder / "events.json"
        if events.is_file():
            for each in json.loads(events.read_text()).values():
                yield events.parent / each["file"], bool(each["events"])


class TestLater:
    """Clips that were archived without a score."""

    def test_the_journal_tells_how_far_their_packets_are_trusted(self, put: Put, tree: Path) -> None:
        put(f"{NAME}.mp4", f"{STILL} {LARGE}")
        assert archive(tree, "--keep-source").returncode == 0
        trees = Trees(tree, tree / "archived", tree / ".deleted")
        (day,) = [Journal(trees.state).day(date(2026, 3, 1))]
        (made, *_) = day.events
        clip = day.ledger.origin(made).clip(tree)
        thumbnails.clear(trees.state)
        writer = JournalWriter(Journal(trees.state), RunId("r", "page", "h"), lambda: made.at)
        for file, is_encoded, is_quiet in (
            (tree / f"{NAME}.mp4", False, False),
            (trees.archive / f"{NAME}.mp4", True, True),
        ):
            one = ClipWithoutThumbnails(clip, file, is_encoded)
            assert make_missing(trees, writer, [one], seconds=60, stop=threading.Event()).made == 1
            motion = (
                Journal(trees.state)
                .day(date(2026, 3, 1))
                .ledger.motion[clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns]
            )
            assert motion.is_quiet is is_quiet


class TestRecall:
    """No clip in which something happens counts as quiet."""

    NOISY = "-f lavfi -i smptebars=s=320x240:r=15:d=22,noise=alls=3:allf=t:all_seed=1"
    BRIEF = (
        '-f lavfi -i "smptebars=s=320x240:r=15:d=22[b];testsrc2=s=30x60:r=15:d=22[o];[b][o]overlay='
        "x='500*(t-12)':y=90:enable='between(t,12,12.6)',noise=alls=3:allf=t:all_seed=1\""
    )
    """Somebody crosses the picture in half a second, between two keyframes of the archive."""

    @pytest.mark.parametrize("codec", ["av1", "h264"])
    def test_half_a_second_between_two_keyframes_is_seen(self, put: Put, tree: Path, codec: str) -> None:
        put(f"{NAME}.mp4", f"{self.BRIEF} {LARGE}")
        assert archive(tree, "--codec", codec).returncode == 0
        motion = motion_of(tree)
        assert motion != {}
        if codec == "av1":
            (span,) = motion["spans"]
            assert (span["start"], span["end"]) == pytest.approx((12, 12.6), abs=0.3)

    def test_noise_alone_is_quiet(self, put: Put, tree: Path) -> None:
        put(f"{NAME}.mp4", f"{self.NOISY} {LARGE}")
        assert archive(tree).returncode == 0
        assert motion_of(tree) == {}

    @pytest.mark.slow
    @pytest.mark.skipif(not FOOTAGE.is_dir(), reason="there are no labelled clips on this machine")
    @pytest.mark.parametrize(("clip", "happens"), [*labelled()], ids=lambda value: getattr(value, "stem", ""))
    def test_of_the_labelled_clips(self, tree: Path, clip: Path, happens: bool) -> None:
        copy = tree / f"{NAME}{clip.suffix}"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(clip, copy)
        os.utime(copy, (START, START))
        assert archive(tree).returncode == 0
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert not (happens and line["motion"] == {})


class TestFinding:
    """`find --motion`."""

    @pytest.fixture
    def clips(self, yard: Yard) -> dict[str, Clip]:
        """A clip with much motion, one with little, and some without."""
        found = {}
        for days, (name, motion) in enumerate(
            {"much": MOVING, "little": SHORT, "quiet": QUIET, "unsure": UNSURE, "unknown": None}.items(), 2
        ):
            found[name] = yard.record(days)
            yard.archive(found[name], motion=motion)
        return found

    def found(self, told: Command, yard: Yard, *options: str) -> list[dict[str, Any]]:
        clips: list[dict[str, Any]] = json.loads(
            told("find", yard.trees.source, "--motion", "--json", *options).stdout
        )["clips"]
        return clips

    def test_the_longest_motion_comes_first(self, yard: Yard, clips: dict[str, Clip], told: Command) -> None:
        found = self.found(told, yard)
        assert [each["source"] for each in found] == [clips["much"].relative, clips["little"].relative]
        assert found[1]["motion"] == {
            "seconds": 1,
            "spans": [{"start": 1, "end": 2, "zones": ["door", "gate"]}],
            "unsure": True,
        }
        listed = told("find", yard.trees.source, "--motion").stdout.splitlines()
        assert [line.split(" in motion")[0].strip() for line in listed] == ["6 s", "1 s"]

    def test_a_zone_selects_and_sorts(self, yard: Yard, clips: dict[str, Clip], told: Command) -> None:
        assert [each["source"] for each in self.found(told, yard, "--zone", "door")] == [
            clips["little"].relative
        ]
        assert [each["source"] for each in self.found(told, yard, "--zone", "gate")] == [
            clips["much"].relative,
            clips["little"].relative,
        ]

    def test_other_options_narrow_it(self, yard: Yard, clips: dict[str, Clip], told: Command) -> None:
        assert self.found(told, yard, "--since", f"{clips['much'].start:%Y-%m-%d %H:%M}")[0]["source"] == (
            clips["much"].relative
        )
        assert self.found(told, yard, "--camera", "yard") == []

    def test_it_says_what_is_known_of_the_others(
        self, yard: Yard, clips: dict[str, Clip], told: Command, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text('[camera.front]\nzone = "garage=0,0 1,0 1,1"\n')

        def of(name: str, *more: object) -> str:
            first = clips[name].start
            times = [f"{first + timedelta(minutes=each):%Y-%m-%d %H:%M}" for each in (-1, 1)]
            words = ("--motion", "--since", times[0], "--until", times[1], "--config", config)
            said = told("find", yard.trees.source, *words, *more)
            assert said.returncode == ExitCode.FAILED
            return said.stderr

        assert "1 clip: it is not certain whether anything moves" in of("unsure")
        assert "OpenCV" not in of("unsure") + of("quiet")
        assert "1 clip: nothing moves" in of("quiet")
        assert "1 clip: nothing looked for motion: " in of("unknown")
        assert "1 clip: motion in other parts of the picture" in of("much", "--zone", "garage")
        nothing = told("find", yard.trees.source, "--motion", "--since", f"{yard.now:%Y-%m-%d}")
        assert "there is no clip at all" in nothing.stderr

    def test_without_motion_all_are_listed_with_what_is_known(
        self, yard: Yard, clips: dict[str, Clip], told: Command
    ) -> None:
        listed = json.loads(told("find", yard.trees.source, "--json").stdout)["clips"]
        motion = {each["source"]: each["motion"] for each in listed}
        assert motion[clips["quiet"].relative] == {"seconds": 0, "spans": [], "unsure": False}
        assert motion[clips["unknown"].relative] is None

    def test_a_zone_that_no_camera_has_is_named(
        self, yard: Yard, clips: dict[str, Clip], told: Command, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text('[camera.front]\nzone = "gate=0,0 1,0 1,1"\n')
        said = told("find", yard.trees.source, "--motion", "--zone", "gaet", "--config", config)
        assert said.returncode == ExitCode.FAILED
        assert "no camera has a zone gaet (zones in the config: gate); did you mean gate?" in said.stderr
        assert told("find", yard.trees.source, "--zone", "gate").returncode == ExitCode.USAGE


class TestQuietAge:
    """`cleanup --quiet-age`."""

    def planned(self, yard: Yard, **fields: Any) -> CleanupPlan:
        limits = replace(cleanup_policy().limits, quiet_age=timedelta(days=14))
        policy = replace(cleanup_policy(), limits=limits, allow_large=True, **fields)
        return planner.plan(yard.pipeline(), policy, list_all=False)

    def test_only_clips_that_are_surely_quiet_leave_early(self, yard: Yard) -> None:
        quiet = yard.record(20)
        yard.archive(quiet, motion=QUIET)
        for days, motion in ((21, MOVING), (22, UNSURE), (23, None)):
            yard.archive(yard.record(days), motion=motion)
        yard.archive(yard.record(13), motion=QUIET)
        yard.standing(1)
        plan = self.planned(yard)
        assert [(step.reason, step.relative) for step in plan.steps] == [(Reason.QUIET_AGE, quiet.relative)]
        assert yard.carry_out(plan).exit_code == 0
        assert not quiet.path.exists()
        plan = self.planned(yard, clean_output=True)
        assert [(step.reason, step.relative) for step in plan.steps] == [
            (Reason.QUIET_ARCHIVE_AGE, quiet.relative)
        ]
        assert yard.carry_out(plan).exit_code == 0

    def test_motion_that_is_found_between_plan_and_removal_stops_it(self, yard: Yard) -> None:
        quiet = yard.record(20)
        yard.archive(quiet, motion=QUIET)
        yard.standing(1)
        plan = self.planned(yard)
        yard.writer(yard.now).scored(quiet, SHORT)
        (outcome,) = yard.carry_out(plan).outcomes
        assert (outcome.result, quiet.path.exists()) == (Result.STALE, True)

    def test_a_camera_has_its_own(self, yard: Yard, told: Command, tmp_path: Path) -> None:
        for camera in ("front", "yard"):
            yard.archive(yard.record(20, camera), motion=QUIET)
            yard.standing(1, camera)
        config = tmp_path / "config.toml"
        config.write_text("[camera.yard]\nquiet_age = 14\n")
        # The command goes by the real clock, which may be weeks ahead of the yard's.
        words = ("cleanup", yard.trees.source, "--dry-run", "--json", "--allow-large", "--config", config)
        words += ("--age", "1000")
        steps = json.loads(told(*words).stdout)["steps"]
        assert [step["camera"] for step in steps if step["reason"] == "quiet-age"] == ["yard"]
        steps = json.loads(told(*words, "--quiet-age", "14").stdout)["steps"]
        assert sorted(step["camera"] for step in steps if step["reason"] == "quiet-age") == ["front", "yard"]


class TestPicturesOfRemovedClips:
    """The cache keeps no thumbnails of clips that were removed for good."""

    @pytest.fixture
    def old(self, yard: Yard) -> Clip:
        clip = yard.record(40)
        yard.archive(clip)
        yard.standing(1)
        thumbnails.write(yard.trees.state, StripKey.of_clip(clip), STRIP, JPEG)
        return clip

    def has_pictures(self, yard: Yard, clip: Clip) -> bool:
        return thumbnails.read(yard.trees.state, StripKey.of_clip(clip)) is not None

    def test_a_source_that_leaves_its_archive_keeps_them(self, yard: Yard, old: Clip) -> None:
        assert yard.carry_out(yard.plan(delete=True, allow_large=True)).exit_code == 0
        assert not old.path.exists()
        assert self.has_pictures(yard, old)

    def test_the_last_copy_takes_them_along(self, yard: Yard, old: Clip) -> None:
        yard.carry_out(yard.plan(delete=True, allow_large=True))
        yard.carry_out(yard.plan(delete=True, allow_large=True, clean_output=True))
        assert not self.has_pictures(yard, old)

    def test_no_pictures_are_older_than_the_hard_limit(self, yard: Yard, old: Clip) -> None:
        old.path.unlink()
        (yard.trees.archive / old.relative).unlink()
        yard.carry_out(yard.plan(max_age_hard=41, allow_large=True))
        assert self.has_pictures(yard, old)
        yard.carry_out(yard.plan(max_age_hard=38, allow_large=True))
        assert not self.has_pictures(yard, old)
