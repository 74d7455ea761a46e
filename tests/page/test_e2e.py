"""Pages in a real browser, written by the installed command."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import dates
from tests.clips import MakeClip
from tests.commands import installed
from tests.page.sites import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VIDEO = "document.getElementById('video')"


class Place:
    """A tree with archived clips, and the site that shows it."""

    def __init__(self, root: Path, clip: Path, other: Path) -> None:
        self.root, self.site = root / "camera", root / "a site"
        self.day = dates.midnight(40)
        for hour, camera in ((8, "front door"), (14, "front door"), (15, "front door"), (8, "yard")):
            self.put(clip, camera, self.day + timedelta(hours=hour, minutes=20))
        self.archived = installed("archive", self.root, "--age", "1", "--preset", "12")
        self.put(other, "front door", self.day + timedelta(hours=20))
        for number, name in enumerate(each for each in HOSTILE if "/" not in each):
            self.put(clip, name, self.day + timedelta(hours=number))

    def put(self, clip: Path, camera: str, start: datetime) -> None:
        path = self.root / f"{start:%Y/%m/%d}" / f"REO_{camera}_{start:%Y%m%d%H%M%S}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
        os.utime(path, (start.timestamp(),) * 2)

    def write(self, *options: str) -> dict[str, Any]:
        done = installed("page", self.root, "--to", self.site, "--json", *options)
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == 0, done
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_clip: MakeClip) -> Place:
    common = "-f lavfi -i testsrc2=s=320x240:r=10:d=6 -g 10 -pix_fmt yuv420p"
    clip = make_clip(f"{common} -c:v libx264 -preset ultrafast")
    hevc = make_clip(f"{common} -c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1")
    made = Place(tmp_path_factory.mktemp("page"), clip, hevc)
    assert made.archived.returncode == 0, made.archived
    made.write()
    return made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose mistakes fail the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security" in message.text else None,
    )
    yield opened
    context.close()
    assert errors == []


def until(page: Page, condition: str) -> None:
    """Wait until a condition holds. Playwright's own waiting evaluates text, which the pages forbid."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.evaluate("document.body.innerText")[:500])
        page.wait_for_timeout(50)


def index_of(place: Place) -> str:
    return (place.site / "index.html").as_uri()


def day_of(place: Place, camera: str = "front-door") -> str:
    (folder,) = (place.site / "cameras").glob(f"{camera}*")
    return (folder / f"{place.day:%Y-%m-%d}.html").as_uri()


class TestFromDisk:
    """Without any server."""

    def test_a_moment_is_found_played_and_sought(self, place: Place, page: Page) -> None:
        page.goto(index_of(place))
        page.select_option("select[name=camera]", label="front door")
        page.fill("input[name=day]", f"{place.day:%Y-%m-%d}")
        page.fill("input[name=time]", "14:20:03")
        page.click("text=Show")
        page.wait_for_url("**/*#t=14:20:03")
        until(page, f"{VIDEO}.readyState >= 2 && Math.abs({VIDEO}.currentTime - 3) < 0.2")
        assert "/archived/" in page.evaluate(f"{VIDEO}.src")
        page.keyboard.press("Space")
        until(page, f"{VIDEO}.currentTime > 3.4")
        page.keyboard.press("Space")
        until(page, f"{VIDEO}.paused && location.hash >= '#t=14:20:03'")
        page.locator("#scrub").fill("1.5")
        until(page, f"!{VIDEO}.seeking && Math.abs({VIDEO}.currentTime - 1.5) < 0.2")
        assert page.locator("#clock").text_content() == "14:20:01 (2 of 6 s)"
        page.keyboard.press("ArrowRight")
        until(page, f"{VIDEO}.currentTime > 5")
        page.select_option("#speed", "4")
        assert page.evaluate(f"{VIDEO}.playbackRate") == 4

    def test_arrows_change_the_clip_and_one_follows_the_other(self, place: Place, page: Page) -> None:
        page.goto(day_of(place) + "#t=08:20:05")
        until(page, f"{VIDEO}.readyState >= 2 && {VIDEO}.currentTime > 4.5")
        page.keyboard.press("ArrowDown")
        until(page, f"{VIDEO}.src.includes('142000')")
        page.keyboard.press("ArrowUp")
        until(page, f"{VIDEO}.src.includes('082000') && {VIDEO}.readyState >= 2")
        page.evaluate(f"{VIDEO}.currentTime = 5.5")
        page.keyboard.press("Space")
        until(page, f"{VIDEO}.src.includes('142000') && !{VIDEO}.paused")

    def test_what_browsers_can_not_play_is_offered_as_a_file(self, place: Place, page: Page) -> None:
        page.goto(day_of(place) + "#t=20:00")
        trouble = page.locator("#trouble")
        trouble.wait_for()
        assert "HEVC" in (trouble.text_content() or "")
        assert "200000.mp4" in (trouble.locator("a").get_attribute("href") or "")

    def test_a_card_tells_the_story_and_gives_the_path(self, place: Place, page: Page) -> None:
        page.goto(day_of(place))
        card = page.locator("li[id='t=14:20:00']")
        assert "less)" in (card.text_content() or "")
        assert "verified: " in (card.text_content() or "")
        card.locator("text=Journal").click()
        card.locator(".story li").nth(2).wait_for()
        story = card.locator(".story").text_content() or ""
        assert "recorded by camera front door" in story
        assert f"REO_front door_{place.day:%Y%m%d}142000" in story
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        card.locator("text=Copy path").click()
        card.locator("text=Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert Path(copied).is_file()

    def test_without_javascript_clips_are_links(self, place: Place, browser: Browser) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(index_of(place))
        page.locator(".camera", has_text="front door").locator(".days a").first.click()
        assert page.locator("#player").is_hidden()
        links = page.locator("ol.clips a")
        assert links.count() == 4
        page.goto(page.url + "#t=14")
        link = links.nth(1).get_attribute("href") or ""
        assert (place.site / "cameras/x" / link.replace("%20", " ")).resolve().is_file()
        context.close()

    def test_no_name_runs(self, place: Place, page: Page) -> None:
        pages = [place.site / "index.html", *sorted((place.site / "cameras").glob("*/*.html"))]
        assert len(pages) > 30
        for each in pages:
            page.goto(each.as_uri())
            assert page.evaluate("window.pwned") is None, each
            if page.locator("#clips").count():
                until(page, f"{VIDEO}.readyState >= 1 || {VIDEO}.error")
                assert page.locator(".buttons").count() >= 1
        assert not (place.site / "pwned").exists()

    @pytest.mark.parametrize("width", [360, 1440])
    def test_nothing_is_wider_than_the_screen(self, place: Place, page: Page, width: int) -> None:
        page.set_viewport_size({"width": width, "height": 740})
        month = day_of(place).replace(f"{place.day:%Y-%m-%d}", f"{place.day:%Y-%m}")
        for each in (index_of(place), month, day_of(place)):
            page.goto(each)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


class TestCommand:
    """The command line."""

    def test_it_says_where_the_first_page_is(self, place: Place) -> None:
        done = installed("page", place.root, "--to", place.site)
        assert done.stdout.splitlines()[-1] == f"open {place.site / 'index.html'}"

    def test_it_must_be_told_where_to_write(self, place: Place, tmp_path: Path) -> None:
        done = installed("page", place.root)
        assert (done.returncode, "--to FOLDER" in done.stderr) == (2, True)
        config = tmp_path / "config.toml"
        config.write_text(f'[page]\nto = "{tmp_path / "other"}"\ncameras = ["yard"]\n')
        done = installed("page", place.root, "--config", config)
        assert done.returncode == 0, done
        assert [path.name for path in (tmp_path / "other/cameras").iterdir()] == ["yard"]

    def test_days_and_json(self, place: Place, tmp_path: Path) -> None:
        found = json.loads(
            installed("page", place.root, "--to", tmp_path / "few", "--days", "2", "--json").stdout
        )
        assert (found["days_written"], found["clips"], found["exit_code"]) == (0, 0, 0)
        assert found["index"] == str(tmp_path / "few/index.html")
        assert (tmp_path / "few/index.html").is_file()
