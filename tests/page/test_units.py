"""What the pages of a site are made of, without any file."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Disposal, Fingerprint, Tree, Trees
from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import RESTORE_GRACE, Failure, Memory, Restored
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import RemoveCopy
from camarchiver.errors import UsageError
from camarchiver.output.page.day_data import ClipLinks, removal_words, script
from camarchiver.output.page.timeline import gap_paths, layers, path_of
from camarchiver.page.clips import PageClip, PlannedRemoval
from camarchiver.page.server import Address
from camarchiver.page.site_folder import folder_of
from camarchiver.page.site_state import DaySummary, summary_of
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Limits, decide
from camarchiver.policy.removal_forecast import ForecastRemoval, RemovalForecast
from camarchiver.queries.find import ClipFile, FindState
from tests.page.sites import HOSTILE
from tests.values import NOW

DAY = timedelta(days=1)
TREES = Trees(Path("/camera"), Path("/camera/archived"), Path("/camera/.deleted"))


def a_copy(tree: Tree, age: float, *, archived: bool = True, trashed: float | None = None) -> Copy:
    start = NOW - timedelta(days=age)
    written = int(start.timestamp() * 1e9)
    clip = Clip(Path("/" + tree), "", "c.mp4", "front", start, Fingerprint(1, 2, 1000, written))
    entry = Archived("c.mp4", 1000, written, "d", "c.mp4", 300, remuxed=False)
    since = NOW - timedelta(days=trashed) if trashed is not None else None
    return Copy(clip, tree, "c.mp4", entry if archived else None, since=since, identity=(1000, written))


def a_page_clip(
    start: datetime, seconds: float | None, tree: Tree = Tree.ARCHIVE, hold: str = ""
) -> PageClip:
    file = ClipFile(f"/{tree}/c.mp4", tree, 300)
    states = frozenset((FindState(tree), *((FindState.HELD,) if hold else ())))
    return PageClip(
        "front", "c.mp4", start, seconds, states, (file,), (1000, 0), None, None, hold, "", "", (), ()
    )


class TestForecast:
    """When a copy goes is asked of the rules that remove it."""

    @given(
        tree=st.sampled_from((Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH)),
        age=st.floats(0, 2000),
        trashed=st.floats(0, 100),
        archived=st.booleans(),
        limits=st.tuples(st.integers(1, 400), st.integers(1, 2000), st.integers(0, 90)),
        hard=st.none() | st.integers(1, 3000),
        options=st.tuples(st.booleans(), st.booleans()),
    )
    def test_it_is_the_first_moment_at_which_the_rules_remove_it(
        self,
        tree: Tree,
        age: float,
        trashed: float,
        archived: bool,
        limits: tuple[int, int, int],
        hard: int | None,
        options: tuple[bool, bool],
    ) -> None:
        own = Limits(*(days * DAY for days in limits), max_age_hard=hard * DAY if hard else None)
        policy = CleanupPolicy(own, clean_output=options[0], unarchived=options[1])
        copy = a_copy(tree, age, archived=archived, trashed=trashed if tree is Tree.TRASH else None)
        found = RemovalForecast(policy, Memory(), {}, NOW).of(copy)
        moments = [NOW + timedelta(days=days) for days in (0, 1, 10, 100, 1000, 3100)]
        if found is None:
            assert not any(isinstance(decide(copy, policy, Memory(), {}, at), RemoveCopy) for at in moments)
            return
        step = decide(copy, policy, Memory(), {}, found.at)
        assert isinstance(step, RemoveCopy)
        assert (step.reason, step.disposal) == (found.reason, found.disposal)
        earlier = found.at - timedelta(seconds=1)
        assert found.at == NOW or not isinstance(decide(copy, policy, Memory(), {}, earlier), RemoveCopy)

    def test_what_was_restored_stays_for_its_grace(self) -> None:
        policy = CleanupPolicy(Limits(30 * DAY, 30 * DAY, 21 * DAY))
        copy = a_copy(Tree.SOURCE, 100)
        memory = Memory(restored={"c.mp4": Restored(1000, copy.identity[1], NOW - DAY)})
        found = RemovalForecast(policy, memory, {}, NOW).of(copy)
        assert found is not None
        assert found.at == NOW - DAY + RESTORE_GRACE

    def test_what_is_held_until_a_day_goes_then(self) -> None:
        policy = CleanupPolicy(Limits(30 * DAY, 400 * DAY, 21 * DAY))
        copy, until = a_copy(Tree.SOURCE, 100), NOW + 5 * DAY
        hold = Hold("h", copy.clip.start, copy.clip.start + DAY, until=until)
        found = RemovalForecast(policy, Memory(holds=(hold,)), {}, NOW).of(copy)
        assert found is not None and found.at == until
        for_ever = Memory(holds=(replace(hold, until=None),))
        assert RemovalForecast(policy, for_ever, {}, NOW).of(copy) is None

    def test_what_could_not_be_removed_goes_at_the_next_try(self) -> None:
        policy = CleanupPolicy(Limits(30 * DAY, 400 * DAY, 21 * DAY))
        copy = a_copy(Tree.SOURCE, 100)
        failure = Failure(1000, copy.identity[1], 1, NOW, Reason.KEPT_SOURCE, "read-only")
        found = RemovalForecast(policy, Memory(failures={"c.mp4": failure}), {}, NOW).of(copy)
        assert found is not None and found.at == failure.next_try

    def test_a_shared_archive_goes_when_the_last_of_its_clips_lets_it_go(self) -> None:
        own = {"yard": Limits(30 * DAY, 150 * DAY, 21 * DAY)}
        policy = CleanupPolicy(Limits(30 * DAY, 120 * DAY, 21 * DAY), own, clean_output=True)
        copy = a_copy(Tree.ARCHIVE, 100)
        other = structs.replace(copy, clip=structs.replace(copy.clip, camera="yard"), source="other.mp4")
        found = RemovalForecast(policy, Memory(), {}, NOW).of(structs.replace(copy, sharers=(other,)))
        assert found is not None and found.at == NOW + 50 * DAY

    def test_the_newest_clip_stays_until_there_is_a_newer_one(self) -> None:
        policy = CleanupPolicy(Limits(30 * DAY, 30 * DAY, 21 * DAY))
        copy = a_copy(Tree.SOURCE, 100)
        assert RemovalForecast(policy, Memory(), {"front": copy.clip.start}, NOW).of(copy) is None

    @pytest.mark.parametrize(
        ("at", "disposal", "words"),
        [
            (
                NOW,
                Disposal.TRASH,
                "the source goes to the trash by the next cleanup",
            ),
            (
                NOW + DAY,
                Disposal.DELETE,
                "the source is deleted from 2026-06-02 on",
            ),
        ],
    )
    def test_it_is_said_in_a_sentence(self, at: datetime, disposal: Disposal, words: str) -> None:
        removal = ForecastRemoval(at, disposal, Reason.AGE)
        said = removal_words(PlannedRemoval(Tree.SOURCE, removal), NOW)
        assert said == f"{words}: archived, and old enough"


class TestSummary:
    """One camera's day in runs of minutes."""

    def test_clips_that_touch_are_one_run(self) -> None:
        midnight = datetime(2026, 5, 3, tzinfo=UTC)
        clips = [
            a_page_clip(midnight + timedelta(minutes=10), 90.0),
            a_page_clip(midnight + timedelta(minutes=12), None),
            a_page_clip(midnight + timedelta(minutes=20, seconds=59), 2.0, Tree.SOURCE),
            a_page_clip(midnight + timedelta(hours=23, minutes=59), 120.0, hold="by hold x"),
        ]
        found = summary_of(clips)
        assert found.minutes == {"archive": (10, 3, 1439, 2), "source": (20, 2), "held": (1439, 2)}
        assert (found.clips, found.seconds, found.held) == (4, 212.0, 1)
        assert found.trees["archive"].clips == 3

    @given(st.lists(st.tuples(st.integers(0, 86_399), st.integers(0, 9000)), max_size=40))
    def test_every_minute_with_footage_is_in_exactly_one_run(self, spans: list[tuple[int, int]]) -> None:
        midnight = datetime(2026, 5, 3, tzinfo=UTC)
        found = summary_of(a_page_clip(midnight + timedelta(seconds=a), float(b)) for a, b in spans)
        runs = found.minutes.get("archive", ())
        shown = [m for a, n in zip(runs[::2], runs[1::2], strict=True) for m in range(a, a + n)]
        assert len(shown) == len(set(shown))
        wanted = {m for a, b in spans for m in range(a // 60, max(a // 60 + 1, -(-(a + b) // 60)))}
        assert set(shown) == wanted


class TestTimeline:
    """Drawings."""

    def test_runs_become_rectangles_within_the_day(self) -> None:
        assert path_of((10, 4, 20, 1, 1439, 5)) == "M10 0h4v24h-4zM20 0h3v24h-3zM1437 0h3v24h-3z"
        assert path_of((1445, 5)) == ""

    def test_layers_are_drawn_in_their_order(self) -> None:
        minutes = {"failed": (1, 1), "held": (1, 1), "source": (1, 1), "unknown": (1, 1)}
        assert [layer.kind for layer in layers(minutes)] == ["source", "held", "failed"]

    def test_a_pause_longer_than_the_cameras_own_is_a_gap(self) -> None:
        def summary(*runs: int) -> DaySummary:
            return DaySummary(1, 0.0, {}, {"archive": runs})

        days = {date(2026, 5, 3): summary(0, 600, 700, 740), date(2026, 5, 5): summary(120, 1320)}
        now = datetime(2026, 5, 5, 23, 0, tzinfo=UTC)
        found = gap_paths(days, None, timedelta(minutes=60), now)
        assert found == {
            date(2026, 5, 3): path_of((600, 100)),
            date(2026, 5, 4): path_of((0, 1440)),
            date(2026, 5, 5): path_of((0, 120)),
        }
        assert gap_paths(days, summary(0, 1440), timedelta(days=3), now) == {}

    def test_a_clip_that_reaches_into_the_month_covers_its_beginning(self) -> None:
        days = {date(2026, 5, 1): DaySummary(1, 0.0, {}, {"archive": (30, 1410)})}
        now = datetime(2026, 5, 2, tzinfo=UTC)
        before = DaySummary(1, 0.0, {}, {"archive": (1430, 40)})
        assert gap_paths(days, before, timedelta(minutes=10), now) == {}
        short = DaySummary(1, 0.0, {}, {"archive": (1420, 5)})
        assert gap_paths(days, short, timedelta(minutes=10), now) == {date(2026, 5, 1): path_of((0, 30))}


class TestHostileNames:
    """No name becomes an address, a path or code."""

    def test_a_cameras_folder_is_safe_and_its_own(self) -> None:
        names = (
            "front",
            "Front",
            "FRONT",
            "front door",
            "front-door",
            "",
            *HOSTILE,
            "x" * 300,
            "é",
            "e\u0301",
        )
        folders = [folder_of(name) for name in names]
        assert folders[0] == "front"
        assert len({each.lower() for each in folders}) == len(names)
        for each in folders:
            assert each.isascii()
            assert len(each) < 60
            assert not set(each) - set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
            assert each.strip(".") == each

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_link_leads_to_the_very_file(self, name: str) -> None:
        links = ClipLinks(Path("/srv/site"), TREES)
        link = links.of(ClipFile(f"/camera/archived/2026/{name}.mp4", Tree.ARCHIVE, 1))
        assert link.startswith("../../../../camera/archived/2026/")
        assert not set(link) & set("<>\"'#?&:;\\\n ")
        assert unquote_to_bytes(link).endswith(os.fsencode(f"/2026/{name}.mp4"))

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_script_holds_it_as_text(self, name: str) -> None:
        text = script("DATA", {"name": name})
        assert not set(text) & set("<>&\u2028")
        assert text.count("\n") == 1
        assert json.loads(text.removeprefix("window.DATA=").rstrip(";\n")) == {"name": name}


class TestServing:
    """Who may reach the server."""

    @pytest.mark.parametrize(
        ("text", "host", "port", "is_local"),
        [
            ("127.0.0.1:8080", "127.0.0.1", 8080, True),
            ("127.9.9.9:1", "127.9.9.9", 1, True),
            ("localhost:8080", "localhost", 8080, True),
            ("[::1]:8080", "::1", 8080, True),
            ("0.0.0.0:80", "0.0.0.0", 80, False),
            ("[::]:80", "::", 80, False),
            ("192.0.2.1:80", "192.0.2.1", 80, False),
            ("nas.example:80", "nas.example", 80, False),
            ("localhost.example:80", "localhost.example", 80, False),
        ],
    )
    def test_an_address_is_local_or_not(self, text: str, host: str, port: int, is_local: bool) -> None:
        address = Address.parse(text)
        assert (address.host, address.port, address.is_local) == (host, port, is_local)

    @pytest.mark.parametrize(
        "text", ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "a:0", "a:65536", "a:b", "a:²"]
    )
    def test_other_texts_are_no_address(self, text: str) -> None:
        with pytest.raises(UsageError, match="no address"):
            Address.parse(text)
