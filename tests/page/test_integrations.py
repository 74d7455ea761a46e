"""Sites on the real disk: what is written, and what is written again."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Clip
from camarchiver.domain.clocks import Clocks, parse_clock
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.motion import ClipMotion, MotionSpan
from camarchiver.domain.reason import Reason
from camarchiver.errors import AlreadyRunning, UsageError
from camarchiver.page import site_state
from camarchiver.page.serving import Address, ServeOptions
from camarchiver.page.site_folder import SiteFolder
from camarchiver.state import holds, thumbnails
from camarchiver.state.thumbnails import StripKey, ThumbnailStrip
from tests import dates
from tests.page.sites import HOSTILE, PageReader, days_of, value_of_script, write_site
from tests.yards import Yard, cleanup_policy


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def page_of(site: Path, camera: str, day: datetime) -> PageReader:
    return PageReader((site / f"cameras/{camera}/{day:%Y-%m-%d}.html").read_text())


def first_page(site: Path) -> str:
    """Without the free space, which other processes change."""
    text = (site / "index.html").read_text()
    return re.sub(r"free at .*? of |full in about [\d,]+ days|<svg class=.disk.*?</svg>", "", text)


def month_of(site: Path, clip: Clip) -> PageReader:
    return PageReader((site / f"cameras/front/{clip.start:%Y-%m}.html").read_text())


def notes_of(site: Path, clip: Clip) -> list[str]:
    """What the card of the first clip of a day says."""
    data = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.js")
    return [data["words"][number] for number in data["clips"][0][3]]


class TestContent:
    """What the pages say."""

    def test_every_copy_is_shown_with_what_becomes_of_it(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        yard.archive(clip)
        yard.given_away(60, 5)
        yard.record(1)
        done = write_site(yard, site)
        assert (done.days, done.cameras, done.clips) == (3, 1, 3)
        day = page_of(site, "front", clip.start)
        links = [link for link in day.links if link.endswith(".mp4")]
        assert links == [f"../../../cams/archived/{clip.relative}"]
        assert ((site / "cameras/front") / links[0]).resolve().is_file()
        data = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.js")
        notes = [data["words"][number] for number in data["clips"][0][3]]
        assert any(note.startswith("archived, encoded with x264; verified: ") for note in notes)
        assert "the source goes to the trash by the next cleanup: archived, and old enough" in notes
        story = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.story.js")
        lines = [story["words"][number] for _, number in story["stories"][0]]
        assert len(lines) == 2
        assert story["names"] == [clip.relative.removesuffix(".mp4")]
        month = PageReader((site / f"cameras/front/{clip.start:%Y-%m}.html").read_text())
        assert "to go by the next cleanup: archived, and old enough" in month.text

    def test_what_rules_by_size_remove_now_is_said_and_what_later_ones_may(
        self, yard: Yard, site: Path
    ) -> None:
        clips = [yard.standing(days) for days in (10, 9, 8)]
        rules = {"age": 365, "max_size": 34_000}
        write_site(yard, site, **rules)
        plan = yard.plan(**rules)
        assert {step.relative for step in plan.steps} == {clips[0].relative}
        goes = "the source is deleted by the next cleanup: over the size limit"
        assert goes in notes_of(site, clips[0])
        assert not any("size limit" in note for note in notes_of(site, clips[1]))
        assert "Rules by size may take clips earlier" in page_of(site, "front", clips[1].start).text
        assert "1 file to go by the next cleanup: over the size limit" in month_of(site, clips[0]).text
        text = PageReader((site / "index.html").read_text()).text
        assert "(max_size); 39.0 kB are used: the next cleanup removes what is too much" in text
        # Which days are concerned changes with the plan alone.
        (yard.trees.source / clips[2].relative).unlink()
        assert write_site(yard, site, **rules).days == 2
        assert goes not in notes_of(site, clips[0])
        text = PageReader((site / "index.html").read_text()).text
        assert "29.0 kB are used: " in text
        own = {"front": replace(cleanup_policy().limits, max_size=10**9)}
        write_site(yard, site, min_free=1000, cameras_own=own)
        text = PageReader((site / "index.html").read_text()).text
        assert "1.0 kB stay free at " in text
        assert "front's files together have at most 1.0 GB (max_size); 29.0 kB are used: beyond that" in text
        write_site(yard, site, age=365)
        assert "Rules by size" not in page_of(site, "front", clips[1].start).text

    def test_a_cleanup_that_would_be_refused_is_no_forecast(self, yard: Yard, site: Path) -> None:
        clips = [yard.record(days) for days in range(40, 60)]
        rules = {"max_size": 20_000, "unarchived": True}
        assert yard.plan(**rules).refused is not None
        write_site(yard, site, **rules)
        assert "the next cleanup would change nothing: " in (site / "index.html").read_text()
        assert not any("size limit" in note for note in notes_of(site, clips[-1]))

    def test_clips_that_are_gone_are_shown_as_such(self, yard: Yard, site: Path) -> None:
        clip = yard.standing(60)
        other = yard.record(60 - 1 / 24)
        write_site(yard, site)
        rules = {"clean_output": True, "delete": False}
        yard.carry_out(yard.plan(**rules))
        assert write_site(yard, site).days == 1
        # What lies in the trash came there by the real clock.
        yard.now = dates.now() + timedelta(days=22)
        yard.carry_out(yard.plan(**rules))
        assert write_site(yard, site).days == 1
        assert not [path for path in yard.files() if clip.name in path]
        day = page_of(site, "front", clip.start)
        assert [link for link in day.links if link.endswith(".mp4")] == [f"../../../cams/{other.relative}"]
        assert "1 clip; 1 gone" in day.text
        (note,) = notes_of(site, clip)
        day = r"\(?[-0-9]{10}\)?"
        assert sorted(re.sub(day, "", note).split("; ")) == sorted(
            ["gone since : archived, and old enough ", "archive past its age ", "long enough in the trash "]
        )
        story = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.story.js")
        assert len(story["stories"][0]) >= 4
        assert "1 clip gone: archive" in month_of(site, clip).text
        assert 'class="gone" d="M' in (site / f"cameras/front/{clip.start:%Y-%m}.html").read_text()
        other.path.unlink()
        write_site(yard, site)
        assert "0 clips; 1 gone" in page_of(site, "front", clip.start).text

    def test_a_clip_that_somebody_deleted_is_gone_without_a_reason(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        archived = yard.archive(clip)
        clip.path.unlink()
        (yard.trees.archive / archived.archive).unlink()
        write_site(yard, site)
        unknown = ["gone: no copy is left, and no line of the journal says why"]
        assert notes_of(site, clip) == unknown
        # Archiving is no reason for which a clip is gone.
        yard.given_away(20, 5).unlink()
        gone = yard.trees.archive.rglob("REO_front_*.mp4")
        for path in gone:
            path.unlink()
        write_site(yard, site)
        other = structs.replace(clip, start=clip.start + timedelta(days=20))
        assert notes_of(site, other) == unknown

    def test_off_site_copies_are_shown(self, yard: Yard, site: Path) -> None:
        proved, lost, none = (yard.standing(days) for days in (40, 41, 42))
        yard.copy(proved, "b2:cameras")
        yard.copy(lost, "b2:cameras", is_lost=True)
        write_site(yard, site, remote="b2:cameras")
        assert f"off-site copy at b2:cameras, verified on {yard.now:%Y-%m-%d}" in notes_of(site, proved)
        assert "off-site copy at b2:cameras lost" in notes_of(site, lost)
        assert "no off-site copy at b2:cameras" in notes_of(site, none)
        assert "1 with an off-site copy" in month_of(site, proved).text
        text = PageReader((site / "index.html").read_text()).text
        assert "off-site at b2:cameras: a verified copy of 1 of 3 archives" in text
        assert "1 off-site copy at b2:cameras lost" in text
        proved.path.unlink()
        (yard.trees.archive / proved.relative).unlink()
        write_site(yard, site, remote="b2:cameras")
        assert "only off-site: camarchiver restore --from-offsite brings it back" in notes_of(site, proved)
        assert not [link for link in page_of(site, "front", proved.start).links if link.endswith(".mp4")]
        assert "gone" not in "".join(notes_of(site, proved))

    def test_the_first_page_has_the_totals_of_all_days(self, yard: Yard, site: Path) -> None:
        for days in (40, 400, 800):
            yard.archive(yard.record(days))
        write_site(yard, site)
        text = PageReader((site / "index.html").read_text()).text
        assert "front 30.0 kB 9.0 kB" in text
        assert "the whole archive was never verified" in text
        days = value_of_script(site / "days.js")
        assert sum(count for _, count in days["front"]["days"]) == 3

    def test_holds_failures_and_damage_are_marked(self, yard: Yard, site: Path) -> None:
        clip = yard.standing(40)
        end = clip.start + timedelta(minutes=5)
        holds.add(yard.trees.state, clip.start, end, camera="front", reason="<b>burglary", until=None)
        yard.find_damaged(clip.relative)
        write_site(yard, site)
        text = page_of(site, "front", clip.start).text
        assert "held damaged" in text
        assert "b" not in [t for t in page_of(site, "front", clip.start).tags if t == "b"][2:]
        data = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.js")
        assert any("burglary" in word for word in data["words"])
        # The source is the better copy to look at.
        assert any(
            link.endswith(clip.relative) and "archived" not in link
            for link in page_of(site, "front", clip.start).links
        )

    def test_a_clip_is_on_the_day_of_its_corrected_clock(self, yard: Yard, site: Path) -> None:
        wrong = yard.record(9000)
        right = wrong.start + timedelta(days=8990)
        os.utime(wrong.path, (right.timestamp(),) * 2)
        yard.record(10)
        write_site(yard, site)
        assert len(days_of(site, "front")) == 2
        yard.clocks = Clocks({"front": parse_clock("mtime")})
        write_site(yard, site)
        assert days_of(site, "front") == [f"{right:%Y-%m-%d}"]
        assert len(value_of_script(site / f"cameras/front/{right:%Y-%m-%d}.js")["clips"]) == 2
        assert write_site(yard, site).days == 0
        wrong.path.unlink()
        assert write_site(yard, site).days == 1
        assert len(value_of_script(site / f"cameras/front/{right:%Y-%m-%d}.js")["clips"]) == 1

    def test_cameras_and_days_can_be_chosen(self, yard: Yard, site: Path) -> None:
        for days, camera in ((1, "front"), (1, "yard"), (20, "front")):
            yard.record(days, camera)
        write_site(yard, site)
        since = (yard.now - timedelta(days=5)).date()
        assert write_site(yard, site, since=since).removed == 1
        assert len(days_of(site, "front")) == 1
        assert write_site(yard, site).days == 1
        write_site(yard, site, cameras=frozenset({"front"}))
        assert days_of(site, "yard") == []
        assert "yard" not in (site / "index.html").read_text()

    def test_no_name_becomes_markup(self, yard: Yard, site: Path) -> None:
        names = [each for each in HOSTILE if "/" not in each]
        for number, name in enumerate(names):
            start = yard.now - timedelta(days=3, hours=number)
            path = yard.trees.source / f"REO_{name}_{start:%Y%m%d%H%M%S}.mp4"
            path.write_bytes(b"x" * 3000)
            os.utime(path, (start.timestamp(),) * 2)
        write_site(yard, site)
        pages = sorted(site.rglob("*.html"))
        assert len(pages) > 2 * len(names)
        for each in pages:
            read = PageReader(each.read_text())
            assert read.handlers == []
            assert {tag for tag in read.tags if tag in ("img", "iframe", "object")} == set()
            assert read.tags.count("script") <= 3
            assert all(":" not in link.partition("#")[0] for link in read.links)
        for each in site.rglob("*.js"):
            if each.parent.name != "assets":
                value_of_script(each)
        assert all(each.is_relative_to(site) for each in (p.resolve() for p in site.rglob("*")))


Change = Callable[[Yard], object]


class TestIncrements:
    """Only what has changed is written again."""

    def test_nothing_changes_nothing_is_written(self, yard: Yard, site: Path) -> None:
        yard.standing(40)
        yard.given_away(60, 5)
        write_site(yard, site)
        before = {path: path.stat().st_mtime_ns for path in site.rglob("20*")}
        done = write_site(yard, site, yard.now + timedelta(minutes=5))
        assert (done.days, done.removed, done.clips) == (0, 0, 2)
        assert {path: path.stat().st_mtime_ns for path in site.rglob("20*")} == before

    def test_each_change_writes_its_day_alone(self, yard: Yard, site: Path) -> None:
        clips = [yard.record(days) for days in (40, 50, 60, 70)]
        gone, minute_after = yard.archive(clips[3]), clips[2].start + timedelta(minutes=1)
        write_site(yard, site)
        changes: tuple[Change, ...] = (
            lambda _: yard.record(2),
            lambda _: yard.archive(clips[0]),
            lambda _: (yard.trees.archive / gone.archive).unlink(),
            lambda _: holds.add(
                yard.trees.state, clips[2].start, minute_after, camera="", reason="x", until=None
            ),
            lambda _: os.utime(clips[1].path, (1, 1)),
        )
        for number, change in enumerate(changes):
            change(yard)
            assert write_site(yard, site).days == 1, number
            assert write_site(yard, site).days == 0, number

    def test_a_day_without_clips_loses_its_page_and_its_month(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        yard.record(1)
        write_site(yard, site)
        clip.path.unlink()
        done = write_site(yard, site)
        assert (done.days, done.removed) == (0, 1)
        assert not list(site.rglob(f"{clip.start:%Y-%m}*"))

    def test_another_policy_writes_all_again(self, yard: Yard, site: Path) -> None:
        yard.standing(40)
        write_site(yard, site)
        assert write_site(yard, site, age=90).days == 1

    @pytest.mark.parametrize(
        "damage", [b"", b"{", b'{"version": 0}', b'{"version": 3, "journals": {"x": 1}}']
    )
    def test_a_state_that_can_not_be_understood_is_made_again(
        self, yard: Yard, site: Path, damage: bytes
    ) -> None:
        yard.standing(40)
        write_site(yard, site)
        (site / site_state.FILE).write_bytes(damage)
        assert write_site(yard, site).days == 1

    def test_a_changed_style_is_put_right(self, yard: Yard, site: Path) -> None:
        yard.record(40)
        write_site(yard, site)
        style = site / "assets/page.css"
        text = style.read_text()
        style.write_text("")
        assert write_site(yard, site).days == 0
        assert style.read_text() == text

    def test_what_was_interrupted_is_made_up_for(self, yard: Yard, site: Path) -> None:
        yard.standing(40)
        write_site(yard, site)
        yard.standing(50)
        shutil.copy(site / site_state.FILE, site / "saved")
        write_site(yard, site)
        (site / "saved").replace(site / site_state.FILE)
        assert write_site(yard, site).days == 1

    def test_what_a_killed_run_left_unfinished_goes(self, yard: Yard, site: Path) -> None:
        write_site(yard, site)
        left = site / ".index.0123456789abcdef.staged.html"
        left.write_text("<")
        write_site(yard, site)
        assert not left.exists() and not list(site.rglob("*.staged*"))

    def test_the_trees_are_only_read(self, yard: Yard, site: Path) -> None:
        yard.standing(40)
        before = {path: path.lstat().st_mtime_ns for path in sorted(yard.trees.source.rglob("*"))}
        write_site(yard, site)
        after = {path: path.lstat().st_mtime_ns for path in sorted(yard.trees.source.rglob("*"))}
        assert before == after


class TestKnownFolders:
    """Of a folder of the source that is as it was only the entries are read."""

    @pytest.fixture
    def examined(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        folders: list[str] = []
        examine = Discovery._facts

        def noted(self: Discovery, folder: str, *args: Any) -> FolderFacts:
            folders.append(folder)
            return examine(self, folder, *args)

        monkeypatch.setattr(Discovery, "_facts", noted)
        return folders

    def test_they_are_not_examined_again(self, yard: Yard, site: Path, examined: list[str]) -> None:
        clips = [yard.record(days) for days in (3, 20, 40)]
        write_site(yard, site)
        examined.clear()
        write_site(yard, site)
        assert examined == []
        clips[1].path.write_bytes(b"another clip, in place")
        assert write_site(yard, site).days == 1
        assert examined == [clips[1].folder]
        assert "22 B" in page_of(site, "front", clips[1].start).text
        examined.clear()
        # A line in the journal concerns the day, whose clips are then read again.
        yard.archive(clips[2])
        assert write_site(yard, site).days == 1
        assert examined == [clips[2].folder]

    def test_the_first_page_is_what_a_rebuild_makes(self, yard: Yard, site: Path) -> None:
        for days in (0.01, 0.1, 1, 3, 5, 9, 13.5, 13.9, 14.1, 20, 30):
            yard.record(days)
        for days in range(40, 60):
            yard.record(days, "stopped")
        for halves in (4, *range(20, 60)):
            yard.record(halves / 2, "paused")
        wrong = yard.record(25)
        os.utime(wrong.path, (yard.now.timestamp() - 3600,) * 2)
        (yard.trees.source / "no time.mp4").write_bytes(b"x")
        write_site(yard, site, yard.now - timedelta(hours=30))
        for minutes in (0, 7, 13 * 60, 12 * 24 * 60):
            now = yard.now + timedelta(minutes=minutes)
            write_site(yard, site, now)
            refreshed = first_page(site)
            assert "stopped: no new clip, although one usually comes every" in refreshed
            assert "1 clip whose clock is doubtful" in refreshed
            assert minutes > 24 * 60 or "paused: nothing from" in refreshed
            write_site(yard, site, now, rebuild=True)
            assert first_page(site) == refreshed, minutes

    def test_a_day_that_an_interrupted_run_left_out_is_written(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        write_site(yard, site)
        state = site_state.read(site)
        state.journals.clear()
        state.cameras.clear()
        site_state.write(site, state)
        shutil.rmtree(site / "cameras")
        assert write_site(yard, site).days == 1
        assert days_of(site, "front") == [f"{clip.start:%Y-%m-%d}"]

    def test_a_failure_of_a_clip_is_shown(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        write_site(yard, site)
        failures = yard.pipeline().failures
        failures.note(clip, Reason.DAMAGED, "x", yard.now)
        failures.flush()
        assert write_site(yard, site).days == 1
        assert "failed" in page_of(site, "front", clip.start).text

    def test_a_hold_that_lapses_is_not_shown_any_more(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        until = yard.now + timedelta(days=1)
        end = clip.start + timedelta(minutes=1)
        holds.add(yard.trees.state, clip.start, end, camera="", reason="x", until=until)
        write_site(yard, site)
        is_held = page_of(site, "front", clip.start).text.count("held")
        assert write_site(yard, site, until + timedelta(minutes=1)).days == 1
        assert page_of(site, "front", clip.start).text.count("held") == is_held - 1


class TestFolder:
    """Where a site may be written."""

    @pytest.mark.parametrize("below", [".", "page", "archived/page", ".deleted", ".."])
    def test_not_within_a_tree_nor_around_one(self, yard: Yard, below: str) -> None:
        with pytest.raises(UsageError, match="within each other"):
            SiteFolder((yard.trees.source / below).resolve(), yard.trees)

    def test_not_over_the_files_of_somebody_else(self, yard: Yard, site: Path) -> None:
        site.mkdir()
        (site / "index.html").write_text("mine")
        with pytest.raises(UsageError, match="not empty"):
            write_site(yard, site)
        assert (site / "index.html").read_text() == "mine"

    def test_two_runs_at_once_do_not_mix(self, yard: Yard, site: Path) -> None:
        folder = SiteFolder(site, yard.trees)
        with folder.alone(), pytest.raises(AlreadyRunning):
            write_site(yard, site)

    def test_others_may_read_it(self, yard: Yard, site: Path) -> None:
        yard.record(3)
        write_site(yard, site)
        assert all(path.stat().st_mode & 0o444 == 0o444 for path in site.rglob("*.html"))


def test_a_thousand_clips_a_day_fit_into_a_small_page(yard: Yard, site: Path) -> None:
    day = (yard.now - timedelta(days=40)).replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(1000):
        start = day + timedelta(seconds=86 * number)
        path = yard.trees.source / f"{start:%Y/%m/%d}/REO_front_door_{start:%Y%m%d%H%M%S}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 3000)
        os.utime(path, (start.timestamp(),) * 2)
        yard.archive(yard.clip(path, "front_door", start.astimezone(UTC)), 1000)
    write_site(yard, site)
    folder = site / "cameras/front_door"
    loaded = [folder / f"{day:%Y-%m-%d}{ending}" for ending in (".html", ".js")]
    assert sum(path.stat().st_size for path in loaded) < 300_000
    assert (folder / f"{day:%Y-%m}.html").stat().st_size < 100_000


class TestPictures:
    """Thumbnails of clips, from the cache."""

    JPEG = b"\xff\xd8\xff\xdb\x00\x04ab\xff\xd9"

    def see(self, yard: Yard, clip: Clip) -> Path:
        strip = ThumbnailStrip(320, 180, (0.0, 2.5, 5.0))
        return thumbnails.write(yard.trees.state, StripKey.of_clip(clip), strip, self.JPEG)

    def test_they_are_linked_into_the_site(self, yard: Yard, site: Path) -> None:
        clip = yard.standing(40)
        cached = self.see(yard, clip)
        write_site(yard, site)
        folder = site / "cameras/front/pictures" / f"{clip.start:%Y-%m-%d}"
        (picture,) = folder.iterdir()
        assert picture.name == f"{clip.start:%H%M%S}.jpg"
        assert picture.samefile(cached)
        data = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.js")
        assert data["clips"][0][4:] == [[], [320, 180, 0.0, 2.5, 5.0]]

    def test_later_ones_write_their_day_again(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        yard.record(50)
        write_site(yard, site)
        self.see(yard, clip)
        assert write_site(yard, site).days == 1
        assert len(list(site.rglob("*.jpg"))) == 1

    def test_they_go_with_their_clip(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        yard.record(50)
        self.see(yard, clip)
        write_site(yard, site)
        clip.path.unlink()
        write_site(yard, site)
        assert not list(site.rglob("*.jpg"))
        assert not list(site.glob("cameras/front/pictures/*"))

    def test_on_another_disk_they_are_copied(self, yard: Yard, other_disk: Path) -> None:
        clip = yard.record(40)
        cached = self.see(yard, clip)
        write_site(yard, other_disk / "site")
        (picture,) = (other_disk / "site").rglob("*.jpg")
        assert picture.read_bytes() == cached.read_bytes()

    def test_motion_is_drawn_and_counted(self, yard: Yard, site: Path) -> None:
        clip = yard.record(40)
        yard.archive(clip)
        spans = (MotionSpan(1.0, 4.0), MotionSpan(8.0, 9.5))
        yard.writer(clip.start).scored(clip, ClipMotion(spans))
        write_site(yard, site)
        data = value_of_script(site / f"cameras/front/{clip.start:%Y-%m-%d}.js")
        assert data["clips"][0][4] == [[1.0, 4.0], [8.0, 9.5]]
        assert "motion for 4 s" in data["words"]
        month = (site / f"cameras/front/{clip.start:%Y-%m}.html").read_text()
        assert 'class="motion" d="M' in month
        assert "motion for 4 s" in month


class TestServing:
    """Who may reach the server, by the file with its password."""

    @pytest.mark.parametrize(
        ("address", "allow_remote", "token", "words"),
        [
            ("0.0.0.0:80", False, None, "other machines"),
            ("0.0.0.0:80", False, "long-enough-to-guess", "other machines"),
            ("0.0.0.0:80", True, None, "needs a password"),
            ("0.0.0.0:80", True, "short", "too short"),
            ("127.0.0.1:80", False, "short", "too short"),
        ],
    )
    def test_what_anybody_could_read_is_refused(
        self, tmp_path: Path, address: str, allow_remote: bool, token: str | None, words: str
    ) -> None:
        file = tmp_path / "token"
        file.write_text(token or "")
        options = ServeOptions(Address.parse(address), allow_remote, file if token is not None else None)
        with pytest.raises(UsageError, match=words):
            options.check()

    def test_what_only_those_can_read_who_may_is_served(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("long-enough-to-guess\n")
        assert ServeOptions(Address.parse("127.0.0.1:80"), False, None).check() == ""
        assert ServeOptions(Address.parse("0.0.0.0:80"), True, file).check() == "long-enough-to-guess"
