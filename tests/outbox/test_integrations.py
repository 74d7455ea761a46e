"""outbox: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Result
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.outbox import cleanup as outbox_cleanup
from camarchiver.record.outbox import publisher as outbox_publisher
from camarchiver.record.outbox import rules as outbox_rules
from camarchiver.record.outbox import spool
from camarchiver.record.outbox import store as outbox_store
from camarchiver.record.outbox.cleanup import SpoolPolicy
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.record.outbox.spool import Unfit
from camarchiver.state import holds
from camarchiver.storage import anchored
from tests.faults import dead_server
from tests.processes import wait_until
from tests.recordings import rec_items, rec_packets, rec_place
from tests.samples import REC_START


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def begun(folders: Folders, scene: Path, frames: slice) -> tuple[ClipWriter, list[TimedPacket]]:
    """A clip for some pictures of a scene, of which none is written yet, and these pictures."""
    opened, entries = rec_items(scene)
    video = [entry for entry in entries if entry.video][frames]
    return ClipWriter(folders, ClipStart(REC_START, video[0], 0.0, 0.0), opened.video, None), video


class TestSpool:
    def test_a_closed_clip_is_what_the_camera_sent(self, rec_take: ClipWriter, rec_twice: Path) -> None:
        rec_take.close()
        found, known = rec_packets(rec_take.path), rec_packets(rec_twice)
        at = rec_place(found.video, known.video)
        assert at == 60
        assert at + len(found.video) == len(known.video)
        assert found.times[0] == 0.0
        assert found.times == pytest.approx([each - 4.0 for each in known.times[at:]], abs=1e-4)
        sound = rec_place(found.audio, known.audio)
        assert found.audio_times == pytest.approx(
            [each - 4.0 for each in known.audio_times[sound:]], abs=1e-3
        )
        assert spool.read(rec_take.path, frames=300) == spool.SpoolContents(300, pytest.approx(20.0))

    def test_a_closed_clip_is_an_ordinary_mp4(self, rec_take: ClipWriter) -> None:
        rec_take.close()
        with rec_take.path.open("rb") as file:
            boxes = []
            while header := file.read(8):
                boxes.append(header[4:])
                file.seek(int.from_bytes(header[:4]) - 8, os.SEEK_CUR)
        assert boxes == [b"ftyp", b"free", b"mdat", b"moov"]

    def test_an_open_clip_can_be_read_but_for_its_last_fragment(
        self, rec_take: ClipWriter, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copy(rec_take.path, tmp_path / "copy.mp4"))
        spool.cut(copy)
        assert spool.read(copy).frames >= 300 - 9

    def test_a_file_cut_anywhere_keeps_its_whole_fragments(
        self, rec_take: ClipWriter, rec_twice: Path, tmp_path: Path
    ) -> None:
        data, known = rec_take.path.read_bytes(), rec_packets(rec_twice).video
        counts = []
        for length in range(0, len(data), len(data) // 40):
            part = tmp_path / "part.mp4"
            part.write_bytes(data[:length])
            spool.cut(part)
            if not part.stat().st_size:
                counts.append(0)
                continue
            counts.append(spool.read(part).frames)
            assert rec_place(rec_packets(part).video, known) == 60
        assert counts == sorted(counts)
        assert counts[0] == 0
        assert counts[-1] > 270

    def test_a_closed_file_is_not_cut(self, rec_take: ClipWriter) -> None:
        rec_take.close()
        before = rec_take.path.read_bytes()
        spool.cut(rec_take.path)
        assert rec_take.path.read_bytes() == before

    def test_lost_frames_are_noticed(self, rec_take: ClipWriter) -> None:
        rec_take.close()
        with pytest.raises(Unfit, match="300 frames of 301"):
            spool.read(rec_take.path, frames=301)

    def test_a_clip_that_begins_without_a_keyframe_is_noticed(
        self, rec_folders: Folders, rec_twice: Path
    ) -> None:
        take, video = begun(rec_folders, rec_twice, slice(3, 40))
        for entry in video:
            take.write(entry)
        take.close()
        with pytest.raises(Unfit, match="keyframe"):
            spool.read(take.path)

    @pytest.mark.parametrize(("size", "frames"), [(0, (0, 1)), (200_000, (20, 70))])
    def test_nothing_is_written_after_an_error_that_passes(
        self, rec_folders: Folders, rec_twice: Path, size: int, frames: tuple[int, int]
    ) -> None:
        """What follows a hole would be shown broken, or not at all."""
        take, video = begun(rec_folders, rec_twice, slice(90))
        with files_no_longer_than(size):
            failed_at = next(number for number, entry in enumerate(video) if take.write(entry) or take.failed)
        for entry in video[failed_at + 1 :]:
            take.write(entry)
        take.close()
        found = rec_packets(take.path).video if take.path.stat().st_size else ()
        assert len(found) in range(*frames)
        assert rec_place(found, rec_packets(rec_twice).video) == 0

    def test_a_clip_whose_file_could_not_be_opened_is_reported_and_leaves_none(
        self, rec_folders: Folders, rec_twice: Path
    ) -> None:
        publisher = ClipPublisher("yard", rec_folders, pictures=False, on_clip=lambda clip: None)
        take, video = begun(rec_folders, rec_twice, slice(30))
        away = rec_folders.spool.rename(rec_folders.spool.with_name("away"))
        for entry in video[:2]:
            take.write(entry)
        assert take.failed
        away.rename(rec_folders.spool)
        for entry in video[2:]:
            take.write(entry)
        publisher.hand_over(take)
        publisher.collect(wait=True)
        publisher.close()
        (clip,) = publisher.clips
        assert (clip.published, publisher.waits, list(rec_folders.spool.iterdir())) == (False, False, [])
        assert clip.error.endswith(f"{take.path.name}: nothing of it was written: No such file or directory")

    @pytest.mark.parametrize("frames", [24, 25, 32, 33])
    def test_the_last_frame_is_shown_though_the_source_gave_it_no_duration(
        self, rec_folders: Folders, rec_twice: Path, frames: int
    ) -> None:
        """Also if it is alone in its fragment: the muxer has no other frame to take a duration from."""
        take, video = begun(rec_folders, rec_twice, slice(frames))
        for entry in video:
            entry.packet.duration = 0  # type: ignore[attr-defined]
            take.write(entry)
        take.close()
        assert spool.read(take.path).frames == frames

    def test_a_spool_may_have_a_name_that_ffmpeg_reads_as_a_protocol(
        self, rec_twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folders = Folders(Path("concat:spool"), Path("concat:outbox"))
        folders.make()
        take, video = begun(folders, rec_twice, slice(8))
        for entry in video:
            take.write(entry)
        take.close()
        assert spool.read(take.path).frames == 8

    def test_published_clips_never_replace(self, rec_take: ClipWriter, rec_folders: Folders) -> None:
        rec_take.close()
        second = Path(shutil.copy(rec_take.path, rec_take.path.with_name("second.mp4")))
        stamp = "motion_20260503_142005"
        (rec_folders.outbox / f"{stamp}_20.0s.mp4").write_text("somebody's")
        one = spool.publish(rec_take.path, stamp, 20.0, rec_folders.outbox)
        other = spool.publish(second, stamp, 19.9, rec_folders.outbox, b"picture")
        assert (one.name, other.name) == (f"{stamp}_20.0s_2.mp4", f"{stamp}_19.9s_3.mp4")
        assert other.with_suffix(".jpg").read_bytes() == b"picture"
        assert (rec_folders.outbox / f"{stamp}_20.0s.mp4").read_text() == "somebody's"
        assert not list(rec_folders.spool.iterdir())

    def test_a_clip_that_cannot_be_moved_stays_and_leaves_no_picture(
        self, rec_take: ClipWriter, rec_folders: Folders, mocker: MockerFixture
    ) -> None:
        rec_take.close()
        mocker.patch.object(anchored, "move", side_effect=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space"):
            spool.publish(rec_take.path, "motion_20260503_142005", 20.0, rec_folders.outbox, b"picture")
        assert rec_take.path.exists()
        assert not list(rec_folders.outbox.iterdir())

    @pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
    def test_another_filesystem(self, rec_twice: Path, tmp_path: Path) -> None:
        folder = Path("/dev/shm") / f"camarchiver-{os.getpid()}"
        folder.mkdir()
        try:
            copy = Path(shutil.copy(rec_twice, folder / "motion_20260503_142005.0.mp4"))
            target = spool.salvage(copy, tmp_path)
            assert target is not None
            assert target.name == "motion_20260503_142005_24.0s.mp4"
            assert target.read_bytes() == rec_twice.read_bytes()
            assert list(tmp_path.iterdir()) == [target]
            assert not list(folder.iterdir())
        finally:
            shutil.rmtree(folder)

    def test_salvage_removes_what_was_empty_for_an_hour(self, rec_folders: Folders) -> None:
        path = rec_folders.spool / "motion_20260503_142005.0.mp4"
        path.write_bytes(b"\0\0\0\x1cftypisom")
        assert spool.salvage(path, rec_folders.outbox) is None
        assert path.exists()
        os.utime(path, (time.time() - 3700,) * 2)
        assert spool.salvage(path, rec_folders.outbox) is None
        assert not path.exists()

    def test_a_plan_goes_by_its_own_moment(self, rec_folders: Folders) -> None:
        path = rec_folders.spool / "motion_20260503_142005.0.mp4"
        path.write_bytes(b"\0\0\0\x1cftypisom")
        policy = SpoolPolicy(rec_folders.spool.parent, rec_folders.outbox.parent, OutboxLimits())
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for hours, steps in ((0.9, []), (1.1, [path])):
            planned = outbox_cleanup.plan(policy, written + timedelta(hours=hours))
            assert [step.path for step in planned.steps] == steps

    def test_a_plan_passes_over_what_leaves_meanwhile(
        self, rec_folders: Folders, mocker: MockerFixture
    ) -> None:
        paths = [rec_folders.spool / f"motion_20260503_14200{number}.0.mp4" for number in (1, 2)]
        others = [rec_folders.outbox / name for name in ("a.mp4", "b.mp4")]
        for path in (*paths, *others):
            path.write_bytes(b"\0\0\0\x1cftypisom")

        def is_empty(path: Path) -> bool:
            paths[1].unlink()
            return True

        def is_clip_name(name: str) -> bool:
            others[1].unlink(missing_ok=True)
            return True

        mocker.patch.object(spool, "is_empty", is_empty)
        mocker.patch.object(outbox_cleanup, "is_clip_name", is_clip_name)
        policy = SpoolPolicy(rec_folders.spool.parent, rec_folders.outbox.parent, OutboxLimits())
        planned = outbox_cleanup.plan(policy, datetime.now(UTC) + timedelta(days=1))
        assert [step.path for step in planned.steps] == paths[:1]
        assert [kept.path for kept in planned.left] == others[:1]

    def test_salvage_publishes_nothing_twice(self, rec_take: ClipWriter, rec_folders: Folders) -> None:
        rec_take.close()
        path = rec_take.path.rename(rec_take.path.with_name("motion_20260503_142005.0.mp4"))
        # killed between publishing and unlinking: by a link, by a copy, and while the picture was there alone
        for bring in (os.link, shutil.copy2):
            target = rec_folders.outbox / "motion_20260503_142005_20.0s.mp4"
            bring(path, target)
            spare = Path(shutil.copy2(path, path.with_name("spare")))
            assert spool.salvage(path, rec_folders.outbox) is None
            assert (path.exists(), list(rec_folders.outbox.iterdir())) == (False, [target])
            spare.rename(path)
            target.unlink()
        picture = rec_folders.outbox / "motion_20260503_142005_20.0s.jpg"
        picture.touch()
        assert spool.salvage(path, rec_folders.outbox) == picture.with_suffix(".mp4")

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_killed_at_any_change_the_next_start_has_the_clip_once(
        self,
        rec_twice: Path,
        rec_folders: Folders,
        other_disk: Path,
        sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int],
        elsewhere: bool,
    ) -> None:
        folders = Folders(rec_folders.spool, other_disk) if elsewhere else rec_folders
        path = folders.spool / "motion_20260503_142005.0.mp4"
        target = folders.outbox / "motion_20260503_142005_24.0s.mp4"
        shutil.copy(rec_twice, path)

        def check() -> None:
            for one in folders.outbox.glob("motion_*.mp4"):
                assert one.read_bytes() == rec_twice.read_bytes()
            folders.sweep()
            if path.exists():
                spool.salvage(path, folders.outbox)
            assert [*folders.spool.iterdir(), *folders.outbox.iterdir()] == [target]
            shutil.move(target, path)

        def act() -> None:
            spool.publish(path, "motion_20260503_142005", 24.0, folders.outbox)

        assert sweep_kills(act, check) >= (5 if elsewhere else 2)

    def test_leftovers_of_a_killed_copy_are_swept(self, rec_folders: Folders) -> None:
        left = rec_folders.outbox / ".motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4"
        other = rec_folders.outbox / ".rsync-partial"
        left.touch()
        other.touch()
        rec_folders.sweep()
        assert list(rec_folders.outbox.iterdir()) == [other]


OB_NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)

ObPut = Callable[..., Path]


class TestPublisher:
    def test_a_clip_that_waits_for_its_outbox_holds_no_pictures(
        self, rec_folders: Folders, rec_twice: Path
    ) -> None:
        class Followed:
            """A packet whose end can be seen."""

            def __init__(self, packet: Any) -> None:
                self.data = bytes(packet)
                self.pts, self.dts, self.duration = packet.pts, packet.dts, packet.duration
                self.time_base, self.is_keyframe = packet.time_base, packet.is_keyframe

            def __bytes__(self) -> bytes:
                return self.data

        def followed(entry: TimedPacket) -> TimedPacket:
            packet = Followed(entry.packet)
            seen.append(weakref.ref(packet))
            return replace(entry, packet=packet)

        seen: list[weakref.ref[Followed]] = []
        publisher = ClipPublisher("yard", rec_folders, pictures=False, on_clip=lambda clip: None)
        opened, entries = rec_items(rec_twice)
        video = [followed(entry) for entry in [each for each in entries if each.video][:90]]
        del video[50:53]
        take = ClipWriter(rec_folders, ClipStart(REC_START, video[0], 1.0, 0.0), opened.video, None)
        for entry in video:
            take.write(entry)
        away = rec_folders.outbox.rename(rec_folders.outbox.with_name("away"))
        publisher.hand_over(take)
        del video, entry
        wait_until(lambda: publisher.collect() or publisher.waits, "that it waits")
        assert (len(seen), [each for each in seen if each() is not None]) == (90, [])
        away.rename(rec_folders.outbox)
        publisher.close()
        (clip,) = publisher.clips
        assert (clip.published, clip.frames, clip.lost, clip.preroll) == (True, 87, 3, 1.0)

    def test_clips_are_closed_though_the_server_of_the_outbox_is_dead(
        self, rec_folders: Folders, rec_twice: Path
    ) -> None:
        opened, entries = rec_items(rec_twice)
        video = [entry for entry in entries if entry.video][:30]
        publisher = ClipPublisher("yard", rec_folders, pictures=False, on_clip=lambda clip: None)
        takes = []
        with dead_server(rec_folders.outbox):
            for number in range(3):
                start = ClipStart(REC_START + timedelta(minutes=number), video[0], 0.0, 0.0)
                takes.append(ClipWriter(rec_folders, start, opened.video, None))
                for entry in video:
                    takes[-1].write(entry)
                publisher.hand_over(takes[-1])
            wait_until(lambda: not opened_in(rec_folders.spool), "the last one's end")
            assert [spool.read(take.path).frames for take in takes] == [30] * 3
        wait_until(lambda: publisher.collect() or publisher.waits, "an error of the server")
        publisher.close()
        assert [clip.published for clip in publisher.clips] == [True] * 3

    def test_an_error_that_nobody_expected_costs_neither_the_clip_nor_the_recording(
        self,
        rec_take: ClipWriter,
        rec_folders: Folders,
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        publisher = ClipPublisher("yard", rec_folders, pictures=True, on_clip=lambda clip: None)
        broken = mocker.patch.object(outbox_publisher, "snapshot", side_effect=cv2.error("no memory"))
        publisher.hand_over(rec_take)
        wait_until(lambda: publisher.collect() or publisher.totals.failed, "the failure")
        (clip,) = publisher.clips
        assert (clip.published, clip.error) == (False, "error: no memory")
        assert "Traceback" in caplog.text
        mocker.stop(broken)
        publisher.salvage(set())
        publisher.close()
        (salvaged,) = publisher.salvaged
        assert spool.read(salvaged).frames == 300


def opened_in(folder: Path) -> list[str]:
    """Files below a folder that this process has open."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(each.readlink()))
    return [link for link in links if link.startswith(f"{folder}/")]


@pytest.fixture
def ob_put(tmp_path: Path) -> ObPut:
    """Put a clip of so many bytes, some days old, into the outbox."""

    def put(age: float, *, size: int = 1000, camera: str = "yard", picture: int = 0) -> Path:
        start = OB_NOW - timedelta(days=age)
        path = tmp_path / "outbox" / camera / f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (start.timestamp(),) * 2)
        if picture:
            path.with_suffix(".jpg").write_bytes(bytes(picture))
        return path

    return put


def test_a_plan_counts_a_clip_with_two_names_once(ob_put: ObPut, tmp_path: Path) -> None:
    """Both go: the first name frees nothing, the second one everything."""
    clip = ob_put(9)
    os.link(clip, ob_put(8).with_name(clip.name.replace("_10.0s", "_11.0s")))
    (tmp_path / "spool").mkdir()
    policy = SpoolPolicy(tmp_path / "spool", tmp_path / "outbox", OutboxLimits(timedelta(days=7)))
    planned = outbox_cleanup.plan(policy, OB_NOW)
    assert (len(planned.steps), [each.freed for each in planned.forecast]) == (3, [2000])
    outcomes = [*outbox_cleanup.perform(planned, OB_NOW, threading.Event())]
    assert sorted(each.freed for each in outcomes) == [0, 1000, 1000]


def ob_confirm(path: Path) -> None:
    """What scripts/transfer-clips writes."""
    outbox, status = path.parent.parent, path.stat()
    (outbox / ".camarchiver").mkdir(exist_ok=True)
    with (outbox / ".camarchiver/transferred").open("a") as file:
        file.write(f"{status.st_size} {status.st_mtime_ns} {path.relative_to(outbox)}\n")


class TestOutbox:
    def test_only_the_recorders_own_clips_are_found(self, ob_put: ObPut, tmp_path: Path) -> None:
        clip, folder = ob_put(3, picture=50), tmp_path / "outbox/yard"
        for name in (
            ".motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4",
            "motion_20260503_142005.mp4",
            "motion_20260503_142005_20.0s.mkv",
            "motion_20260503_142005_20.0s_0.mp4",
            "motion_20261399_142005_20.0s.mp4",
            "holiday.mp4",
            "motion_20260503_142005_20.0s.mp4.part",
        ):
            (folder / name).touch()
        (folder / "motion_20260503_142006_20.0s.mp4").symlink_to(clip)
        (folder / "motion_20260503_142007_20.0s.mp4").mkdir()
        (folder / "2026").mkdir()
        shutil.copy(clip, folder / "2026")
        ob_put(3, camera="door")
        (tmp_path / "outbox/.rsync").mkdir()
        found = list(outbox_store.waiting(tmp_path / "outbox", "yard", UTC))
        assert [(each.clip.path, each.size, each.clip.duration) for each in found] == [(clip, 1050, 10.0)]
        assert outbox_store.cameras(tmp_path / "outbox") == ("door", "yard")
        assert list(outbox_store.waiting(tmp_path / "outbox", "gate", UTC)) == []

    def test_a_transfer_is_confirmed_by_a_whole_line_on_this_very_file(
        self, ob_put: ObPut, tmp_path: Path
    ) -> None:
        clips = [ob_put(age) for age in (5, 4, 3, 2)]
        for clip in clips[:3]:
            ob_confirm(clip)
        os.utime(clips[1], (OB_NOW.timestamp(),) * 2)
        listed = tmp_path / "outbox/.camarchiver/transferred"
        odd = f"nonsense\n\n-1 2 x\n{'9' * 5000} 1 {clips[3].name}\n7 8"
        listed.write_text(listed.read_text().removesuffix("\n") + f"\n{odd}")
        found = outbox_store.waiting(tmp_path / "outbox", "yard", UTC)
        assert [each.transferred for each in found] == [True, False, True, False]
        listed.write_text(listed.read_text().split("\n")[0])  # torn before its end
        assert not any(each.transferred for each in outbox_store.waiting(tmp_path / "outbox", "yard", UTC))

    def test_a_file_that_changed_since_stays(self, ob_put: ObPut, tmp_path: Path) -> None:
        clip, other = ob_put(5, picture=10), ob_put(4)
        steps = [
            outbox_rules.discard(each.clip, Reason.KEEP_DAYS)
            for each in outbox_store.waiting(tmp_path / "outbox", "yard", UTC)
        ]
        clip.write_bytes(b"another")
        other.unlink()
        assert [outbox_store.remove(step, OB_NOW).result for step in steps] == [Result.STALE, Result.DONE]
        assert sorted(path.suffix for path in clip.parent.iterdir()) == [".jpg", ".mp4"]


class TestUpkeep:
    def tended(
        self, tmp_path: Path, limits: OutboxLimits, *, days: float = 0, camera: str = "yard"
    ) -> OutboxKeeper:
        """One look at the outbox, some days later."""
        tended = OutboxKeeper(camera, tmp_path / "outbox", limits, lambda: OB_NOW + timedelta(days=days))
        tended.start_removals()
        tended.close()
        assert not tended.problems
        return tended

    def test_what_goes_was_announced_a_day_before_each_by_name(
        self, ob_put: ObPut, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        old, young, others = ob_put(8, picture=10), ob_put(2), ob_put(9, camera="door")
        ob_confirm(old)
        foreign = old.with_name("holiday.mp4")
        shutil.copy2(old, foreign)
        limits = OutboxLimits(timedelta(days=7))
        first = self.tended(tmp_path, limits)
        assert ([*first.announced], first.outcomes) == ([old], ())
        assert f"{old} will be removed after 2026-05-21 12:00 (keep-days)" in caplog.text
        assert "its transfer was confirmed" in caplog.text
        assert not [*self.tended(tmp_path, limits, days=0.9).announced]
        assert old.exists()
        later = self.tended(tmp_path, limits, days=1)
        assert [(each.result, each.freed) for each in later.outcomes] == [(Result.DONE, 1010)]
        assert f"removed {old} (keep-days)" in caplog.text
        assert sorted(foreign.parent.iterdir()) == sorted([foreign, young])
        assert others.exists()

    def test_killed_at_any_change_it_goes_on_at_the_next_start(
        self,
        ob_put: ObPut,
        tmp_path: Path,
        sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int],
    ) -> None:
        old = [ob_put(age, picture=10) for age in (9, 8.5, 8)]
        new = [ob_put(5, picture=10), ob_put(9, camera="door")]
        state, limits = tmp_path / "outbox/.camarchiver", OutboxLimits(timedelta(days=7))
        holds.add(state, OB_NOW - timedelta(days=8.1), OB_NOW, camera="", reason="x", until=None)

        def act() -> None:
            for days in (0, 1.1):
                self.tended(tmp_path, limits, days=days)

        def check() -> None:
            assert all(path.exists() for path in (old[2], *new))
            assert all(path.with_suffix(".jpg").exists() for path in (old[2], new[0]))
            assert len(holds.read(state)) == 1
            # a picture never outlives its clip
            pictures = set((tmp_path / "outbox/yard").glob("*.jpg"))
            assert {path.with_suffix(".mp4") for path in pictures} <= set(
                (tmp_path / "outbox/yard").iterdir()
            )

        assert sweep_kills(act, check) >= 8
        assert [path.exists() for path in old] == [False, False, True]
        assert not list((state / "announced").glob(".*"))

    def test_a_hold_made_while_others_go_counts(
        self, ob_put: ObPut, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        clips = [ob_put(age) for age in (9, 8.5, 8)]
        state, limits = outbox_store.state(tmp_path / "outbox"), OutboxLimits(timedelta(days=7))
        self.tended(tmp_path, limits)
        delete = anchored.delete

        def delete_and_hold(*which: Any) -> None:
            delete(*which)
            if not holds.read(state):
                holds.add(state, OB_NOW - timedelta(9), OB_NOW, camera="", reason="x", until=None)

        mocker.patch.object(anchored, "delete", delete_and_hold)
        assert len(self.tended(tmp_path, limits, days=2).outcomes) == 1
        assert [clip.exists() for clip in clips] == [False, True, True]

    def test_a_hold_of_the_last_minute_counts(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(8)
        self.tended(tmp_path, OutboxLimits(timedelta(days=7)))
        state = outbox_store.state(tmp_path / "outbox")
        assert state.stat().st_mode & 0o777 == 0o700
        holds.add(state, OB_NOW - timedelta(days=9), OB_NOW, camera="", reason="x", until=None)
        assert self.tended(tmp_path, OutboxLimits(timedelta(days=7)), days=2).outcomes == ()
        assert old.exists()
        for name in ("holds.json", "holds.json.bak"):
            (state / name).write_text("{ torn")
        keeper = OutboxKeeper(
            "yard", tmp_path / "outbox", OutboxLimits(None, 1), lambda: OB_NOW + timedelta(days=2)
        )
        keeper.start_removals()
        keeper.close()
        assert "it is not known what is held" in next(iter(keeper.problems))
        assert old.exists()

    def test_a_read_only_outbox_is_complained_of_and_stops_nothing(
        self, ob_put: ObPut, tmp_path: Path, read_only: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.move(ob_put(8).parent, tmp_path / "behind")
        keeper = OutboxKeeper(
            "yard", read_only, OutboxLimits(timedelta(days=7)), lambda: OB_NOW, drops_oldest=True
        )
        keeper.start_removals()
        assert keeper.make_room(read_only, 50) == keeper.make_room(read_only, 50) == 0
        keeper.close()
        clip, folder = keeper.problems
        assert "yard is mounted read-only; mount it writable" in clip
        assert "Read-only file system" in folder
        assert [each.result for each in keeper.outcomes] == [Result.FAILED]
        assert "nothing is removed from the outbox" in caplog.text
        assert len(list((tmp_path / "behind/yard").iterdir())) == 1

    def test_announcements_that_cannot_be_read_are_made_anew(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(8)
        limits = OutboxLimits(timedelta(days=7))
        self.tended(tmp_path, limits)
        for path in (tmp_path / "outbox/.camarchiver/announced").iterdir():
            path.write_text('{"clips": {"yard/x": {"size": 1}}}')
        assert [*self.tended(tmp_path, limits, days=2).announced] == [old]
        assert self.tended(tmp_path, limits, days=3.5).outcomes
        assert not old.exists()

    def test_without_terms_nothing_is_touched_or_made(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(800)
        self.tended(tmp_path, OutboxLimits())
        assert [path.name for path in (tmp_path / "outbox").rglob("*")] == ["yard", old.name]

    def test_room_is_made_only_where_asked_for_and_only_on_that_disk(
        self, ob_put: ObPut, tmp_path: Path, other_disk: Path
    ) -> None:
        clips = [ob_put(age) for age in (5, 4, 3)]
        folder = clips[0].parent
        assert (
            OutboxKeeper("yard", tmp_path / "outbox", OutboxLimits(), lambda: OB_NOW).make_room(folder, 1)
            == 0
        )
        keeper = OutboxKeeper("yard", tmp_path / "outbox", OutboxLimits(), lambda: OB_NOW, drops_oldest=True)
        assert keeper.make_room(other_disk, 1) == 0
        assert all(clip.exists() for clip in clips)
        assert keeper.make_room(folder, 1500) == 2000
        assert [clip.exists() for clip in clips] == [False, False, True]
