"""record: against loopback cameras with the faults of real ones."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import av
import imageio_ffmpeg
import pytest
from av.packet import Packet
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.motion import detector
from camarchiver.naming import recorder_names
from camarchiver.record import disk_guard, recorder, retry
from camarchiver.record.capture.feed import Feed
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import CameraLost, Reader, StreamOpened
from camarchiver.record.capture.sound.aac_encoder import AacEncoder
from camarchiver.record.capture.sound.formats import Uncompressed
from camarchiver.record.capture.source import Camera, FileCamera, camera
from camarchiver.record.clip_rules import RecordingLengths
from camarchiver.record.detection_stream import BesideOrOwnStream, BesideStream
from camarchiver.record.outbox import spool
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.recorded_clip import Recorded
from camarchiver.record.outbox.spool import Unfit
from tests.cameras import frames_of
from tests.processes import children_with, wait_until
from tests.record.rtsp import Faults, RtspServer
from tests.recordings import RecRecorder, RecSource, rec_items, rec_packets, rec_place, rec_slices, rec_watch
from tests.samples import REC_START

# The camera plays in real time: what comes late on a machine that does other things is late in the clip, too.
# Only a second failure counts; `scripts/test` names what failed once.
pytestmark = pytest.mark.flaky(reruns=1)


@pytest.fixture(autouse=True)
def _quickly_learned(mocker: MockerFixture) -> None:
    """The detector knows the picture before it moves, even if a busy machine loses the first second."""
    mocker.patch.object(detector, "WARM_UP_TIME", 2.0)


@pytest.fixture
def rec_simple(rec_make: Callable[..., Path]) -> Path:
    """Eight seconds with sound as a camera sends it, without reordered frames; motion from 3 to 4.5."""
    return rec_make((3, 4.5), d=8, options="-g 15 -bf 0")


def open_files() -> int:
    """Descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def rec_mjpeg(rec_simple: Path, tmp_path: Path) -> Path:
    """The simple scene as JPEG pictures that RTP can carry (RFC 2435)."""
    made = tmp_path / "mjpeg.mkv"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_simple), "-an", "-s", "320x240"]
    words = ["-c:v", "mjpeg", "-huffman", "default", "-pix_fmt", "yuvj420p", "-q:v", "5"]
    subprocess.run([*command, *words, str(made)], check=True)
    return made


class TestLosses:
    @pytest.mark.parametrize(
        ("losses", "hang_up", "scene"),
        [(20, 0.0, "rec_simple"), (20, 0.2, "rec_simple"), (6, 0.3, "rec_mjpeg")],
    )
    def test_a_lost_source_leaves_nothing_open(
        self,
        request: pytest.FixtureRequest,
        mocker: MockerFixture,
        losses: int,
        hang_up: float,
        scene: str,
    ) -> None:
        """JPEG pictures are encoded, in a process that ends with each loss."""
        mocker.patch.object(retry, "BACKOFF", (0.01,))
        with RtspServer(request.getfixturevalue(scene), Faults(hang_up=hang_up)) as server:
            seeking = Reader(camera(server.url), encodes=True)
            counts = []
            while len(counts) < losses:
                if isinstance(seeking.take(20), CameraLost):
                    counts.append((open_files(), threading.active_count(), resident()))
            seeking.close()
        # the camera's own side of the last connections may be there still, and of the next one, or not yet
        late = counts[losses // 2 :]
        assert min(files for files, _, _ in late) <= counts[0][0] + 2
        assert min(threads for _, threads, _ in late) <= counts[0][1] + 2
        assert counts[-1][2] - counts[len(counts) // 2][2] < 2 << 20
        assert not children_with("pipe:1")


Record = Callable[..., list[Recorded]]


@dataclass(frozen=True)
class Once:
    """A camera whose recording ends when it hangs up."""

    camera: Camera
    live: bool = True
    reconnects: bool = False

    @property
    def name(self) -> str:
        return self.camera.name

    def open(self) -> Feed:
        return self.camera.open()


@pytest.fixture
def rec_of(rec_simple: Path, rec_recorder: Callable[..., RecRecorder]) -> Record:
    """Record what a faulty camera sends in some seconds; what came of it."""

    def record(faults: Faults, seconds: float, clip: Path | None = None, **how: Any) -> list[Recorded]:
        with RtspServer(clip or rec_simple, replace(faults, hang_up=seconds)) as server:
            return rec_recorder(Once(camera(server.url)), **how).run()

    return record


def assert_plays(clip: Recorded) -> None:
    """From its first picture on, as long as its name says, sound and picture together."""
    assert not clip.error
    with av.open(str(clip.path)) as container:
        shown = [float(frame.time or 0) for frame in container.decode(video=0)]
        assert len(shown) == clip.frames
        assert shown[0] == pytest.approx(0, abs=0.01)
        assert shown == sorted(shown)
        assert clip.seconds == pytest.approx(shown[-1] + 1 / 15, abs=0.15)
        assert container.duration == pytest.approx(clip.seconds * 1e6, abs=500_000)


def heard(clip: Recorded) -> tuple[float, float]:
    """When a clip's sound begins and ends, in seconds."""
    times = rec_packets(clip.path).audio_times
    return times[0], times[-1]


class TestSound:
    @pytest.mark.parametrize("jump", [-300.0, 7200.0, -1.5])
    def test_a_clock_that_steps_is_followed_by_arrival(
        self, rec_of: Record, jump: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        (clip,) = rec_of(Faults(audio_jump=(3.5, jump)), 9)
        assert_plays(clip)
        begin, end = heard(clip)
        # the first sound of a connection may be lost in opening it
        assert begin < 0.6
        assert clip.seconds - 0.3 < end < clip.seconds + 0.1
        assert caplog.text.count("its sound has another clock") == 1

    def test_pictures_that_come_later_than_the_sound(self, rec_of: Record) -> None:
        (clip,) = rec_of(Faults(video_late=6.0, reports=0), 16)
        assert_plays(clip)
        begin, end = heard(clip)
        assert begin < 0.4
        assert clip.seconds - 0.3 < end < clip.seconds + 0.1

    def test_sound_of_another_time_reaches_no_muxer(self, rec_simple: Path, rec_folders: Folders) -> None:
        opened, entries = rec_items(rec_simple)
        take = ClipWriter(rec_folders, ClipStart(REC_START, entries[0], 0.0, 0.0), opened.video, opened.audio)
        for number, entry in enumerate(entries):
            off = (-90000.0, 90000.0, 0.0, 11.0)[number % 4] if not entry.video else 0.0
            packet = cast("Any", entry.packet)
            packet.pts += int(off / packet.time_base)
            packet.dts += int(off / packet.time_base)
            take.write(replace(entry, at=entry.at + off, order=entry.order + off))
        take.close()
        assert not take.failed
        found = spool.read(take.path, frames=8 * 15)
        assert found.seconds == pytest.approx(8.0, abs=0.1)

    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_times_come_a_clip_can_be_read_again(
        self, rec_make: Callable[..., Path], rec_folders: Folders, seed: int
    ) -> None:
        """The muxer aborts the process where times are too far apart."""
        chance = random.Random(seed)
        opened, entries = rec_items(rec_make((3, 4.5), d=8, options="-g 15 -bf 2"))
        for _ in range(10):
            label = ClipStart(REC_START, entries[0], 0.0, 0.0)
            take = ClipWriter(rec_folders, label, opened.video, opened.audio)
            share = chance.choice((0.01, 0.1, 0.5, 1.0))
            for entry in entries:
                packet = cast("Any", entry.packet)
                copy: Any = Packet(bytes(packet))
                far = chance.choice((0, 1, 1e3, 1e5, 1e7, 1e9, 2**31, 2**40))
                off = [0, 0, 0]
                if entry is not entries[0] and chance.random() < share:
                    off = [int(chance.uniform(-far, far)) for _ in off]
                copy.pts, copy.dts, copy.duration = (
                    known + more
                    for known, more in zip((packet.pts, packet.dts, packet.duration), off, strict=True)
                )
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                at, order = (float(moment * copy.time_base) for moment in (copy.pts, copy.dts))
                take.write(replace(entry, at=at, order=order, packet=copy))
            take.close()
            assert not take.failed
            assert spool.read(take.path, frames=take.frames).frames

    def test_a_clip_whose_sound_is_of_another_time_is_unfit(self, rec_simple: Path, tmp_path: Path) -> None:
        odd = tmp_path / "odd.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_simple)]
        command += ["-itsoffset", "7200", "-i", str(rec_simple), "-map", "0:v", "-map", "1:a", "-c", "copy"]
        subprocess.run([*command, str(odd)], check=True)
        with pytest.raises(Unfit, match="another time"):
            spool.read(odd)


class TestPicture:
    @pytest.mark.parametrize(
        "faults",
        [
            Faults(parameters_in_sdp=False, keyframes_late=6.2),
            Faults(parameters_in_sdp=False, video_late=6.0),
            Faults(parameters_twice=2),
            Faults(parameters_in_stream=False),
        ],
    )
    def test_what_the_pictures_are_is_learned_once(
        self, rec_of: Record, faults: Faults, caplog: pytest.LogCaptureFixture
    ) -> None:
        (clip,) = rec_of(faults, 16 if faults.video_late or faults.keyframes_late else 9)
        assert_plays(clip)
        assert clip.seconds > 6
        assert "another picture" not in caplog.text
        assert "not recording" not in caplog.text

    def test_a_timelapse_waits_until_they_are_known(
        self, rec_of: Record, caplog: pytest.LogCaptureFixture
    ) -> None:
        (lapse,) = rec_of(Faults(parameters_in_sdp=False, keyframes_late=6.2), 9, timelapse=1.0)
        assert lapse.path.name.startswith("timelapse_")
        assert frames_of(lapse.path) == lapse.frames > 0
        assert "not recording" not in caplog.text

    def test_parameter_sets_in_other_bytes_are_the_same_picture(
        self, rec_make: Callable[..., Path], rec_of: Record, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = rec_make((3, 4.5), d=8, options="-g 15 -bf 0 -x264-params fullrange=off:colorprim=bt709")
        (clip,) = rec_of(Faults(other=other, other_at=3.5), 9)
        assert_plays(clip)
        assert "another picture" not in caplog.text

    @pytest.mark.parametrize("in_sdp", [True, False])
    def test_another_size_begins_another_clip_and_keeps_the_post_roll(
        self, rec_make: Callable[..., Path], rec_of: Record, in_sdp: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        scene = rec_make((5, 6.5), d=10, options="-g 15 -bf 0")
        other = rec_make((5, 6.5), d=10, options="-g 15 -bf 0 -s 320x180")
        faults = Faults(parameters_in_sdp=in_sdp, parameters_in_stream=not in_sdp, other=other, other_at=6.5)
        clips = rec_of(faults, 11, scene)
        sizes = []
        for clip in clips:
            assert_plays(clip)
            with av.open(str(clip.path)) as container:
                sizes.append({(frame.width, frame.height) for frame in container.decode(video=0)})
        assert sizes == [{(640, 360)}, {(320, 180)}]
        assert sum(clip.seconds for clip in clips) > 6
        assert caplog.text.count("another picture") == 1


class TestDetectionStream:
    @pytest.mark.parametrize(
        ("recorded", "watched"),
        [
            (Faults(clock=1.2), Faults()),
            (Faults(), Faults(clock=0.9)),
            (Faults(burst=1.0), Faults()),
            (Faults(), Faults(burst=1.0)),
        ],
    )
    def test_its_motion_is_found_in_the_recorded_stream(
        self,
        rec_make: Callable[..., Path],
        rec_recorder: Callable[..., RecRecorder],
        recorded: Faults,
        watched: Faults,
    ) -> None:
        # The detector looks for three seconds before it finds anything.
        scene = rec_make((5, 6.5), (13, 14.5), d=18, options="-g 15 -bf 0", sound=False)
        since = time.monotonic() + 0.5
        with (
            RtspServer(scene, replace(recorded, hang_up=19), since=since) as large,
            RtspServer(scene, watched, since=since) as small,
        ):
            beside = BesideStream(rec_watch(), camera(small.url))
            clips = rec_recorder(Once(camera(large.url)), detection=beside).run()
        assert len(clips) == 2
        assert all(clip.preroll == pytest.approx(2.5, abs=0.8) for clip in clips)
        for clip in clips:
            assert first_motion(clip.path) == pytest.approx(clip.preroll, abs=0.6)


def first_motion(path: Path) -> float:
    """When a clip's picture first differs from its beginning, in seconds of its own time."""
    with av.open(str(path)) as container:
        shown = container.decode(video=0)
        frames = [(float(frame.time or 0), frame.to_ndarray(format="gray")) for frame in shown]
    (begin, still), *rest = frames
    return next(time - begin for time, grey in rest if (abs(grey.astype(int) - still) > 40).mean() > 0.002)


class TestPasswords:
    @pytest.mark.parametrize("basic", [True, False])
    @pytest.mark.parametrize("by_file", [True, False])
    def test_any_password_opens_the_camera(self, rec_simple: Path, basic: bool, by_file: bool) -> None:
        login = "admin:p@s/w#o?r%41 d:"
        with RtspServer(rec_simple, Faults(login=login, basic=basic)) as server:
            if by_file:
                source = camera(server.url, credentials=login)
            else:
                source = camera(server.url.replace("//", f"//{quote(login, safe=':')}@"))
            seen = Reader(source)
            assert isinstance(seen.take(10), StreamOpened)
            seen.close()


class TestReorderedPictures:
    @pytest.mark.parametrize(
        ("options", "seconds"),
        [("-g 15 -bf 2", 9), ("-g 15 -bf 3 -x264-params open-gop=1:keyint=15:b-pyramid=normal", 9)],
    )
    def test_a_clip_plays_as_long_as_its_name_says(
        self, rec_make: Callable[..., Path], rec_of: Record, options: str, seconds: float
    ) -> None:
        scene = rec_make((3, 4.5), d=8, options=options)
        clips = rec_of(Faults(), seconds, scene, lengths=RecordingLengths(longest=3.0))
        assert len(clips) >= 2
        for clip in clips:
            assert_plays(clip)
            assert not clip.lost
        assert sum(clip.seconds for clip in clips) > 5.5

    @pytest.mark.parametrize("options", ["-g 15 -bf 2", "-g 15 -bf 3 -x264-params open-gop=1:keyint=15"])
    def test_wherever_a_clip_begins_and_ends(
        self, rec_make: Callable[..., Path], rec_folders: Folders, options: str
    ) -> None:
        opened, entries = rec_items(rec_make((3, 4.5), d=8, options=options))
        first = next(entry for entry in entries if entry.video and entry.key and entry.at > 1.9)
        begin = entries.index(first)
        ends = [number for number, entry in enumerate(entries) if entry.video and number > begin + 60]
        for end in ends[:12]:
            take = ClipWriter(rec_folders, ClipStart(REC_START, first, 0.0, 0.0), opened.video, opened.audio)
            for entry in entries[begin : end + 1]:
                take.write(entry)
            take.close()
            found = spool.read(take.path, frames=take.frames)
            assert frames_of(take.path) == found.frames
            sent = [entry.at for entry in entries[begin : end + 1] if entry.video]
            assert found.seconds == pytest.approx(sent[-1] - sent[0], abs=0.5)


class TestKindsOfStreams:
    """What encoders make besides plain groups of pictures."""

    KINDS = (
        "-g 15 -bf 3 -x264-params open-gop=1:b-pyramid=normal",
        "-g 15 -bf 2 -flags +ilme+ildct -x264-params tff=1",
        "-bf 0 -x264-params intra-refresh=1:keyint=15",
    )

    @pytest.mark.parametrize("options", KINDS)
    def test_clips_are_shown_whole_and_archived(
        self, rec_make: Callable[..., Path], rec_of: Record, options: str
    ) -> None:
        """Split in the middle; nothing is shown twice or missing between the parts."""
        scene = rec_make((3, 7), d=16, options=options)
        clips = rec_of(Faults(), 14, scene, lengths=RecordingLengths(longest=4.0))
        assert len(clips) >= 2
        for clip in clips:
            assert_plays(clip)
        if "open-gop" not in options:
            # the pictures that are shown
            parts = [rec_slices(clip.path)[-clip.frames :] for clip in clips[:2]]
            assert rec_place(parts[0] + parts[1], rec_slices(scene)) >= 0
        assert_archived(clips)

    def test_gradual_refresh_in_hevc(
        self, rec_make: Callable[..., Path], rec_of: Record, tmp_path: Path
    ) -> None:
        """No keyframe but the first; PyAV says nothing of those from which the picture is sent anew."""
        scene = tmp_path / "gradual.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i"]
        command += [str(rec_make((4.5, 7.5), d=14, options="-g 15 -bf 0")), "-c:a", "copy", "-c:v", "libx265"]
        command += ["-preset", "ultrafast", "-x265-params"]
        refreshed = "log-level=none:bframes=0:keyint=15:intra-refresh=1"
        subprocess.run([*command, refreshed, str(scene)], check=True)
        clips = rec_of(Faults(refreshes=15), 12, scene, lengths=RecordingLengths(longest=5.0))
        assert len(clips) == 2
        assert clips[0].preroll == pytest.approx(2.5, abs=0.3)
        assert sum(clip.seconds for clip in clips) == pytest.approx(8.5, abs=0.6)
        for clip in clips:
            assert_plays(clip)
        assert_archived(clips)

    def test_what_a_dead_recorder_left_of_a_gradual_refresh_is_salvaged(
        self, rec_make: Callable[..., Path], rec_of: Record, rec_folders: Folders
    ) -> None:
        scene = rec_make((3, 7), d=16, options=self.KINDS[2])
        kept: list[Path] = []

        def keep(writer: ClipWriter) -> None:
            name = f"{writer.path.name.partition('.')[0]}.dead.mp4"
            kept.append(Path(shutil.copy(writer.path, writer.path.with_name(name))))
            close(writer)

        close = ClipWriter.close
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClipWriter, "close", keep)
            rec_of(Faults(), 9, scene)
        target = spool.salvage(kept[0], rec_folders.outbox)
        assert target is not None
        assert float(target.stem.split("_")[3].rstrip("s")) == pytest.approx(frames_of(target) / 15, abs=0.15)


def assert_archived(clips: list[Recorded]) -> None:
    """`archive` takes all of them, with every picture."""
    outbox = clips[0].path.parent.parent
    for clip in clips:
        os.utime(clip.path, (time.time() - 7200,) * 2)
    command = [str(Path(sys.executable).with_name("camarchiver")), "archive", str(outbox), "--age", "0"]
    ran = subprocess.run([*command, "--codec", "h264", "-y"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    archived = sorted(outbox.glob("archived/**/motion_*.mp4"))
    assert [frames_of(path) for path in archived] == [clip.frames for clip in clips]


class TestFirstPicture:
    def test_the_first_keyframe_has_its_time(self, rec_simple: Path) -> None:
        with RtspServer(rec_simple) as server:
            reading = Reader(camera(server.url))
            assert isinstance(reading.take(10), StreamOpened)
            frames: list[TimedPacket] = []
            while len(frames) < 20:
                item = reading.take(10)
                if isinstance(item, TimedPacket) and item.video:
                    frames.append(item)
            reading.close()
        assert frames[0].key
        distances = [later.at - earlier.at for earlier, later in pairwise(frames)]
        assert distances == pytest.approx([1 / 15] * 19, abs=0.001)


class TestOutboxAway:
    def test_clips_wait_in_the_spool_and_are_published_when_it_is_back(
        self,
        rec_simple: Path,
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        mocker.patch.object(recorder, "RETRY_SECONDS", 0.2)
        mocker.patch.object(disk_guard, "PAUSE", 0.2)
        with RtspServer(rec_simple, Faults(hang_up=18)) as server:
            made = rec_recorder(Once(camera(server.url)))
            outbox = made.folders.outbox
            elsewhere = outbox.with_name("elsewhere")

            def go_and_come_back() -> None:
                wait_until(lambda: made.recorder.frames > 10, "the first frames", 20)
                outbox.rename(elsewhere)
                wait_until(lambda: made.publisher.waits, "a clip that waits", 20)
                elsewhere.rename(outbox)
                wait_until(lambda: made.publisher.clips.count, "its publication", 20)

            mover = threading.Thread(target=go_and_come_back)
            mover.start()
            clips = made.run()
            mover.join()
        assert len(clips) == 2
        for clip in clips:
            assert clip.published
            assert_plays(clip)
        assert caplog.text.count("its outbox is away (No such file or directory)") == 1
        assert caplog.text.count("its outbox is back") == 1
        assert caplog.text.count("waits in the spool: ") == 1
        assert not list(made.folders.spool.glob("*.mp4"))
        assert not made.recorder.refused

    def test_one_that_does_not_answer_holds_nothing_up(
        self, rec_folders: Folders, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        mocker.patch.object(disk_guard, "ANSWER", 0.05)
        answer = threading.Event()
        real = shutil.disk_usage

        def usage(folder: Path) -> Any:
            if folder == rec_folders.outbox:
                answer.wait(10)
            return real(folder)

        mocker.patch.object(shutil, "disk_usage", usage)
        guard = disk_guard.DiskGuard("yard", rec_folders, 0, lambda folder, short: 0)
        began = time.monotonic()
        assert all(guard.is_there() for _ in range(5))
        assert time.monotonic() - began < 5
        assert caplog.text.count("its outbox is away (no answer)") == 1
        answer.set()
        wait_until(guard.outbox_is_there, "the answer")
        assert caplog.text.count("its outbox is back") == 1


class TestSalvage:
    def test_the_camera_does_not_wait_for_it(
        self, rec_simple: Path, rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        real = spool.salvage
        opened = threading.Event()
        waited: list[bool] = []

        def slow(path: Path, outbox: Path) -> Path | None:
            waited.append(opened.wait(5))
            return real(path, outbox)

        mocker.patch.object(spool, "salvage", slow)

        class Source(RecSource):
            def open(self) -> Feed:
                opened.set()
                return super().open()

        made = rec_recorder(Source([rec_simple]))
        for number in range(6):
            shutil.copy(rec_simple, made.folders.spool / f"motion_20260503_14200{number}.abcdef0{number}.mp4")
        (clip,) = made.run()
        assert waited == [True] * 6
        assert not clip.error
        assert made.publisher.salvaged.count == 6
        assert not list(made.folders.spool.glob("*.mp4"))


class TestAbility:
    def test_a_recorder_that_cannot_write_starves_the_watchdog_until_it_can(
        self,
        rec_simple: Path,
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        mocker.patch.object(disk_guard, "PAUSE", 0.5)
        real = ClipWriter._add_streams
        broken = threading.Event()
        broken.set()

        def add(self: ClipWriter, *streams: Any) -> None:
            if broken.is_set():
                raise OSError(errno.EMFILE, "Too many open files")
            real(self, *streams)

        mocker.patch.object(ClipWriter, "_add_streams", add)
        manager = mocker.Mock(beat_seconds=10.0)
        with RtspServer(rec_simple, Faults(hang_up=16)) as server:
            made = rec_recorder(Once(camera(server.url)), manager=manager)
            fed: list[int] = []

            def mend() -> None:
                wait_until(lambda: made.recorder.refused, "a clip that can't be begun", 20)
                # the frame that met the error was counted before
                time.sleep(0.2)
                for _ in range(2):
                    fed.append(manager.beat.call_count)
                    time.sleep(1)
                broken.clear()
                wait_until(lambda: not made.recorder.is_full, "a trial", 20)

            mender = threading.Thread(target=mend)
            mender.start()
            clips = made.run()
            mender.join()
        assert fed[0] == fed[1]
        assert 0 < fed[0] < manager.beat.call_count - 20
        assert "clips can be written again, recording goes on" in caplog.text
        assert clips
        assert len(list(made.folders.spool.iterdir())) == len(list(made.folders.spool.glob(".*")))

    def test_a_camera_without_keyframes_is_complained_of(
        self,
        rec_simple: Path,
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        mocker.patch.object(recorder, "READY_SECONDS", 1.5)
        manager = mocker.Mock(beat_seconds=10.0)
        complained = threading.Event()
        faults = Faults(keyframes_late=60, parameters_in_sdp=False, until=complained, hang_up=60)
        with RtspServer(rec_simple, faults) as server:
            made = rec_recorder(Once(camera(server.url)), manager=manager)

            def listen() -> None:
                wait_until(lambda: "no clip can be begun" in caplog.text, "a complaint", 50)
                # long enough for a second one
                time.sleep(2)
                complained.set()

            listener = threading.Thread(target=listen)
            listener.start()
            assert made.run() == []
            listener.join()
        assert caplog.text.count("no clip can be begun") == 1
        assert manager.beat.call_count < made.recorder.frames


class TestTimes:
    def test_pictures_that_all_have_one_time_are_timed_by_their_arrival(
        self, rec_of: Record, caplog: pytest.LogCaptureFixture
    ) -> None:
        (clip,) = rec_of(Faults(same_time=True), 17)[-1:]
        assert_plays(clip)
        assert clip.seconds > 5
        begin, end = heard(clip)
        assert begin < 1.0
        assert end > clip.seconds - 0.4
        assert caplog.text.count("all its pictures have one time") == 1

    @pytest.mark.parametrize("step", [5.0, -3.0])
    def test_a_clock_that_is_set_by_some_seconds_costs_nothing(
        self, rec_of: Record, step: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        (clip,) = rec_of(Faults(jump=(5.5, step), reports=0), 9)
        assert_plays(clip)
        assert clip.seconds == pytest.approx(6.5, abs=0.7)
        assert not clip.lost
        begin, end = heard(clip)
        assert begin < 0.5
        assert end > clip.seconds - 0.3
        assert caplog.text.count("its clock was set by") == 1

    def test_a_clip_that_ends_where_the_clock_is_set_has_no_sound_beyond_its_pictures(
        self, rec_of: Record, rec_make: Callable[..., Path]
    ) -> None:
        scene = rec_make((3, 4.5), d=8, options="-g 15 -bf 2")
        clip = rec_of(Faults(jump=(5.5, 3600.0), reports=0), 9, scene)[0]
        assert_plays(clip)
        assert 0.3 > heard(clip)[1] - clip.seconds > -0.3


class TestSessions:
    def test_a_camera_that_allows_one_session_takes_the_next_run_at_once(self, rec_simple: Path) -> None:
        with RtspServer(rec_simple, Faults(sessions=1)) as server:
            for number in range(1, 4):
                reading = Reader(camera(server.url))
                assert isinstance(reading.take(10), StreamOpened)
                reading.close()
                # the goodbye is sent when this returns, and on its way
                wait_until(lambda: server.requests.count("TEARDOWN") == number, "the goodbye")  # noqa: B023

    @pytest.mark.parametrize("faults", [Faults(sessions=1), Faults(displaces=True)])
    def test_with_one_session_motion_is_looked_for_in_the_recorded_stream(
        self,
        rec_make: Callable[..., Path],
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
        faults: Faults,
    ) -> None:
        mocker.patch.object(retry, "REFUSED", (0.5,))
        mocker.patch.object(retry, "BACKOFF", (0.2,))
        scene = rec_make((9, 10.5), d=16, options="-g 15 -bf 0", sound=False)
        with RtspServer(scene, faults, since=time.monotonic()) as server:
            beside = BesideOrOwnStream(rec_watch(), camera(server.url))
            (clip,) = rec_recorder(camera(server.url), duration=15, detection=beside).run()
        assert_plays(clip)
        assert clip.seconds == pytest.approx(6.5, abs=1.2)
        assert caplog.text.count("allows no second session") == 1

    def test_a_refused_stream_is_used_once_it_is_allowed(
        self,
        rec_make: Callable[..., Path],
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
    ) -> None:
        mocker.patch.object(retry, "REFUSED", (1.0,))
        scene = rec_make((7, 8.5), d=16, options="-g 15 -bf 0", sound=False)
        still = rec_make(d=16, options="-g 15 -bf 0", sound=False)
        since = time.monotonic()
        with (
            RtspServer(still, since=since) as large,
            RtspServer(scene, Faults(sessions=1), since=since) as small,
        ):
            small.held["a dead one"] = time.monotonic() + 2.5
            beside = BesideOrOwnStream(rec_watch(), camera(small.url))
            clips = rec_recorder(camera(large.url), duration=13, detection=beside).run()
        assert len(clips) == 1

    def test_a_camera_that_refuses_is_asked_less_often(self, rec_simple: Path, mocker: MockerFixture) -> None:
        mocker.patch.object(retry, "REFUSED", (1.0,))
        mocker.patch.object(retry, "BACKOFF", (0.01,))
        with RtspServer(rec_simple, Faults(sessions=1)) as server:
            server.held["a dead one"] = time.monotonic() + 600
            reading = Reader(camera(server.url))
            answers = [(reading.take(20), time.monotonic()) for _ in range(3)]
            del server.held["a dead one"]
            assert isinstance(reading.take(20), StreamOpened)
            reading.close()
        assert all(isinstance(item, CameraLost) and item.refused for item, _ in answers)
        assert all(later - earlier > 0.8 for (_, earlier), (_, later) in pairwise(answers))


class TestDamage:
    @pytest.mark.parametrize(
        "faults",
        [
            Faults(broken_sound=tuple(range(100, 400, 17))),
            Faults(twice_sound=tuple(range(100, 400, 17))),
        ],
    )
    def test_damaged_sound_ends_no_clip(
        self, rec_of: Record, faults: Faults, caplog: pytest.LogCaptureFixture
    ) -> None:
        (clip,) = rec_of(faults, 9)
        assert_plays(clip)
        assert heard(clip)[1] > clip.seconds - 0.3
        assert "not recording" not in caplog.text

    @pytest.mark.parametrize("codec", ["libmp3lame -ar 44100", "libopus -ar 48000 -ac 2"])
    def test_sound_goes_by_its_codec(
        self, rec_make: Callable[..., Path], rec_of: Record, tmp_path: Path, codec: str
    ) -> None:
        """Their decoders may have another name."""
        scene = tmp_path / "scene.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i"]
        command += [str(rec_make((3, 4.5), d=8, options="-g 15 -bf 0")), "-c:v", "copy", "-c:a"]
        subprocess.run([*command, *codec.split(), str(scene)], check=True)
        (clip,) = rec_of(Faults(), 9, scene)
        assert_plays(clip)
        assert heard(clip)[1] > clip.seconds - 0.3

    def test_a_stream_that_gains_sound_is_recorded_on(
        self, rec_simple: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path
    ) -> None:
        """The second part of a transport stream announces sound."""
        parts = tmp_path / "silent.ts", tmp_path / "heard.ts"
        for part, words in zip(parts, ("-an", "-output_ts_offset 8"), strict=True):
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_simple), "-c", "copy"]
            subprocess.run([*command, *words.split(), str(part)], check=True)
        both = tmp_path / "both.ts"
        both.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
        clips = rec_recorder(FileCamera(both)).run()
        assert len(clips) == 2
        for clip in clips:
            assert_plays(clip)

    def test_an_old_codec_is_encoded(
        self, rec_simple: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path
    ) -> None:
        old = tmp_path / "old.avi"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_simple), "-an"]
        subprocess.run([*command, "-c:v", "msmpeg4v2", "-b:v", "2M", str(old)], check=True)
        (clip,) = rec_recorder(FileCamera(old)).run()
        assert not clip.error
        assert clip.frames > 80

    def test_a_codec_that_nobody_knows_is_no_end(self, rec_simple: Path) -> None:
        with RtspServer(rec_simple, Faults(codec_name="NOVEL")) as server:
            seeking = Reader(camera(server.url))
            lost = seeking.take(30)
            seeking.close()
        assert isinstance(lost, CameraLost)
        assert "video" in lost.reason


@pytest.fixture(scope="session")
def rec_g711(tmp_path_factory: pytest.TempPathFactory, rec_make: Callable[..., Path]) -> Callable[..., Path]:
    """The moving clip with a tone in the second half of each second, in a codec that mp4 can't hold."""
    folder = tmp_path_factory.mktemp("g711")

    def make(codec: str) -> Path:
        path = folder / f"{codec}.mov"
        tone = "aevalsrc='if(gte(mod(t,1),0.5),sin(2760*t)/4,0)':s=8000:d=8"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i"]
        command += [str(rec_make((3, 4.5), d=8, options="-g 15 -bf 0")), "-f", "lavfi", "-i", tone]
        command += ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", codec, "-ac", "1"]
        subprocess.run([*command, str(path)], check=True)
        return path

    return make


def onsets(path: Path) -> list[float]:
    """When a tone begins, in seconds of the clip."""
    found: list[float] = []
    was_loud = True
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            level = abs(frame.to_ndarray().astype(float).reshape(-1))
            level = level / (32768 if frame.format.name.startswith("s16") else 1)
            for number in range(0, len(level), 80):
                is_loud = level[number : number + 80].max() > 0.03
                if is_loud and not was_loud:
                    found.append(float(frame.time or 0) + number / frame.sample_rate)
                was_loud = bool(is_loud)
    return found


class TestUncompressedSound:
    @pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_mulaw"])
    @pytest.mark.parametrize(("chosen", "suffix"), [("keep", ".mov"), ("aac", ".mp4"), ("drop", ".mp4")])
    def test_it_is_kept_or_encoded_or_left_out(
        self, rec_g711: Callable[..., Path], rec_of: Record, codec: str, chosen: str, suffix: str
    ) -> None:
        scene = rec_g711(codec)
        (clip,) = rec_of(Faults(), 9, scene, uncompressed=Uncompressed(chosen))
        assert clip.path.suffix == suffix
        assert_plays(clip)
        with av.open(str(clip.path)) as container:
            kinds = [stream.codec_context.codec.canonical_name for stream in container.streams.audio]
        assert kinds == {"keep": [codec], "aac": ["aac"], "drop": []}[chosen]
        if kinds:
            begin, end = heard(clip)
            # The first sound of a connection comes after the first picture, later on a busy machine.
            assert -0.2 < begin < 0.6
            assert end == pytest.approx(clip.seconds, abs=0.3)
            tones = onsets(clip.path)
            assert len(tones) >= int(clip.seconds) - 1
            assert [tone % 1 for tone in tones] == pytest.approx([0.5] * len(tones), abs=0.06)

    @pytest.mark.parametrize("faults", [Faults(reports=0), Faults(first_report=2.5)])
    def test_before_a_sender_report_it_is_placed_by_arrival(
        self, rec_g711: Callable[..., Path], rec_of: Record, faults: Faults
    ) -> None:
        """Until then the timestamps of each stream begin with its own first packet."""
        (clip,) = rec_of(replace(faults, audio_late=0.7), 9, rec_g711("pcm_alaw"))
        assert_plays(clip)
        tones = [tone for tone in onsets(clip.path) if tone > 1]
        assert len(tones) >= max(1, int(clip.seconds) - 2)
        assert [tone % 1 for tone in tones] == pytest.approx([0.5] * len(tones), abs=0.08)

    @pytest.mark.parametrize("chosen", ["keep", "aac"])
    def test_lost_and_repeated_sound_leaves_the_rest_in_its_place(
        self, rec_g711: Callable[..., Path], rec_of: Record, chosen: str
    ) -> None:
        lost, twice = tuple(range(15, 70, 9)), tuple(range(20, 70, 7))
        faults = Faults(lost_sound=lost, twice_sound=twice)
        (clip,) = rec_of(faults, 9, rec_g711("pcm_alaw"), uncompressed=Uncompressed(chosen))
        assert_plays(clip)
        places = [tone % 1 for tone in onsets(clip.path)]
        assert len([place for place in places if abs(place - 0.5) < 0.06]) >= clip.seconds / 2
        assert heard(clip)[1] == pytest.approx(clip.seconds, abs=0.3)

    def test_archive_takes_a_mov_file(self, rec_g711: Callable[..., Path], rec_of: Record) -> None:
        (clip,) = rec_of(Faults(), 9, rec_g711("pcm_alaw"))
        outbox = clip.path.parent.parent
        os.utime(clip.path, (time.time() - 7200,) * 2)
        command = [str(Path(sys.executable).with_name("camarchiver")), "archive", str(outbox)]
        ran = subprocess.run([*command, "--age", "0", "-y"], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (archived,) = outbox.glob("archived/**/motion_*.mp4")
        assert frames_of(archived) == clip.frames
        assert rec_packets(archived).audio

    def test_a_mov_file_of_a_dead_recorder_is_salvaged(
        self, rec_g711: Callable[..., Path], rec_folders: Folders
    ) -> None:
        opened, entries = rec_items(rec_g711("pcm_alaw"))
        writer = ClipWriter(rec_folders, ClipStart(REC_START, entries[0], 0, 0), opened.video, opened.audio)
        for entry in entries[: len(entries) // 2]:
            writer.write(entry)
        left = writer.path.with_name(f"{writer.path.name.partition('.')[0]}.dead.mov")
        shutil.copy(writer.path, left)
        writer.close()
        target = spool.salvage(left, rec_folders.outbox)
        assert target is not None
        assert recorder_names.is_file_name(target.name)
        assert target.suffix == ".mov"
        assert frames_of(target) > 40
        assert rec_packets(target).audio_times[-1] > 2.5

    def test_lost_sound_becomes_silence_of_the_same_length(self, rec_g711: Callable[..., Path]) -> None:
        opened, entries = rec_items(rec_g711("pcm_alaw"))
        assert opened.audio is not None
        encoder = AacEncoder(opened.audio)
        sound = [entry for entry in entries if not entry.video]
        lost = [entry for entry in sound if not 3 < entry.at < 3.4]
        made = [packet for entry in lost for packet in encoder.encode(entry)]
        times = [packet.at for packet in made]
        assert times[0] == pytest.approx(sound[0].at)
        steps = [later - earlier for earlier, later in pairwise(times)]
        assert steps == pytest.approx([0.128] * len(steps))
        # what follows a longer pause has its own time
        (again, *_) = [
            packet for entry in sound for packet in encoder.encode(entry.moved(100)) if packet.at > 50
        ]
        assert again.at == pytest.approx(100 + sound[0].at)


class TestHevc:
    @pytest.fixture
    def rec_hevc(self, rec_make: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
        """The simple scene in HEVC."""

        def make(name: str, words: str) -> Path:
            made = tmp_path / f"{name}.mp4"
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i"]
            command += [str(rec_make((3, 4.5), d=8, options="-g 15 -bf 0")), "-c:a", "copy"]
            command += ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params"]
            subprocess.run([*command, f"log-level=none:keyint=15:bframes=0:{words}", str(made)], check=True)
            return made

        return make

    def test_its_clips_are_as_players_want_them(self, rec_hevc: Callable[..., Path], rec_of: Record) -> None:
        (clip,) = rec_of(Faults(parameters_twice=2), 9, rec_hevc("one", "open-gop=0"))
        assert_plays(clip)
        assert tag_of(clip) == "hvc1"

    def test_parameter_sets_that_change_in_their_bytes_stay_among_the_pictures(
        self, rec_hevc: Callable[..., Path], rec_of: Record, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = rec_hevc("two", "open-gop=0:sign-hide=0:strong-intra-smoothing=0:ref=1:no-weightp=1")
        faults = Faults(other=other, other_at=4.5)
        clips = rec_of(faults, 9, rec_hevc("one", "open-gop=0"))
        assert [tag_of(clip) for clip in clips] == ["hvc1", "hev1"]
        for clip in clips:
            assert_plays(clip)
        assert sum(clip.seconds for clip in clips) > 5


def tag_of(clip: Recorded) -> str:
    """What an mp4 calls its pictures' codec."""
    with av.open(str(clip.path)) as container:
        return container.streams.video[0].codec_context.codec_tag


class TestMotionJpeg:
    def test_a_network_camera_is_encoded(self, rec_mjpeg: Path, rec_of: Record) -> None:
        (clip,) = rec_of(Faults(), 9, rec_mjpeg)
        assert_plays(clip)
        assert clip.seconds == pytest.approx(6.5, abs=1.5)
        assert tag_of(clip) == "avc1"

    def test_few_pictures_a_second_come_when_they_are_made(self, tmp_path: Path) -> None:
        """An encoder's lookahead and the probing of its output cost many pictures, so many seconds."""
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-re", "-f", "lavfi"]
        command += ["-i", "testsrc2=s=320x240:r=1:d=40", "-c:v", "mjpeg", "-f", "matroska"]
        writer = subprocess.Popen([*command, "-flush_packets", "1", "-cluster_time_limit", "10", str(fifo)])
        began = time.monotonic()
        reading = Reader(FileCamera(fifo), encodes=True)
        late: list[float] = []
        while len(late) < 4:
            item = reading.take(30)
            if isinstance(item, TimedPacket):
                late.append(item.arrival - began - item.at)
        writer.kill()
        writer.wait()
        reading.close()
        # With lookahead it would be sixteen seconds; a busy machine takes some to start programs.
        assert late[-1] < 10.0


class TestTransport:
    @pytest.mark.parametrize(
        ("asked", "udp_only", "opens"),
        [
            ("", False, True),
            ("", True, False),
            ("?transport=udp", True, True),
            ("?transport=udp", False, False),
            ("?transport=auto", True, True),
            ("?transport=auto", False, True),
        ],
    )
    def test_it_is_as_the_address_asks(
        self, rec_simple: Path, asked: str, udp_only: bool, opens: bool
    ) -> None:
        with RtspServer(rec_simple, Faults(udp_only=udp_only)) as server:
            reading = Reader(camera(server.url + asked))
            assert isinstance(reading.take(20), StreamOpened if opens else CameraLost)
            if opens:
                assert isinstance(reading.take(10), TimedPacket)
            reading.close()

    def test_the_camera_gets_its_own_query(self) -> None:
        found = cast("Any", camera("rtsp://10.0.0.7/x?a=1&transport=auto&b=%2F"))
        assert (found.url, found.transport) == ("rtsp://10.0.0.7/x?a=1&b=%2F", "auto")
