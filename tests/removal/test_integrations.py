"""removal: files that cannot leave their folder, for every command that removes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from camarchiver.archive import recovery
from camarchiver.archive.source_removal import SidecarPolicy
from camarchiver.cleanup import offsite_restore, restore
from camarchiver.cleanup.offsite_restore import OffsiteRestorer
from camarchiver.cleanup.restore import Selection
from camarchiver.domain.clip import Clip, Disposal, Tree
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Report, Result
from camarchiver.domain.steps import Keep, RemoveCopy
from camarchiver.errors import ExitCode, NotRemovable, sentence, user_name
from camarchiver.journal.writer import JournalWriter
from camarchiver.record.outbox import spool
from camarchiver.record.outbox import store as outbox_store
from camarchiver.runtime.signals import Stop
from camarchiver.state import work_in_progress
from camarchiver.state.work_in_progress import ClipWork
from camarchiver.storage import anchored, atomic, copying, linux, permissions
from tests import dates
from tests.cameras import Camera
from tests.faults import Faults, each_fault
from tests.samples import names_in, needs_root
from tests.yards import Yard


class Obstacles:
    """Files that can't leave their folder: as root by attributes and mounts, else by owners and modes."""

    OTHER_USER = 65534

    def __init__(self, root: Path, elsewhere: Path) -> None:
        self.root = root
        self.elsewhere = elsewhere
        """On another filesystem."""
        self._undo: list[list[str]] = []

    def put(self, name: str = "x.mp4") -> Path:
        """A clip in a folder that everybody may enter."""
        path = self.root / "day" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"footage" * 1000)
        return path

    def freeze(self, path: Path, option: str = "i") -> None:
        """Set an attribute until the end of the test, or `thaw`."""
        done = subprocess.run(["chattr", f"+{option}", path], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no attributes can be set here: {done.stderr.strip()}")
        self._undo.append(["chattr", f"-{option}", str(path)])

    def thaw(self) -> None:
        """Take away every attribute and mount."""
        while self._undo:
            subprocess.run(self._undo.pop(), check=True)

    def make(self, kind: str) -> tuple[Path, int]:
        """A clip with an obstacle of this kind, and the user who meets it."""
        clip = self.put()
        match kind:
            case "immutable file":
                self.freeze(clip)
            case "append-only folder":
                self.freeze(clip.parent, "a")
            case "immutable folder":
                self.freeze(clip.parent)
            case "read-only mount":
                subprocess.run(["mount", "--bind", self.root, self.root], check=True)
                self._undo.append(["umount", "-l", str(self.root)])
                subprocess.run(["mount", "-o", "remount,ro,bind", self.root], check=True)
            case "sticky folder":
                os.chown(clip, 1000, 1000)
                clip.parent.chmod(0o1777)
                return clip, self.OTHER_USER
            case "folder without permission":
                clip.parent.chmod(0o755)
                return clip, self.OTHER_USER
        return clip, 0

    def remains(self) -> list[str]:
        """Every file on the other filesystem."""
        return sorted(path.name for path in self.elsewhere.rglob("*") if path.is_file())


OBSTACLES = {
    "immutable file": "chattr -i {clip}",
    "append-only folder": "chattr -a {folder}",
    "immutable folder": "chattr -i {folder}",
    "read-only mount": "mount it writable: findmnt -T {folder}",
    "sticky folder": f"chmod -t {{folder}}, or run as user {user_name(1000)}",
    "folder without permission": (
        f"give user {user_name(65534)} the right to write {{folder}}, or run as user {user_name(0)}"
    ),
}
"""What keeps a file where it is, and the remedy that is named."""


def as_user(user: int, act: Callable[[], object]) -> str:
    """Act in a child process of this user; what it raised, in words, and empty if nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        words = "the child ended"
        try:
            if user:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            act()
            words = ""
        except Exception as error:
            words = f"{type(error).__name__}: {sentence(error)}"
        finally:
            os.write(writer, words.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


@needs_root
class TestFilesThatCannotLeave:
    """A failed removal leaves things as they were, whoever removes."""

    @pytest.fixture
    def obstacles(self, other_disk: Path) -> Iterator[Obstacles]:
        with tempfile.TemporaryDirectory() as folder:
            for each in (Path(folder), other_disk):
                each.chmod(0o777)
            obstacles = Obstacles(Path(folder), other_disk)
            yield obstacles
            obstacles.thaw()

    def move(self, obstacles: Obstacles, clip: Path) -> None:
        seen = anchored.fingerprint_of(clip.lstat())
        relative = clip.relative_to(obstacles.root).as_posix()
        anchored.move(
            obstacles.root, relative, seen, trash_root=obstacles.elsewhere, trash_relative=f"input/{relative}"
        )

    @pytest.mark.parametrize("kind", OBSTACLES)
    def test_the_folder_and_the_remedy_are_named_and_nothing_is_copied(
        self, obstacles: Obstacles, mocker: MockerFixture, kind: str
    ) -> None:
        clip, user = obstacles.make(kind)
        mocker.patch.object(copying, "copy_into", side_effect=AssertionError("copied in vain"))
        remedy = OBSTACLES[kind].format(clip=clip, folder=clip.parent)
        for act in (
            lambda: self.move(obstacles, clip),
            lambda: anchored.delete(obstacles.root, "day/x.mp4", anchored.fingerprint_of(clip.lstat())),
        ):
            words = as_user(user, act)
            assert words.startswith("NotRemovable: x.mp4 can't be removed: ")
            assert words.endswith(f"; {remedy}")
        assert clip.read_bytes() == b"footage" * 1000
        assert list(obstacles.elsewhere.iterdir()) == []

    @pytest.mark.parametrize("kind", OBSTACLES)
    def test_where_nothing_foretells_it_the_copy_is_taken_back(
        self, obstacles: Obstacles, mocker: MockerFixture, kind: str
    ) -> None:
        """As on a file server, whose rules no client sees."""
        clip, user = obstacles.make(kind)
        mocker.patch.object(permissions, "obstacle", return_value=None)
        for _ in range(2):
            words = as_user(user, lambda: self.move(obstacles, clip))
            assert words.startswith(f"NotRemovable: x.mp4 can't be removed: {clip.parent}: ")
            assert clip.read_bytes() == b"footage" * 1000
            assert obstacles.remains() == []
        obstacles.thaw()
        assert as_user(0, lambda: self.move(obstacles, clip)) == ""
        assert obstacles.remains() == ["x.mp4"]

    def test_whoever_may_remove_is_not_refused(self, obstacles: Obstacles) -> None:
        """The owner of a file in a folder with the sticky bit, the owner of the folder, and root."""
        for user in (1000, 2000, 0):
            clip, _ = obstacles.make("sticky folder")
            os.chown(clip.parent, 2000, 2000)
            seen = anchored.fingerprint_of(clip.lstat())
            assert as_user(user, partial(anchored.delete, obstacles.root, "day/x.mp4", seen)) == ""
            assert not clip.exists()

    def test_a_second_name_in_the_trash_is_taken_back_too(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """A network mount that can't rename without replacing gets a link first."""
        clip = obstacles.put()
        link = os.link

        def link_and_freeze(*arguments: Any, **options: Any) -> None:
            link(*arguments, **options)
            obstacles.freeze(clip.parent, "a")

        mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        mocker.patch.object(os, "link", side_effect=link_and_freeze)
        seen, place = anchored.fingerprint_of(clip.lstat()), obstacles.root / "trash"
        with pytest.raises(NotRemovable):
            anchored.move(obstacles.root, "day/x.mp4", seen, trash_root=place, trash_relative="y.mp4")
        assert clip.exists() and names_in(place) == []

    def test_a_copy_that_cannot_be_taken_back_is_told_and_nothing_is_lost(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        clip, _ = obstacles.make("immutable file")
        mocker.patch.object(permissions, "obstacle", return_value=None)
        publish = atomic.publish

        def publish_and_freeze(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            obstacles.freeze(target.parent.resolve())

        mocker.patch.object(atomic, "publish", side_effect=publish_and_freeze)
        with pytest.raises(NotRemovable) as caught:
            self.move(obstacles, clip)
        copy = obstacles.elsewhere / "input/day/x.mp4"
        assert (caught.value.copy, str(copy) in caught.value.message) == (str(copy), True)
        assert copy.read_bytes() == clip.read_bytes() == b"footage" * 1000

    def test_a_copy_that_somebody_took_back_meanwhile_keeps_the_original(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """A run that slept for long may find that another one took it for dead and swept."""
        clip, publish = obstacles.put(), atomic.publish

        def publish_and_lose(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            target.unlink()

        mocker.patch.object(atomic, "publish", side_effect=publish_and_lose)
        with pytest.raises(anchored.Stale, match="did not stay"):
            self.move(obstacles, clip)
        assert clip.exists()

    def test_a_trash_that_rounds_times_gets_and_gives_back_all_the_same(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """FAT keeps even seconds; a file server may keep fewer digits than its client has just written."""
        publish = atomic.publish

        def publish_and_round(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            os.utime(target, ns=(0, target.stat().st_mtime_ns // 2_000_000_000 * 2_000_000_000))

        mocker.patch.object(atomic, "publish", side_effect=publish_and_round)
        mocker.patch.object(permissions, "obstacle", return_value=None)
        clip = obstacles.put()
        self.move(obstacles, clip)
        assert (clip.exists(), obstacles.remains()) == (False, ["x.mp4"])
        clip, _ = obstacles.make("immutable file")
        with pytest.raises(NotRemovable):
            self.move(obstacles, clip)
        assert (clip.exists(), obstacles.remains()) == (True, ["x.mp4"])

    @pytest.mark.parametrize("blind", [False, True], ids=["foretold", "by trying"])
    def test_a_clip_stays_in_the_spool_and_no_copy_in_the_outbox(
        self, obstacles: Obstacles, mocker: MockerFixture, rec_twice: Path, blind: bool
    ) -> None:
        path = obstacles.root / "motion_20260503_142005.0123.mp4"
        shutil.copyfile(rec_twice, path)
        obstacles.freeze(path)
        if blind:
            mocker.patch.object(permissions, "obstacle", return_value=None)
        for _ in range(2):
            with pytest.raises(NotRemovable, match="can't be removed"):
                spool.publish(path, "motion_20260503_142005", 24.0, obstacles.elsewhere, b"picture")
            assert obstacles.remains() == []
        obstacles.thaw()
        mocker.stopall()
        assert spool.salvage(path, obstacles.elsewhere) is not None
        assert not path.exists()

    def test_a_clip_of_the_outbox_keeps_its_picture(self, obstacles: Obstacles) -> None:
        clip, picture = (
            obstacles.put("motion_20260503_142005_20.0s.mp4"),
            obstacles.put("motion_20260503_142005_20.0s.jpg"),
        )
        obstacles.freeze(clip)
        (found,) = outbox_store.waiting(obstacles.root, "day", UTC)
        step = RemoveCopy(
            found.clip, Tree.OUTBOX, Disposal.DELETE, Reason.KEEP_DAYS, found.clip.relative, (0, 0), None
        )
        outcome = outbox_store.remove(step, found.clip.start + timedelta(1))
        assert (outcome.result, f"chattr -i {clip}" in outcome.detail) == (Result.FAILED, True)
        assert clip.exists() and picture.exists()

    # --- archive -------------------------------------------------------------------------------------

    BLIND = "from camarchiver.storage import permissions\npermissions.obstacle = lambda *a: None"

    @pytest.mark.parametrize("patch", ["", BLIND], ids=["foretold", "by trying"])
    def test_no_run_of_archive_leaves_a_copy_in_the_trash(
        self, camera: Camera, obstacles: Obstacles, patch: str
    ) -> None:
        clip = camera.add()
        obstacles.freeze(clip)
        trash_root = ("--trash-root", str(obstacles.elsewhere))
        first = camera.archive(*trash_root, "--json", patch=patch)
        assert first.code == ExitCode.PARTIAL, first.errors
        (outcome,) = first.document()["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "kept-source")
        assert f"{clip.name} can't be removed: " in outcome["detail"]
        (left,) = camera.events("left")
        assert left["reason"] == "kept-source" and "can't be removed" in left["detail"]
        quiet = camera.archive(*trash_root, "--json", "--dry-run", patch=patch)
        (step,) = quiet.document()["steps"]
        assert (step["reason"], step["detail"].count("next try")) == ("failed-before", 1)
        assert camera.archive(*trash_root, "--retry-failed", patch=patch).code == ExitCode.FAILED
        assert obstacles.remains() == [] == camera.litter()
        obstacles.thaw()
        assert camera.archive(*trash_root, "--retry-failed").code == 0
        assert obstacles.remains() == [clip.name]
        assert not clip.exists() and len(camera.archives()) == 1

    @pytest.mark.edge
    def test_a_kill_before_the_copy_was_taken_back_is_mended_by_the_next_run(
        self, camera: Camera, obstacles: Obstacles
    ) -> None:
        clip = camera.add()
        obstacles.freeze(clip)
        trash_root = ("--trash-root", str(obstacles.elsewhere))
        dying = (
            f"{self.BLIND}\nimport os\nfrom camarchiver.storage import anchored\n"
            "anchored._take_back = lambda *a: os.kill(os.getpid(), 9)"
        )
        for _ in range(2):
            assert camera.archive(*trash_root, patch=dying).code == -9
            assert obstacles.remains() == [clip.name]
        assert camera.archive(*trash_root).code == ExitCode.FAILED
        assert obstacles.remains() == [] and len(camera.events("swept")) == 2
        obstacles.thaw()
        assert camera.archive(*trash_root, "--retry-failed").code == 0
        assert obstacles.remains() == [clip.name]

    def test_a_picture_that_cannot_follow_is_not_copied_again_and_again(
        self, camera: Camera, obstacles: Obstacles
    ) -> None:
        clip = camera.add()
        picture = clip.with_suffix(".jpg")
        picture.write_bytes(b"a picture")
        other = clip.with_suffix(".jpeg")
        obstacles.freeze(picture)
        options = ("--trash-root", str(obstacles.elsewhere), "--sidecar", "trash")
        first = camera.archive(*options, patch=self.BLIND)
        assert (first.code, "could not follow" in first.out + first.errors) == (ExitCode.PARTIAL, True)
        for _ in range(2):
            camera.archive(*options, patch=self.BLIND)
            assert obstacles.remains() == [clip.name]
        assert len(camera.events("trashed")) == 1 and not other.exists()
        obstacles.thaw()
        assert camera.archive(*options).code == 0
        assert obstacles.remains() == [picture.name, clip.name]
        assert [event.get("sidecars") for event in camera.events("trashed")] == [
            None,
            {picture.name: str(next(obstacles.elsewhere.rglob("*.jpg")))},
        ]

    # --- cleanup and restore -------------------------------------------------------------------------

    @pytest.fixture
    def yard(self, obstacles: Obstacles) -> Yard:
        return Yard(obstacles.root / "yard", trash_root=obstacles.elsewhere / "trash")

    @pytest.mark.parametrize("blind", [False, True], ids=["foretold", "by trying"])
    def test_no_run_of_cleanup_leaves_a_copy_in_the_trash(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture, blind: bool
    ) -> None:
        source = yard.standing(40)
        yard.record(1)
        steps = yard.plan(clean_output=True, allow_large=True).steps
        assert {step.tree for step in steps} == {Tree.SOURCE, Tree.ARCHIVE}
        for step in steps:
            obstacles.freeze(step.path)
        if blind:
            mocker.patch.object(permissions, "obstacle", return_value=None)
        before = yard.files()
        for failed in (2, 1):
            report = yard.carry_out(yard.plan(clean_output=True, allow_large=True))
            assert [each.result for each in report.outcomes] == [Result.FAILED] * failed
            assert all("can't be removed" in each.detail for each in report.outcomes)
            assert yard.files() == before
        assert len(yard.events("left")) == 3
        (waiting,) = [kept for kept in yard.plan().left if kept.reason is Reason.FAILED_BEFORE]
        assert waiting.path == yard.trees.source / source.relative and "next try" in waiting.detail
        obstacles.thaw()
        # the failures were noted by the real clock, from which the fixtures may be moved away
        later = dates.now() + timedelta(hours=2)
        assert yard.carry_out(yard.plan(later, clean_output=True, allow_large=True)).exit_code == 0
        assert len(obstacles.remains()) == 2

    @pytest.mark.edge
    @pytest.mark.parametrize("kills", [True, False], ids=["killed", "not taken back"])
    def test_a_copy_that_a_cleanup_left_is_taken_back_by_the_next_start(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture, kills: bool
    ) -> None:
        source = yard.standing(40)
        yard.record(1)
        obstacles.freeze(source.path)
        before = yard.files()
        mocker.patch.object(permissions, "obstacle", return_value=None)

        def fail(problem: NotRemovable, *_: object) -> None:
            if kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise NotRemovable(problem.message, copy="there")

        mocker.patch.object(anchored, "_take_back", side_effect=fail)
        as_user(0, lambda: yard.carry_out(yard.plan()))
        assert obstacles.remains() == [source.name]
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        assert yard.files() == before
        (left,) = yard.events("left")
        assert "its copy" in left["detail"]

    def test_a_clip_that_cannot_leave_the_trash_is_not_restored_by_half(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        trashed = yard.given_away(40, trashed=2)
        obstacles.freeze(trashed)
        before = yard.files()
        mocker.patch.object(permissions, "obstacle", return_value=None)
        pipeline = yard.pipeline()
        for _ in range(2):
            report = restore.execute(
                pipeline, restore.plan(pipeline, Selection()), stop=Stop(), on_outcome=lambda outcome: None
            )
            assert [each.result for each in report.outcomes] == [Result.FAILED]
            assert "can't be removed" in report.outcomes[0].detail
            assert yard.files() == before
        obstacles.thaw()
        report = restore.execute(
            pipeline, restore.plan(pipeline, Selection()), stop=Stop(), on_outcome=lambda outcome: None
        )
        assert [each.result for each in report.outcomes] == [Result.DONE]


class TwoDisks:
    """A yard whose archive and trash lie on another disk, with a sidecar for each source that may go."""

    def __init__(self, root: Path, other: Path) -> None:
        self.folders = root / "yard", other / "archived", other / "trash"
        yard = self.yard()
        for clip in (yard.standing(40), yard.record(41, "garden")):
            picture = clip.path.with_suffix(".jpg")
            picture.write_bytes(f"picture of {clip.name}".encode())
            os.utime(picture, ns=(clip.fingerprint.mtime_ns,) * 2)
        for camera in ("front", "garden"):
            yard.record(1, camera)
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", folder, f"{folder}.model"], check=True)
        self.before = yard.files()
        assert len(set(self.before.values())) == len(self.before) == 7

    def yard(self) -> Yard:
        """The yard as it is now."""
        source, archive, trash = self.folders
        return Yard(source, archive_root=archive, trash_root=trash)

    def fresh(self) -> Yard:
        """The yard as it was at first."""
        for folder in self.folders:
            shutil.rmtree(folder)
            subprocess.run(["cp", "-a", f"{folder}.model", folder], check=True)
        return self.yard()

    def clean_up(self, yard: Yard, sidecars: SidecarPolicy) -> Report:
        """Move to the trash whatever may go, also what could not be removed before."""
        recovery.sweep(yard.pipeline(), sidecars)
        # the failures were noted by the real clock, from which the fixtures may be moved away
        later = max(yard.now, dates.now() + timedelta(hours=2))
        plan = yard.plan(later, unarchived=True, allow_large=True)
        return yard.carry_out(plan, sidecars=sidecars)

    def restore(self, yard: Yard) -> Report:
        """Bring back whatever is in the trash."""
        pipeline = yard.pipeline()
        planned = restore.plan(pipeline, Selection())
        return restore.execute(pipeline, planned, stop=Stop(), on_outcome=lambda outcome: None)

    def assert_each_file_stands_once(self, yard: Yard) -> None:
        files = yard.files()
        assert sorted(files.values()) == sorted(self.before.values())
        assert not [path for path in files if "~" in path]


def failing_moves(mocker: MockerFixture, faults: Faults) -> None:
    """Let the faults happen inside of moves, once the copy has its name, and nowhere else."""
    move = anchored.move

    def fail(*arguments: Any, **options: Any) -> str:
        with faults.armed(after_link=True):
            return move(*arguments, **options)

    mocker.patch.object(anchored, "move", side_effect=fail)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("sidecars", [SidecarPolicy.TRASH, SidecarPolicy.ARCHIVE])
class TestErrorsBetweenTwoDisks:
    """Whatever call of a move fails: the next run finishes the job, and no file exists twice."""

    @pytest.fixture
    def disks(self, tmp_path: Path, other_disk: Path) -> TwoDisks:
        return TwoDisks(tmp_path, other_disk)

    def test_cleanup_ends_with_one_copy_of_each_file(
        self, disks: TwoDisks, mocker: MockerFixture, sidecars: SidecarPolicy, lasting: bool
    ) -> None:
        for faults in each_fault(errno.EIO, lasting=lasting):
            yard = disks.fresh()
            failing_moves(mocker, faults)
            disks.clean_up(yard, sidecars)
            mocker.stopall()
            assert set(disks.before.values()) <= set(yard.files().values())
            assert disks.clean_up(yard, sidecars).exit_code == 0
            disks.assert_each_file_stands_once(yard)
            assert not list(work_in_progress.existing(yard.trees))
            self.assert_all_is_told(yard)

    def assert_all_is_told(self, yard: Yard) -> None:
        """Each file that went is where the journal says."""
        told = {}
        for line in yard.events("trashed"):
            told[line["source"]] = yard.trees.trash / line["trash"]
            for name, place in (line.get("sidecars") or {}).items():
                told[name] = Path(place)
        assert len(told) == 4 and all(place.is_file() for place in told.values())

    def test_restore_ends_with_one_copy_of_each_file(
        self, disks: TwoDisks, mocker: MockerFixture, sidecars: SidecarPolicy, lasting: bool
    ) -> None:
        for faults in each_fault(errno.EIO, lasting=lasting):
            yard = disks.fresh()
            disks.clean_up(yard, sidecars)
            failing_moves(mocker, faults)
            disks.restore(yard)
            mocker.stopall()
            assert set(disks.before.values()) <= set(yard.files().values())
            disks.restore(yard)
            assert yard.files() == disks.before


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("suffix", [".mp4", ".txt"])
def test_archive_goes_on_where_a_move_to_another_disk_failed(
    camera: Camera, other_disk: Path, suffix: str, lasting: bool
) -> None:
    """The source's disk fails when the clip, or its second sidecar, already has its copy in the trash."""
    clip = camera.add()
    sidecars = {clip.with_suffix(each).name for each in (".jpg", ".txt")}
    for name in sidecars:
        clip.with_name(name).write_text(f"beside the clip: {name}")
    fail = f"""
import errno
from camarchiver.storage import anchored
check, names = anchored._PlannedFile.check_copied, []
def fail(self, name):
    names.extend([name] * name.endswith("{suffix}"))
    if name.endswith("{suffix}") and ({lasting} or len(names) == 1):
        raise OSError(errno.EIO, "the disk fails")
    check(self, name)
anchored._PlannedFile.check_copied = fail
"""
    options = ("--trash-root", str(other_disk), "--sidecar", "trash")
    first = camera.archive(*options, patch=fail)
    assert (first.code, "the disk fails" in first.out + first.errors) == (ExitCode.PARTIAL, True)
    copies = {path.name for path in other_disk.rglob("*.*") if path.is_file()}
    assert copies == {".mp4": set(), ".txt": {clip.name, f"{clip.stem}.jpg"}}[suffix] | (
        {clip.with_suffix(suffix).name} if lasting else set()
    )
    assert camera.archive(*options, "--retry-failed").code == 0
    left = {path.name for path in clip.parent.iterdir()} if clip.parent.exists() else set()
    assert (left, camera.litter()) == (set(), [])
    assert {path.name for path in other_disk.rglob("*.*") if path.is_file()} == {clip.name, *sidecars}
    told = {name for event in camera.events("trashed") for name in event.get("sidecars") or ()}
    assert told == sidecars


class TestWhatADeadRunMoved:
    """The next start finds it where it is, and writes that down, whatever has happened to the names."""

    @pytest.fixture
    def clip(self, yard: Yard) -> Clip:
        """A source with its archive and a picture."""
        clip = yard.standing(40)
        clip.path.with_suffix(".jpg").write_bytes(b"its picture")
        return yard.clip(clip.path, clip.camera, clip.start)

    @pytest.fixture(params=["note", "intent"])
    def leave(self, yard: Yard, clip: Clip, request: pytest.FixtureRequest) -> Callable[..., None]:
        """Leaves what a run leaves that dies when it has moved the clip, and perhaps its picture."""

        def left(place: str = "", picture: str = "") -> None:
            writer, state = yard.writer(yard.now), yard.trees.state
            if request.param == "note":
                path = state / "claims" / "dead.json"
                work_in_progress.ClipNote(path, ClipWork.on(clip, writer.run), yard.trees.archive)
            else:
                identity = clip.fingerprint.identity
                step = RemoveCopy(
                    clip, Tree.SOURCE, Disposal.TRASH, Reason.AGE, clip.relative, identity, None
                )
                work_in_progress.RemovalNote(state, writer.run.id).announce({clip.start.date()})
                writer.intend([step])
            for path, name in ((clip.path, place or clip.name), (clip.path.with_suffix(".jpg"), picture)):
                there = yard.trees.trash / "input" / clip.beside(name)
                there.parent.mkdir(parents=True, exist_ok=True)
                if name:
                    path.rename(there)

        return left

    def told(self, yard: Yard) -> tuple[str, dict[str, str]]:
        """Where the clip and its sidecars are by the only line about that."""
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        assert not list(work_in_progress.existing(yard.trees))
        assert yard.events("left") == []
        (line,) = yard.events("trashed", "deleted")
        return line.get("trash", ""), line.get("sidecars") or {}

    def test_another_clip_has_its_name(self, yard: Yard, clip: Clip, leave: Callable[..., None]) -> None:
        leave()
        clip.path.write_bytes(b"another clip")
        assert self.told(yard) == (f"input/{clip.relative}", {})
        assert clip.path.read_bytes() == b"another clip"
        assert clip.path.with_suffix(".jpg").exists(), "it belongs to the clip that is there now"

    def test_the_names_before_its_own_are_free_by_now(
        self, yard: Yard, clip: Clip, leave: Callable[..., None]
    ) -> None:
        clip.path.with_suffix(".jpg").unlink()
        place = f"{clip.path.stem}~3.mp4"
        leave(place)
        assert self.told(yard) == (f"input/{clip.beside(place)}", {})

    def test_its_picture_got_a_number(self, yard: Yard, clip: Clip, leave: Callable[..., None]) -> None:
        foreign = (yard.trees.trash / "input" / clip.relative).with_suffix(".jpg")
        foreign.parent.mkdir(parents=True)
        foreign.write_bytes(b"another picture")
        leave(picture=f"{clip.path.stem}~2.jpg")
        place, sidecars = self.told(yard)
        assert place == f"input/{clip.relative}"
        assert [Path(each).read_bytes() for each in sidecars.values()] == [b"its picture"]

    def test_its_disk_rounds_times(self, yard: Yard, clip: Clip, leave: Callable[..., None]) -> None:
        leave(picture=f"{clip.path.stem}.jpg")
        there = yard.trees.trash / "input" / clip.relative
        os.utime(there, ns=(0, clip.fingerprint.mtime_ns - 1_000_000_000))
        assert self.told(yard)[0] == f"input/{clip.relative}"


class TestArchivesThatMakeWay:
    """Whoever moves an archive away announces it: also after a kill the journal says where it is."""

    DIES = (
        "import os\nfrom camarchiver.journal.writer import JournalWriter\n"
        "JournalWriter.replaced = lambda *a, **k: os.kill(os.getpid(), 9)"
    )
    FAILS = (
        "import errno\nfrom camarchiver.storage import anchored\nmove = anchored.move\n"
        "def fail(root, relative, *a, **k):\n    place = move(root, relative, *a, **k)\n"
        "    if 'archived' in root.parts:\n        raise OSError(errno.EIO, 'the disk fails', str(root))\n"
        "    return place\n"
        "anchored.move = fail"
    )

    def places(self, camera: Camera) -> list[str]:
        """Where replaced archives are by the journal, below the trash."""
        return [line["trash"] for line in camera.events("trashed") if line.get("reason") == "replaced"]

    @pytest.mark.parametrize(("patch", "code"), [(DIES, -9), (FAILS, ExitCode.FAILED)], ids=["kill", "EIO"])
    def test_one_that_was_moved_and_not_journalled_is_journalled_by_the_next_run(
        self, camera: Camera, patch: str, code: int
    ) -> None:
        clip = camera.add()
        camera.archive("--keep-source")
        assert camera.archive("--no-skip", patch=patch).code == code
        (former,) = camera.trashed("output")
        assert (self.places(camera), camera.archives()) == ([], [])
        assert camera.archive("--retry-failed").code == 0
        assert self.places(camera) == [former.relative_to(camera.root / ".deleted").as_posix()]
        assert (clip.exists(), camera.litter()) == (False, [])
        camera.assert_finished()

    def test_one_that_stays_is_not_announced_for_ever(self, camera: Camera) -> None:
        camera.add()
        camera.archive("--keep-source")
        refuses = (
            "from camarchiver.errors import NotRemovable\nfrom camarchiver.storage import permissions\n"
            "permissions.obstacle = lambda *a: NotRemovable('it stays')"
        )
        assert camera.archive("--no-skip", patch=refuses).code == ExitCode.FAILED
        (left,) = camera.events("left")
        assert (left["reason"], left["detail"], left["tree"]) == ("replaced", "it stays", "archive")
        assert len(camera.archives()) == 1 and camera.litter() == []

    def test_one_for_which_its_off_site_copy_takes_the_place(self, yard: Yard, mocker: MockerFixture) -> None:
        clip = yard.standing(40)
        yard.copy(clip, "nas:")
        yard.find_damaged(clip.relative)
        clip.path.unlink()
        pipeline = yard.pipeline()
        (damaged,) = pipeline.journal.day(clip.start.date()).ledger.expected.values()
        lost = [Keep(yard.trees.archive, clip.relative, Reason.UNREPAIRABLE)]
        (step,) = offsite_restore.repairs(pipeline, [damaged], lost, "nas:")
        restorer = OffsiteRestorer(pipeline, mocker.Mock(), Stop())
        mocker.patch.object(JournalWriter, "replaced", side_effect=OSError(errno.EIO, "x"))
        with pytest.raises(OSError, match="x"):
            restorer._move_away(step)
        mocker.stopall()
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        (line,) = yard.events("trashed")
        assert (line["trash"], line["reason"]) == (f"output/{clip.relative}", "replaced")
        assert not list(work_in_progress.existing(yard.trees))


class TestOthersAtTheSamePlace:
    """Somebody else changes files in the very moment of a move."""

    @pytest.fixture
    def clip(self, yard: Yard) -> Clip:
        yard.record(1)
        return yard.standing(40)

    def clean_up(self, yard: Yard) -> list[tuple[Result, str]]:
        return [(each.result, each.detail) for each in yard.carry_out(yard.plan()).outcomes]

    def test_what_vanishes_as_soon_as_it_was_moved_is_told_by_the_next_start(
        self, yard: Yard, clip: Clip, mocker: MockerFixture
    ) -> None:
        rename, place = linux.rename_noreplace, yard.trees.trash / "input" / clip.relative

        def rename_and_lose(*arguments: Any, **options: Any) -> None:
            rename(*arguments, **options)
            place.unlink()

        mocker.patch.object(linux, "rename_noreplace", side_effect=rename_and_lose)
        ((result, detail),) = self.clean_up(yard)
        assert (result, str(place) in detail) == (Result.FAILED, True)
        mocker.stopall()
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        assert [line["source"] for line in yard.events("deleted")] == [clip.relative]
        assert yard.events("left") == [] == list(work_in_progress.existing(yard.trees))

    def test_what_can_not_go_back_is_named(self, yard: Yard, clip: Clip, mocker: MockerFixture) -> None:
        """Another file was moved, because it took the clip's name, and then a third one took that name."""
        rename, place = linux.rename_noreplace, yard.trees.trash / "input" / clip.relative

        def swap(name: str, *arguments: Any, **options: Any) -> None:
            if not place.exists():
                clip.path.unlink()
                clip.path.write_bytes(b"second")
            rename(name, *arguments, **options)
            clip.path.write_bytes(b"third")

        mocker.patch.object(linux, "rename_noreplace", side_effect=swap)
        ((result, detail),) = self.clean_up(yard)
        assert (result, f"to {place} was changed there" in detail) == (Result.FAILED, True)
        assert (clip.path.read_bytes(), place.read_bytes()) == (b"third", b"second")

    def test_a_copy_whose_original_was_replaced_is_journalled_by_the_next_start(
        self, tmp_path: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        yard = Yard(tmp_path / "cams", trash_root=other_disk / "trash")
        yard.record(1)
        clip, publish = yard.standing(40), atomic.publish

        def publish_and_replace(*arguments: Any, **options: Any) -> None:
            publish(*arguments, **options)
            clip.path.unlink()
            clip.path.write_bytes(b"another clip")

        mocker.patch.object(atomic, "publish", side_effect=publish_and_replace)
        ((result, _),) = self.clean_up(yard)
        assert result is Result.STALE
        mocker.stopall()
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        assert [line["trash"] for line in yard.events("trashed")] == [f"input/{clip.relative}"]
        assert yard.events("left") == [] and clip.path.read_bytes() == b"another clip"

    @pytest.mark.parametrize("fails", ["link", "stat", "unlink"])
    def test_a_file_that_was_swapped_in_keeps_no_second_name_in_the_trash(
        self, yard: Yard, clip: Clip, mocker: MockerFixture, fails: str
    ) -> None:
        """A network mount can't rename without replacing, and the call after the link fails."""
        link, call = os.link, getattr(os, fails)
        names: list[str] = []

        def swap_and_link(*arguments: Any, **options: Any) -> None:
            if not names:
                clip.path.unlink()
                clip.path.write_bytes(b"another clip")
            link(*arguments, **options)
            names.append(arguments[1])
            if fails == "link" and len(names) == 1:
                raise OSError(errno.ETIMEDOUT, "its answer was lost")

        def fail_once(name: Any, **options: Any) -> Any:
            if names and name == names[0]:
                names[0] = ""
                raise OSError(errno.EIO, "x")
            return call(name, **options)

        mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        if fails != "link":
            mocker.patch.object(os, fails, side_effect=fail_once)
        mocker.patch.object(os, "link", side_effect=swap_and_link)
        mocker.patch.object(atomic, "_PAUSES", (0.0, 0.0))
        seen, trash = clip.fingerprint, yard.trees.trash
        with pytest.raises((anchored.Stale, OSError)):
            anchored.move(yard.trees.source, clip.relative, seen, trash_root=trash, trash_relative="x.mp4")
        mocker.stopall()
        assert clip.path.read_bytes() == b"another clip"
        assert list(trash.rglob("*.mp4")) == []
