"""watch: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from camarchiver.archive import planner
from camarchiver.archive.workers import ArchiveWorkers
from camarchiver.domain.clip import Trees
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import ArchiveStep, Keep
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.runtime import systemd
from camarchiver.runtime.signals import Stop, WakePipe
from camarchiver.state import volume_marker
from camarchiver.storage import filesystems as storage_filesystems
from camarchiver.storage import locking
from camarchiver.storage.walk import Listing, TreeWalk
from camarchiver.watch.inotify import Arrival, Arrivals, EventsLost, Found, Moved, RootGone, Written
from camarchiver.watch.loop import Signals, Watcher
from tests import dates, programs
from tests.cameras import RECORDED
from tests.processes import wait_until
from tests.samples import mounted


def on_arrivals(arrivals: Arrivals, *, seconds: float = 5.0) -> list[Arrival]:
    """What the kernel tells until it falls silent for a moment."""
    heard: list[Arrival] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        new = list(arrivals.read())
        heard += new
        if heard and not new:
            break
        time.sleep(0.05)
    return heard


class TestArrivals:
    """inotify, on a real folder."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "camera/front").mkdir(parents=True)
        return tmp_path / "camera"

    @pytest.fixture
    def arrivals(self, root: Path) -> Iterator[Arrivals]:
        arrivals = Arrivals(root, frozenset((str(root / "archived"), str(root / ".deleted"))))
        assert arrivals.why_polled == ""
        list(arrivals.scan())
        yield arrivals
        arrivals.close()

    def test_a_rename_and_a_write_are_told_apart(self, root: Path, arrivals: Arrivals) -> None:
        (root / "front/.a.mp4").write_bytes(b"a")
        (root / "front/.a.mp4").rename(root / "front/a.mp4")
        (root / "b.mkv").write_bytes(b"b")
        os.link(root / "b.mkv", root / "front/c.mkv")
        heard = on_arrivals(arrivals)
        assert heard.count(Moved("front/a.mp4")) == 1
        assert set(heard) == {Moved("front/a.mp4"), Written("b.mkv"), Written("front/c.mkv")}

    @pytest.mark.parametrize(
        "name",
        [
            *(".hidden.mp4", ".clip.mp4.Ab3dE9", "clip.mp4.part", "clip.mp4.tmp", "clip.mp4.lock"),
            *("clip.jpg", "notes.txt", ".~tmp~/clip.mp4", "archived/clip.mp4", ".deleted/clip.mp4"),
        ],
    )
    def test_what_is_no_finished_clip_is_not_heard_of(
        self, root: Path, arrivals: Arrivals, name: str
    ) -> None:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        path.rename(path.with_name(path.name + ".x"))
        path.with_name(path.name + ".x").rename(path)
        (root / "last.mp4").write_bytes(b"x")
        assert set(on_arrivals(arrivals)) == {Written("last.mp4")}

    def test_what_was_put_into_a_new_folder_before_it_was_watched_is_found(
        self, root: Path, arrivals: Arrivals
    ) -> None:
        (root / "2026/03/01").mkdir(parents=True)
        (root / "2026/03/01/a.mp4").write_bytes(b"a")
        assert Found("2026/03/01", ("a.mp4",)) in on_arrivals(arrivals)
        (root / "2026/03/01/b.mp4").write_bytes(b"b")
        assert Written("2026/03/01/b.mp4") in on_arrivals(arrivals)

    def test_nothing_is_heard_of_another_tree(self, root: Path, arrivals: Arrivals) -> None:
        for name in ("yard/a.mp4", "yard/below/b.mp4"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"a")
        assert Found("yard", ("a.mp4",)) in on_arrivals(arrivals)
        (root / "yard/.camarchiver").mkdir()
        (root / "yard/.camarchiver/volume").write_text("0" * 32)
        assert [*arrivals.scan()] == []
        for name in ("yard/c.mp4", "yard/below/d.mp4", "last.mp4"):
            (root / name).write_bytes(b"x")
        assert set(on_arrivals(arrivals)) == {Written("last.mp4")}

    def test_a_clip_that_comes_between_the_watch_and_the_listing_is_heard_of(
        self, root: Path, arrivals: Arrivals, mocker: MockerFixture
    ) -> None:
        listed = TreeWalk.look

        def late(self: TreeWalk, folder: str, **how: Any) -> Listing:
            found = listed(self, folder, **how)
            (root / folder / "late.mp4").write_bytes(b"x")
            return found

        mocker.patch.object(TreeWalk, "look", late)
        (root / "new").mkdir()
        assert Written("new/late.mp4") in on_arrivals(arrivals)

    def test_a_flood_of_new_folders_loses_nothing(self, root: Path, arrivals: Arrivals) -> None:
        """Writers race the watches: 8 cameras, 60 new folders each, by rename and by write."""

        def fill(camera: int) -> None:
            for number in range(60):
                folder = root / f"cam{camera}/{number:03}"
                folder.mkdir(parents=True)
                (folder / ".a.mp4").write_bytes(b"x")
                (folder / ".a.mp4").rename(folder / "a.mp4")

        heard: set[str] = set()
        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(fill, camera) for camera in range(8)]
            deadline = time.monotonic() + 60
            while len(heard) < 480 and time.monotonic() < deadline:
                for arrival in arrivals.read():
                    if isinstance(arrival, Moved | Written):
                        heard.add(arrival.path)
                    elif isinstance(arrival, Found):
                        heard.update(f"{arrival.folder}/{name}" for name in arrival.names)
            for future in writing:
                future.result()
        assert len(heard) == 480

    def test_a_folder_that_is_renamed_is_known_by_its_new_name(self, root: Path, arrivals: Arrivals) -> None:
        (root / "front/sub").mkdir()
        (root / "front/sub/a.mp4").write_bytes(b"a")
        on_arrivals(arrivals)
        (root / "front").rename(root / "back")
        assert Found("back/sub", ("a.mp4",)) in on_arrivals(arrivals)
        (root / "back/sub/b.mp4").write_bytes(b"b")
        assert set(on_arrivals(arrivals)) == {Written("back/sub/b.mp4")}

    def test_a_folder_that_leaves_the_tree_is_not_heard_of_any_more(
        self, root: Path, arrivals: Arrivals, tmp_path: Path
    ) -> None:
        (root / "front").rename(tmp_path / "away")
        on_arrivals(arrivals, seconds=0.5)
        (tmp_path / "away/a.mp4").write_bytes(b"a")
        assert on_arrivals(arrivals, seconds=0.5) == []

    def test_a_removed_folder_is_forgotten(self, root: Path, arrivals: Arrivals) -> None:
        before = arrivals.watched
        (root / "2026/03/01").mkdir(parents=True)
        on_arrivals(arrivals, seconds=0.5)
        assert arrivals.watched == before + 3
        shutil.rmtree(root / "2026")
        assert on_arrivals(arrivals, seconds=0.5) == []
        assert arrivals.watched == before

    def test_dropped_events_are_told(
        self, root: Path, arrivals: Arrivals, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if queue > 50_000:
            pytest.skip(f"the queue here holds {queue} events")
        for number in range(queue // 2 + 10):
            (root / f"{number}.mp4").touch()
        assert EventsLost() in on_arrivals(arrivals)
        assert "max_queued_events" in caplog.text
        assert sum(len(found.names) for found in arrivals.scan()) == queue // 2 + 10

    def test_a_removed_root_is_told(self, root: Path, arrivals: Arrivals) -> None:
        shutil.rmtree(root)
        assert RootGone() in on_arrivals(arrivals)
        assert arrivals.has_moved()

    def test_an_unmounted_root_is_told(self, tmp_path: Path) -> None:
        for place in mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs"):
            arrivals = Arrivals(place, frozenset())
            list(arrivals.scan())
            assert not arrivals.has_moved()
            subprocess.run(["mount", "-t", "tmpfs", "over", str(place)], check=True)
            assert arrivals.has_moved()
            subprocess.run(["umount", str(place)], check=True)
            assert not arrivals.has_moved()
            subprocess.run(["umount", str(place)], check=True)
            assert RootGone() in on_arrivals(arrivals)
            arrivals.close()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)

    @pytest.mark.parametrize(("knob", "limit"), [("max_inotify_watches", 3), ("max_inotify_instances", 0)])
    def test_the_kernels_limits_name_the_setting_and_the_tree_is_listed_instead(
        self, root: Path, knob: str, limit: int, start_python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        for number in range(5):
            (root / f"{number}").mkdir()
            (root / f"{number}/a.mp4").touch()
        code = (
            "import sys; from pathlib import Path; from camarchiver.watch.inotify import Arrivals\n"
            f"Path('/proc/sys/user/{knob}').write_text('{limit}')\n"
            "arrivals = Arrivals(Path(sys.argv[1]), frozenset())\n"
            "print(len([found for found in arrivals.scan() if found.names]))\n"
            "print(arrivals.why_polled)"
        )
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "unshare" in done.stderr or "Permission" in done.stderr:
            pytest.skip(f"no user namespace here: {done.stderr.strip()[-200:]}")
        count, why = done.stdout.splitlines()
        name = knob.replace("inotify", "user")
        assert count == "5"
        assert f"fs.inotify.{name} " in why and f"sysctl -w fs.inotify.{name}=" in why

    def test_fuse_is_listed_instead(self, root: Path, tmp_path: Path) -> None:
        """The daemon may serve what others change."""
        programs.needs("bindfs")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse can't be opened here")
        place = tmp_path / "fuse"
        place.mkdir()
        done = subprocess.run(["bindfs", str(root), str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"bindfs can't mount here: {done.stderr.strip()}")
        try:
            (root / "front/a.mp4").touch()
            arrivals = Arrivals(place, frozenset())
            assert f"{place} is fuse" in arrivals.why_polled
            assert list(arrivals.scan()) == [Found("front", ("a.mp4",))]
            assert arrivals.watched == 0
            arrivals.close()
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


@dataclass
class Watched:
    """A watcher over a real tree whose jobs archive nothing: they note the clip and remove it."""

    root: Path
    pipeline: Pipeline
    signals: Signals
    answer: Callable[[ArchiveStep], Outcome | None]
    poll_seconds: float = 0.2
    quiet_seconds: float = 0.3
    jobs: int = 2
    seen: list[str] = field(default_factory=list)
    told: list[Outcome] = field(default_factory=list)
    thread: threading.Thread | None = None
    trouble: BaseException | None = None
    watcher: Watcher | None = None

    def start(self) -> Watched:
        volume_marker.mark(self.pipeline.trees)
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(seconds=self.quiet_seconds))
        self.watcher = Watcher(
            self.pipeline,
            policy,
            self.signals,
            systemd.Service({}),
            poll_seconds=self.poll_seconds,
            on_outcome=self.told.append,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        wait_until(lambda: (self.watcher and self.watcher._next_scan) or self.trouble, "the first scan")
        return self

    def _run(self) -> None:
        assert self.watcher is not None
        try:
            self.watcher.run(ArchiveWorkers(self.jobs, self._perform))
        except BaseException as error:
            self.trouble = error

    def _perform(self, step: ArchiveStep, share: int) -> Outcome:
        self.seen.append(step.relative)
        if (outcome := self.answer(step)) is not None:
            return outcome
        try:
            step.path.unlink()
        except FileNotFoundError:
            return Outcome(step, Result.STALE, Reason.STALE)
        return Outcome(step, Result.DONE, step.reason)

    def end(self) -> None:
        self.signals.stop.event.set()
        self.signals.wake.wake()
        if self.thread is not None:
            self.thread.join(30)
            assert not self.thread.is_alive()
        assert self.trouble is None, self.trouble

    def move_in(self, relative: str, *, mtime: float | None = None) -> Path:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(b"x")
        if mtime is not None:
            os.utime(hidden, (mtime, mtime))
        return hidden.rename(path)


def clip_name(second: int, camera: str = "front") -> str:
    return f"REO_{camera}_20240105{second // 3600:02}{second // 60 % 60:02}{second % 60:02}.mp4"


class TestWatcher:
    @pytest.fixture
    def watched(self, tmp_path: Path) -> Iterator[Watched]:
        root = tmp_path / "camera"
        (root / "front").mkdir(parents=True)
        pipeline = Pipeline(Trees(root, tmp_path / "archive", tmp_path / "trash"), UTC, "watch")
        signals = Signals(Stop(), threading.Event(), WakePipe())
        made = Watched(root, pipeline, signals, lambda step: None)
        yield made
        made.end()
        signals.wake.close()

    def test_what_stood_there_and_what_is_renamed_in_is_taken(self, watched: Watched) -> None:
        old = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        watched.quiet_seconds = 600
        watched.start()
        new = watched.move_in(f"front/{clip_name(2)}")
        wait_until(lambda: not old.exists() and not new.exists(), "both clips")
        assert watched.seen == [f"front/{clip_name(1)}", f"front/{clip_name(2)}"]

    def test_a_pausing_upload_is_taken_once_it_has_been_quiet(self, watched: Watched) -> None:
        watched.quiet_seconds = 2.5
        watched.start()
        path = watched.root / "front" / clip_name(1)
        for _ in range(5):
            with path.open("ab") as upload:
                upload.write(b"x")
            time.sleep(0.6)
            assert watched.seen == []
        last = time.time()
        wait_until(lambda: not path.exists(), "the clip")
        assert time.time() - last > 0.5
        assert len(watched.seen) == 1

    def test_an_open_writer_keeps_it_waiting(self, watched: Watched) -> None:
        watched.start()
        path = watched.root / "front" / clip_name(1)
        with path.open("wb") as upload:
            upload.write(b"x")
            upload.flush()
            wait_until(lambda: watched.watcher and len(watched.watcher.queue), "the look")
            time.sleep(1.0)
            assert watched.seen == []
        wait_until(lambda: not path.exists(), "the clip")

    def test_a_clip_that_fails_for_its_storages_sake_is_not_tried_in_a_loop(self, watched: Watched) -> None:
        watched.answer = lambda step: Outcome(step, Result.FAILED, Reason.FAILED, "I/O error")
        watched.start()
        path = watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: watched.told, "the failure")
        time.sleep(1.0)
        assert path.exists() and len(watched.seen) == 1

    def test_nothing_is_begun_for_a_while_where_there_is_no_room(self, watched: Watched) -> None:
        watched.jobs = 1
        watched.answer = lambda step: Outcome(step, Result.FAILED, Reason.NO_SPACE, "full")
        watched.start()
        for number in range(5):
            watched.move_in(f"front/{clip_name(number)}")
        wait_until(lambda: watched.told, "the failure")
        time.sleep(1.0)
        assert len(watched.seen) == 1

    def test_a_busy_clip_is_left_to_its_worker(self, watched: Watched) -> None:
        watched.start()
        with locking.clip_lock(watched.root / "front" / clip_name(1)):
            watched.move_in(f"front/{clip_name(1)}")
            free = watched.move_in(f"front/{clip_name(2)}")
            wait_until(lambda: not free.exists(), "the clip that is free")
        assert watched.seen == [f"front/{clip_name(2)}"]

    def test_clips_whose_journal_may_not_be_read_are_tried_again_and_all_is_not_well(
        self, watched: Watched, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        mocker.patch("camarchiver.watch.due_queue.TROUBLE_AGAIN", timedelta(seconds=1))
        refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/archive/05.jsonl")
        answers = iter((refused,))

        def decide_some(*arguments: Any) -> Iterator[ArchiveStep | Keep]:
            for error in answers:
                raise error
            return decided(*arguments)

        decided = planner.decide_some
        mocker.patch.object(planner, "decide_some", decide_some)
        watched.start()
        path = watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: "/archive/05.jsonl: Permission denied" in caplog.text, "the warning")
        assert watched.watcher is not None and not watched.watcher.is_well
        wait_until(lambda: not path.exists(), "the clip")

    def test_two_names_of_one_file_are_not_worked_on_at_once(self, watched: Watched) -> None:
        running, most = [], []

        def slow(step: ArchiveStep) -> None:
            running.append(step)
            most.append(len(running))
            time.sleep(0.3)
            running.pop()

        watched.answer = slow
        first = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        os.link(first, watched.root / "front" / clip_name(2))
        watched.start()
        wait_until(lambda: len(watched.told) == 2, "both names")
        assert most == [1, 1]

    def test_a_removed_root_is_waited_for(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.loop.AWAY_SECONDS", 0.2)
        watched.start()
        watched.root.rename(watched.root.with_name("elsewhere"))
        wait_until(lambda: "waiting until it is back" in caplog.text, "the warning")
        watched.root.mkdir()
        time.sleep(0.6)
        assert "is back" not in caplog.text.replace("waiting until it is back", "")
        watched.root.rmdir()
        watched.root.with_name("elsewhere").rename(watched.root)
        wait_until(lambda: f"{watched.root} is back" in caplog.text, "the return")
        path = watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: not path.exists(), "the clip")

    def test_an_unmounted_disk_is_waited_for(
        self, tmp_path: Path, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.loop.AWAY_SECONDS", 0.2)
        store = tmp_path / "store"
        store.mkdir()
        for place in mounted(watched.root, "--bind", str(store)):
            (place / "front").mkdir()
            watched.start()
            subprocess.run(["umount", "-l", str(place)], check=True)
            wait_until(lambda: "waiting until it is back" in caplog.text, "the warning")
            wrong = watched.move_in(f"front/{clip_name(1)}")
            time.sleep(0.6)
            assert wrong.exists()
            subprocess.run(["mount", "--bind", str(store), str(place)], check=True)
            wait_until(lambda: f"{watched.root} is back" in caplog.text, "the return")
            watched.move_in(f"front/{clip_name(2)}")
            wait_until(lambda: watched.told, "the clip")
        assert watched.seen == [f"front/{clip_name(2)}"]

    def test_a_filesystem_that_tells_nothing_is_polled_and_that_is_said_once(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(storage_filesystems.Mount, "reports_changes", False)
        watched.start()
        for number in range(3):
            path = watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
            wait_until(lambda path=path: not path.exists(), "the clip")
        assert caplog.text.count("does not report every change: scanning every 0.2 s instead") == 1

    def test_what_is_left_alone_is_not_looked_at_in_every_poll(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(storage_filesystems.Mount, "reports_changes", False)
        look = mocker.spy(planner, "decide_some")
        (watched.root / "front/no time.mp4").touch()
        watched.poll_seconds = 0.1
        watched.start()
        wait_until(lambda: look.call_count, "the look")
        time.sleep(1.0)
        assert look.call_count == 1
        path = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        wait_until(lambda: not path.exists(), "the clip")

    def test_a_reload_ends_it_when_its_jobs_are_done_and_hands_over_what_waits(
        self, watched: Watched
    ) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(step: ArchiveStep) -> None:
            begun.set()
            go.wait(20)

        watched.answer, watched.jobs = slow, 1
        for number in (1, 3, 4):
            watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
        watched.start()
        begun.wait(20)
        watched.signals.reload.set()
        watched.signals.wake.wake()
        late = watched.move_in(f"front/{clip_name(2)}")
        assert watched.watcher is not None and watched.thread is not None
        queue = watched.watcher.queue
        wait_until(lambda: len(queue), "the late clip's arrival")
        go.set()
        watched.thread.join(20)
        left = {due.path[-10:]: due.finished for due in queue.take(1e12, 9)}
        assert late.exists() and left == {"000002.mp4": True, "000003.mp4": False, "000004.mp4": False}

    def test_an_archive_whose_disk_went_away_is_waited_for(
        self, tmp_path: Path, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.loop.AWAY_SECONDS", 0.2)
        store = tmp_path / "store"
        store.mkdir()
        for place in mounted(tmp_path / "archive", "--bind", str(store)):
            watched.start()
            subprocess.run(["umount", "-l", str(place)], check=True)
            path = watched.move_in(f"front/{clip_name(1)}")
            wait_until(lambda: "is not what it was when the run began" in caplog.text, "the warning")
            time.sleep(0.5)
            assert path.exists() and not any((tmp_path / "archive").iterdir())
            subprocess.run(["mount", "--bind", str(store), str(place)], check=True)
            wait_until(lambda: watched.told, "the clip")
        assert watched.seen == [f"front/{clip_name(1)}"]

    def test_a_date_folder_that_its_clips_have_left_goes_once_nobody_fills_it(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.loop.RESCAN_SECONDS", 0.2)
        today = dates.folder_of(dates.now())
        folders = [watched.root / day for day in ("2024/01/04", "2024/01/05", "2024/01/06", today)]
        for folder in folders:
            folder.mkdir(parents=True)
        watched.start()
        for folder in folders[1:]:
            watched.move_in(str(folder.relative_to(watched.root) / clip_name(1)), mtime=RECORDED)
        wait_until(lambda: len(watched.told) == 3, "the clips")
        for folder in (folders[0], folders[1], folders[3]):
            os.utime(folder, (RECORDED, RECORDED))
        wait_until(lambda: not folders[1].exists(), "the folder's end")
        time.sleep(0.5)
        assert [folder.exists() for folder in folders] == [True, False, True, True]

    def test_a_name_that_is_used_again_while_its_clip_is_worked_on_is_not_forgotten(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.due_queue.AT_LEAST", timedelta(seconds=0.3))
        begun, go = threading.Event(), threading.Event()

        def slow(step: ArchiveStep) -> None:
            begun.set()
            go.wait(20)

        watched.answer = slow
        watched.start()
        path = watched.move_in(f"front/{clip_name(1)}")
        begun.wait(20)
        path.unlink()
        watched.move_in(f"front/{clip_name(1)}")
        time.sleep(0.5)
        watched.answer = lambda step: None
        go.set()
        wait_until(lambda: watched.told, "the first")
        watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: not path.exists() and len(watched.told) > 1, "the last")

    def test_thousands_of_clips_in_a_rush_are_all_taken(self, watched: Watched) -> None:
        """2,000 folders and 2,000 clips, or with CAMARCHIVER_FULL the 20,000 and 10,000 in a minute."""
        folders, clips = (20_000, 10_000) if os.environ.get("CAMARCHIVER_FULL") else (2_000, 2_000)
        for number in range(folders):
            (watched.root / f"cam{number // 1000}/{number % 1000:03}").mkdir(parents=True)
        watched.start()
        made = {f"cam{each % folders // 1000}/{each % 1000:03}/{clip_name(each)}" for each in range(clips)}
        begun = time.monotonic()
        for number, relative in enumerate(sorted(made)):
            watched.move_in(relative)
            if folders == 20_000 and (early := begun + number * 60 / clips - time.monotonic()) > 0:
                time.sleep(early)
        wait_until(lambda: len(watched.told) == clips, "the last clip", 120)
        assert set(watched.seen) == made and len(watched.seen) == clips
        watcher = watched.watcher
        assert watcher is not None and not (watcher.queue._heap or watcher._taken or watcher._steps)
        assert {outcome.result for outcome in watched.told} == {Result.DONE}

    def test_a_flood_that_overruns_the_kernels_queue_loses_nothing(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watch.loop.OVERFLOW_SECONDS", 0.1)
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if queue > 50_000:
            pytest.skip(f"the queue here holds {queue} events")
        gate = threading.Event()
        scan = Arrivals.read

        def held(arrivals: Arrivals) -> Iterator[Arrival]:
            gate.wait(60)
            yield from scan(arrivals)

        watched.start()
        mocker.patch.object(Arrivals, "read", held)
        clips = 200
        for number in range(clips):
            watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
            for each in range(queue // clips):
                (watched.root / f"front/{each}.tmp").touch()
                (watched.root / f"front/{each}.tmp").unlink()
        last = watched.move_in(f"front/{clip_name(clips)}", mtime=RECORDED)
        gate.set()
        wait_until(lambda: not last.exists() and len(watched.told) == clips + 1, "the last clip", 60)
        assert "the kernel dropped events" in caplog.text
