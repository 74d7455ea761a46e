"""Pages in a real browser, written by the installed command."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from camarchiver.errors import ExitCode
from tests import dates
from tests.clips import MakeClip
from tests.commands import COMMAND, installed
from tests.page.sites import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

COMMON = "-f lavfi -i testsrc2=s=320x240:r=10:d=6 -g 10 -pix_fmt yuv420p"
HEVC = f"{COMMON} -c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1"
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
    clip, hevc = make_clip(f"{COMMON} -c:v libx264 -preset ultrafast"), make_clip(HEVC)
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

    def test_pictures_are_shown_and_lead_into_the_clip(self, place: Place, page: Page) -> None:
        page.goto(day_of(place))
        # Of a clip that was archived, and of one that the page found without pictures.
        for at in ("08:20:00", "20:00:00"):
            card = f"document.getElementById('t={at}')"
            page.locator(f"li[id='t={at}']").scroll_into_view_if_needed()
            until(page, f"{card}.querySelector('.strip img')?.naturalWidth > 300")
        button = page.locator("li[id='t=14:20:00'] .strip")
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
        page.mouse.click(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
        until(page, f"{VIDEO}.src.includes('142000') && {VIDEO}.currentTime > 2")

    def test_clips_that_are_gone_have_a_story_and_no_player(
        self, page: Page, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        place = Place(tmp_path, make_clip(f"{COMMON} -c:v libx264 -preset ultrafast"), make_clip(HEVC))
        for path in [*place.root.rglob("REO_front door_*142000.mp4"), *place.root.rglob("REO_yard_*.mp4")]:
            path.unlink()
        place.write()
        page.goto(day_of(place) + "#t=14:20:03")
        page.locator("#trouble").wait_for()
        words = "no copy is left, and no line of the journal says why"
        assert words in (page.locator("#trouble").text_content() or "")
        card = page.locator("li[id='t=14:20:00']")
        assert [button.text_content() for button in card.get_by_role("button").all()] == ["Journal"]
        card.get_by_role("button").click()
        card.locator(".story li").nth(1).wait_for()
        page.keyboard.press("ArrowUp")
        until(page, f"{VIDEO}.src.includes('082000') && {VIDEO}.readyState >= 2")
        page.keyboard.press("ArrowDown")
        until(page, f"{VIDEO}.src.includes('152000') && {VIDEO}.readyState >= 2")
        assert page.locator("#trouble").is_hidden()
        page.goto(day_of(place, "yard"))
        assert page.locator("#player").is_hidden()

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
        page.goto(index_of(place))
        # A name of one word stays on its line.
        name = page.locator("tbody th", has_text="yard").first.bounding_box()
        assert name is not None and name["height"] < 50


class TestAccessible:
    """For people who see little, use no mouse, or print."""

    @pytest.fixture(params=["light", "dark"])
    def scheme(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(params=[360, 1440])
    def width(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    def view(self, browser: Browser, scheme: str, width: int) -> Iterator[Page]:
        """A page into which axe may be put."""
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        yield context.new_page()
        context.close()

    @staticmethod
    def pages(place: Place) -> Iterator[str]:
        yield index_of(place)
        yield day_of(place).replace(f"{place.day:%Y-%m-%d}", f"{place.day:%Y-%m}")
        yield day_of(place)
        yield day_of(place) + "#t=20:00"  # can't be played, so the player says why
        yield day_of(place) + "#t=14:20:02"

    def test_axe_finds_nothing(self, place: Place, view: Page) -> None:
        axe = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="axe is not installed"
        ).Axe()
        for each in self.pages(place):
            view.goto("about:blank")
            view.goto(each)
            if "#t=20" in each:
                view.locator("#trouble").wait_for()
            for button in view.get_by_role("button", name="Journal").all():
                button.click()
            found = axe.run(view)
            assert found.violations_count == 0, (each, found.generate_report())
            # Footage has no captions, and the contrast of what lies over the film can't be computed.
            unsure = {check["id"] for check in found.response["incomplete"]}
            assert unsure <= {"color-contrast", "video-caption"}, each

    def test_every_drawing_stands_out(self, place: Place, view: Page) -> None:
        view.goto(day_of(place))
        ground = view.evaluate("getComputedStyle(document.querySelector('svg.day')).backgroundColor")
        kinds = view.evaluate(DRAWN)
        assert {"archive", "source", "trash", "offsite", "gone", "held", "failed", "damaged"} <= kinds.keys()
        for kind, (fill, edge) in kinds.items():
            if kind in ("motion", "held", "failed", "damaged"):
                # Drawn over footage; some have an edge of their own.
                assert contrast(edge or fill, kinds["archive"][0]) >= 3, kind
                assert not (edge and fill) or contrast(fill, edge) >= 3, kind
            else:
                assert contrast(fill or edge, ground) >= 3, kind

    def test_print_shows_clips_on_white_and_no_controls(self, place: Place, view: Page, scheme: str) -> None:
        view.goto(day_of(place))
        view.emulate_media(media="print", color_scheme=scheme)
        view.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        for hidden in ("#player", "nav"):
            assert view.locator(hidden).is_hidden()
        controls = view.locator("button:not(.strip), input, select")
        assert not any(control.is_visible() for control in controls.all())
        cards = view.locator("ol.clips > li")
        assert cards.count() == 4
        for card in cards.all():
            assert card.is_visible()
            assert card.locator(".notes").count() >= 1
            for text in card.locator("a, span, b, .notes").all():
                assert contrast(text.evaluate("e => getComputedStyle(e).color"), "rgb(255, 255, 255)") >= 4.5
        view.goto(index_of(place))
        assert view.locator("#go").is_hidden()
        assert view.locator(".camera").first.is_visible()


DRAWN = """() => Object.fromEntries([...document.querySelectorAll('.legend svg')].map((svg) => {
  const path = [...svg.querySelectorAll('path')].pop(), kind = path.getAttribute('class');
  const style = getComputedStyle(kind === 'gap' ? document.querySelector('#gap rect') : path);
  return [kind, [style.fill, style.stroke].map((each) => each === 'none' ? '' : each)];
}))"""
"""The colours of each kind in the legend: of its area and its edge."""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours without transparency (WCAG 2.2, "contrast ratio")."""

    def luminance(colour: str) -> float:
        parts = [float(each) / 255 for each in re.findall(r"[\d.]+", colour)[:3]]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


class TestKeyboard:
    """Without a mouse."""

    @staticmethod
    def tab_to(page: Page, what: str) -> None:
        """Press Tab until the focus is there; it is always to be seen."""
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({json.dumps(what)})"):
                width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
                assert width >= 2, what
                return
        raise AssertionError(f"{what} can't be reached")

    def test_a_moment_is_found_and_played(self, place: Place, page: Page) -> None:
        page.goto(index_of(place))
        self.tab_to(page, "select[name=camera]")
        page.keyboard.type("front door")
        self.tab_to(page, "input[name=day]")
        page.fill("input[name=day]", f"{place.day:%Y-%m-%d}")
        self.tab_to(page, "input[name=time]")
        page.fill("input[name=time]", "14:20")
        self.tab_to(page, "#go button")
        page.keyboard.press("Enter")
        page.wait_for_url("**/*#t=14:20*")
        until(page, f"{VIDEO}.readyState >= 2 && {VIDEO}.src.includes('142000')")
        self.tab_to(page, "#play")
        page.keyboard.press("Enter")
        until(page, f"!{VIDEO}.paused && {VIDEO}.currentTime > 0.2")
        page.keyboard.press(" ")
        until(page, f"{VIDEO}.paused")
        self.tab_to(page, "#scrub")
        at = page.evaluate(f"{VIDEO}.currentTime")
        page.keyboard.press("ArrowRight")
        until(page, f"{VIDEO}.currentTime > {at} + 4")
        self.tab_to(page, "li[id='t=08:20:00'] .buttons button[aria-expanded]")
        page.keyboard.press("Enter")
        page.locator("li[id='t=08:20:00'] .story li").first.wait_for()

    def test_every_control_has_a_name(self, place: Place, page: Page) -> None:
        for each in (index_of(place), day_of(place)):
            page.goto(each)
            nameless = re.compile(
                r"^\s*- (button|link|combobox|slider|textbox|spinbutton|checkbox)\s*$", re.MULTILINE
            )
            snapshot = page.locator("body").aria_snapshot()
            assert "- button" in snapshot
            assert not nameless.findall(snapshot), snapshot


class Served:
    """A site that is served, and requests as a program sends them."""

    def __init__(self, place: Place, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = [str(COMMAND), "page", str(place.root), "--to", str(place.site)]
        self.process = subprocess.Popen(
            [*words, "--serve", f"127.0.0.1:{self.port}", *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("serving"):
                return
        raise AssertionError("it is not served")

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Served]:
    running = Served(place)
    yield running
    assert running.end() == 143


class TestServed:
    """Over HTTP."""

    def test_it_plays_and_seeks(self, place: Place, served: Served, page: Page) -> None:
        page.goto(f"http://127.0.0.1:{served.port}/")
        page.locator(".camera", has_text="front door").locator(".days a").first.click()
        page.wait_for_url("**/front-door*/*.html*")
        page.goto(page.url.partition("#")[0] + "#t=14:20:04")
        until(page, f"{VIDEO}.readyState >= 2 && Math.abs({VIDEO}.currentTime - 4) < 0.2")
        page.locator("#scrub").fill("1")
        until(page, f"!{VIDEO}.seeking && Math.abs({VIDEO}.currentTime - 1) < 0.2")

    def archive_of(self, place: Place) -> Path:
        return next((place.root / "archived").rglob("REO_yard_*.mp4"))

    def test_parts_of_a_clip(self, place: Place, served: Served) -> None:
        clip = self.archive_of(place)
        content, address = clip.read_bytes(), quote(str(clip))
        status, headers, body = served.ask(address, Range="bytes=10-19")
        assert (status, body) == (206, content[10:20])
        assert headers["content-range"] == f"bytes 10-19/{len(content)}"
        assert headers["content-type"] == "video/mp4"
        assert served.ask(address, Range="bytes=-7")[2] == content[-7:]
        assert served.ask(address, Range=f"bytes={len(content)}-")[0] == 416
        status, headers, body = served.ask(address, "HEAD")
        assert (status, headers["content-length"], body) == (200, str(len(content)), b"")
        assert served.ask(address)[2] == content
        index = served.ask(quote(str(place.site / "index.html")))
        assert index[0] == 200
        assert "script-src 'self'" in index[1]["content-security-policy"]
        assert index[1]["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
    def test_it_is_only_read(self, place: Place, served: Served, method: str) -> None:
        before = sorted(place.site.rglob("*"))
        assert served.ask(quote(str(place.site / "index.html")), method)[0] in (400, 405)
        assert sorted(place.site.rglob("*")) == before

    def test_nothing_else_is_served(self, place: Place, served: Served, tmp_path: Path) -> None:
        secret = tmp_path / "secret.mp4"
        secret.write_bytes(b"secret")
        day = place.root / f"{place.day:%Y/%m/%d}"
        (day / "REO_link_20260101000000.mp4").symlink_to(secret)
        (place.root / "elsewhere").symlink_to(tmp_path)
        (place.site / "link.html").symlink_to(secret)
        os.mkfifo(day / "REO_fifo_20260101000000.mp4")
        (day / "notes.txt").write_text("secret")
        state = place.root / "archived/.camarchiver"
        paths = [
            "/etc/passwd",
            str(secret),
            str(place.root),
            f"{place.root}/",
            f"{place.site}/",
            str(place.root / "archiver.log"),
            str(next(state.rglob("*.jsonl"))),
            str(place.site / ".camarchiver-page.json"),
            str(day / "notes.txt"),
            str(day / "REO_link_20260101000000.mp4"),
            str(day / "REO_fifo_20260101000000.mp4"),
            str(place.root / "elsewhere/secret.mp4"),
            str(place.site / "link.html"),
            f"{place.root}/../{place.root.name}/x/../../../../../etc/passwd",
            f"{place.site}/../{secret.relative_to(secret.parents[1])}",
            f"{place.root}//{place.day:%Y}/x.mp4",
            "//etc/passwd",
            "/%00",
            f"{place.root}/%2e%2e/%2e%2e/etc/passwd",
        ]
        for path in paths:
            status, _, body = served.ask(quote(path, safe="/%"))
            assert status == 404, path
            assert b"secret" not in body
            assert b"root:" not in body
        for path in (
            day / "REO_link_20260101000000.mp4",
            day / "REO_fifo_20260101000000.mp4",
            day / "notes.txt",
            place.root / "elsewhere",
            place.site / "link.html",
        ):
            path.unlink()

    def test_other_names_are_refused(self, place: Place, served: Served) -> None:
        index = quote(str(place.site / "index.html"))
        for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil"):
            assert served.ask(index, Host=name)[0] in (400, 403), name
        for name in (f"localhost:{served.port}", "127.0.0.1", f"[::1]:{served.port}"):
            assert served.ask(index, Host=name)[0] == 200, name

    def test_a_password_is_asked_for(self, place: Place, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("a-very-long-password\n")
        running = Served(place, "--token-file", str(token))
        index = quote(str(place.site / "index.html"))
        assert running.ask(index)[0] == 401
        for password, status in (("a-very-long-password", 200), ("a-very-long-passwor", 401), ("", 401)):
            value = base64.b64encode(f"me:{password}".encode()).decode()
            assert running.ask(index, Authorization=f"Basic {value}")[0] == status
        assert running.ask(index, Authorization="Basic !!!")[0] == 401
        assert running.ask(index, Authorization="Bearer a-very-long-password")[0] == 401
        assert running.end() == 143

    def test_what_others_could_read_is_refused(self, place: Place) -> None:
        done = installed("page", place.root, "--to", place.site, "--serve", "0.0.0.0:8080")
        assert (done.returncode, "--allow-remote" in done.stderr) == (ExitCode.USAGE, True), done

    def test_a_port_that_is_taken(self, place: Place, served: Served) -> None:
        done = installed("page", place.root, "--to", place.site, "--serve", f"127.0.0.1:{served.port}")
        assert (done.returncode, "can't be served" in done.stderr) == (ExitCode.STORAGE, True), done


class TestCommand:
    """The command line."""

    def test_it_says_where_the_first_page_is(self, place: Place) -> None:
        done = installed("page", place.root, "--to", place.site)
        assert done.stdout.splitlines()[-1] == f"open {place.site / 'index.html'}"

    def test_it_must_be_told_where_to_write(self, place: Place, tmp_path: Path) -> None:
        done = installed("page", place.root)
        assert (done.returncode, "--to FOLDER" in done.stderr) == (ExitCode.USAGE, True)
        config = tmp_path / "config.toml"
        config.write_text(f'[page]\nto = "{tmp_path / "other"}"\ncameras = ["yard"]\n')
        done = installed("page", place.root, "--config", config)
        assert done.returncode == 0, done
        assert [path.name for path in (tmp_path / "other/cameras").iterdir()] == ["yard"]

    def test_archive_writes_the_pages_afterwards(self, camera_tree: Path, tmp_path: Path) -> None:
        config, site = tmp_path / "config.toml", tmp_path / "the site"
        config.write_text("")
        words = ("archive", camera_tree, "--age", "1", "--page", "--json", "--config", config)
        assert installed(*words).returncode == ExitCode.USAGE
        config.write_text(f'[page]\nto = "{site}"\n')
        assert json.loads(installed(*words, "--dry-run").stdout)["dry_run"]
        assert not site.exists()
        done = installed(*words)
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"], found["page"]["clips"]) == (0, "done", 1)
        assert found["page"]["index"] == str(site / "index.html")
        assert list(site.glob("cameras/front/*.html"))

    @pytest.mark.parametrize("command", ["archive", "watch"])
    def test_where_no_page_can_be_written_nothing_is_archived(
        self, camera_tree: Path, tmp_path: Path, read_only: Path, command: str
    ) -> None:
        file, config = tmp_path / "file", tmp_path / "config.toml"
        file.write_text("no folder")
        others = tmp_path / "others"
        others.mkdir()
        (others / "index.html").write_text("somebody's")
        for site, words, code in (
            (file, "is no folder", 2),
            (file / "below", "is no folder", 2),
            (camera_tree / "page", "within each other", 2),
            (others, "no page was written there before", 2),
            (read_only / "page", f"{read_only} is read-only", 13),
        ):
            config.write_text(f'[page]\nto = "{site}"\n')
            done = installed(command, camera_tree, "--age", "1", "--page", "--config", config)
            assert (done.returncode, words in done.stderr) == (code, True), done
            assert not (camera_tree / "archived").exists()

    def test_watch_keeps_them_up_to_date(self, camera_tree: Path, tmp_path: Path) -> None:
        config, site = tmp_path / "config.toml", tmp_path / "site"
        config.write_text(f'[page]\nto = "{site}"\n[watch]\npage = true\n')
        running = subprocess.Popen(
            [str(COMMAND), "watch", str(camera_tree), "--age", "3650", "--config", str(config)],
            env={**os.environ, "TZ": "UTC"},
        )
        end = time.monotonic() + 60
        while not list(site.glob("cameras/front/*.html")):
            assert time.monotonic() < end
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 143

    def test_held_clips_get_copies_that_play(self, page: Page, make_clip: MakeClip, tmp_path: Path) -> None:
        root, site, start = tmp_path / "camera", tmp_path / "site", dates.midnight(3) + timedelta(hours=9)
        hevc = make_clip(HEVC)
        for camera in ("front", "yard"):
            path = root / f"{dates.clip_of(camera, start)}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(hevc, path)
            os.utime(path, (start.timestamp(),) * 2)
        words = ("page", root, "--to", site, "--playable")
        times = ("--from", f"{start:%Y-%m-%d}", "--to", f"{start:%Y-%m-%d}")
        held = installed("hold", "add", "-C", root, "--camera", "front", *times, "--reason", "x")
        assert held.returncode == 0, held
        assert installed(*words).returncode == 0
        (copy,) = (site / "playable").rglob("*.mp4")
        assert copy.stem == path.stem.replace("yard", "front")
        page.goto((site / f"cameras/front/{start:%Y-%m-%d}.html").as_uri() + "#t=09:00:02")
        until(page, f"{VIDEO}.videoWidth > 0 && Math.abs({VIDEO}.currentTime - 2) < 0.2")
        assert "/playable/" in page.evaluate(f"{VIDEO}.src")
        ident = json.loads(installed("hold", "list", "-C", root, "--json").stdout)["holds"][0]["id"]
        assert installed("hold", "remove", "-C", root, ident, "-y").returncode == 0
        assert installed(*words).returncode == 0
        assert not (site / "playable").exists()
        assert path.is_file()

    def test_held_clips_that_differ_in_their_suffix_alone_get_a_copy_each(
        self, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        root, site, start = tmp_path / "camera", tmp_path / "site", dates.midnight(3) + timedelta(hours=9)
        for suffix, tag in ((".mp4", " -tag:v hvc1"), (".mkv", "")):
            path = root / f"{dates.clip_of('front', start)}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(make_clip(HEVC.replace(" -tag:v hvc1", tag), suffix), path)
            os.utime(path, (start.timestamp(),) * 2)
        times = ("--from", f"{start:%Y-%m-%d}", "--to", f"{start:%Y-%m-%d}")
        assert installed("hold", "add", "-C", root, *times, "--reason", "x").returncode == 0
        for more in ((), ("--rebuild",)):
            assert installed("page", root, "--to", site, "--playable", *more).returncode == 0
            data = (site / f"cameras/front/{start:%Y-%m-%d}.js").read_text()
            playable = json.loads(data[data.index("{") : data.rindex("}") + 1])["playable"]
            assert len(set(playable.values())) == len(list((site / "playable").rglob("*.mp4"))) == 2

    def test_days_and_json(self, place: Place, tmp_path: Path) -> None:
        found = json.loads(
            installed("page", place.root, "--to", tmp_path / "few", "--days", "2", "--json").stdout
        )
        assert (found["days_written"], found["clips"], found["exit_code"]) == (0, 0, 0)
        assert found["index"] == str(tmp_path / "few/index.html")
        assert (tmp_path / "few/index.html").is_file()
