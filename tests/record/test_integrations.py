"""record: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import grp
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import imageio_ffmpeg
import pytest
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.domain.report import Status
from camarchiver.errors import EncoderError, ExitCode, UsageError
from camarchiver.media.encoders import ENCODERS, LiveSettings
from camarchiver.motion.events import MotionEvent
from camarchiver.record import disk_guard, recorder, retry
from camarchiver.record.capture import feed
from camarchiver.record.capture.devices import h264_encoder, v4l2
from camarchiver.record.capture.devices.picamera import PicameraCamera
from camarchiver.record.capture.devices.v4l2 import DeviceCamera
from camarchiver.record.capture.feed import Feed
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import CameraLost, Reader, StreamEnded, StreamOpened
from camarchiver.record.capture.source import FileCamera, RtspCamera, camera
from camarchiver.record.clips.timelapse import Timelapse
from camarchiver.record.detection_stream import BesideStream, OwnStream
from camarchiver.record.outbox import spool
from camarchiver.record.outbox.clip_writer import ClipWriter
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher, snapshot
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.record.supervision import results as record_results
from camarchiver.record.supervision.member import Member
from camarchiver.runtime.systemd import Service
from tests.cameras import IS_ROOT, frames_of
from tests.faults import dead_server
from tests.processes import children_with, wait_until
from tests.recordings import RecRecorder, RecSource, rec_items, rec_packets, rec_watch
from tests.samples import REC_START


class TestSnapshot:
    def test_the_frame_of_the_moment(self, rec_twice: Path, tmp_path: Path) -> None:
        data = snapshot(rec_twice, 7.0)
        assert data is not None
        assert data.startswith(b"\xff\xd8")
        with av.open(str(rec_twice)) as container:
            shown = next(frame for frame in container.decode(video=0) if frame.time and frame.time >= 7.0)
        (tmp_path / "x.jpg").write_bytes(data)
        with av.open(str(tmp_path / "x.jpg")) as picture:
            found = next(picture.decode(video=0)).to_ndarray(format="gray").astype(int)
        assert abs(found - shown.to_ndarray(format="gray")).mean() < 3


def rec_mjpeg(tmp_path: Path, rec_twice: Path, *options: str) -> Path:
    """What a USB camera sends: MJPEG, or what the options say, with uncompressed sound."""
    made = tmp_path / "usb.avi"
    words = options or ("-c:v", "mjpeg", "-q:v", "4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(rec_twice)]
    subprocess.run([*command, "-t", "6", *words, "-c:a", "pcm_s16le", str(made)], check=True)
    return made


def rec_taken(reader: Reader, count: int = 1000) -> list[object]:
    """What a reader gives until its end, a loss, or so many items."""
    items: list[object] = []
    while len(items) < count:
        item = reader.take(20)
        items.append(item)
        if isinstance(item, StreamEnded | CameraLost):
            break
    reader.close()
    return items


class TestLive:
    @pytest.mark.parametrize(
        "options", [(), ("-c:v", "rawvideo", "-pix_fmt", "yuyv422"), ("-c:v", "mpeg2video")]
    )
    def test_what_is_not_compressed_is_encoded_frame_by_frame(
        self, rec_twice: Path, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        source = rec_mjpeg(tmp_path, rec_twice, *options)
        opened, *entries = rec_taken(Reader(FileCamera(source), encodes=True))
        assert isinstance(opened, StreamOpened)
        assert opened.video.codec_context.name == "h264"
        assert opened.audio is not None
        assert opened.audio.codec_context.name == "aac"
        assert entries.pop() == StreamEnded()
        video = [entry for entry in entries if isinstance(entry, TimedPacket) and entry.video]
        assert len(video) == frames_of(source)
        keys = [entry.at for entry in video if entry.key]
        assert max(later - earlier for earlier, later in pairwise(keys)) <= 2.0
        times = [video[0].at + number / 15 for number in range(len(video))]
        assert [entry.at for entry in video] == pytest.approx(times, abs=0.002)

    @pytest.mark.parametrize("part", [0.5, 0.71, 0.9])
    def test_a_source_that_breaks_off_amid_a_frame_gives_no_piece_of_it(
        self, rec_twice: Path, tmp_path: Path, part: float
    ) -> None:
        whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
        remux = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-c", "copy"]
        subprocess.run([*remux, "-movflags", "+faststart", str(whole)], check=True)
        data = whole.read_bytes()
        broken.write_bytes(data[: int(len(data) * part)])
        with av.open(str(broken)) as container:
            assert [packet.is_corrupt for packet in container.demux() if packet.size][-1]
        sent = [bytes(entry.packet) for entry in rec_items(whole)[1]]
        came = [bytes(entry.packet) for entry in rec_items(broken)[1]]
        assert came == sent[: len(came)]
        assert len(came) > len(sent) * part / 2

    def test_mjpeg_from_a_fifo_is_encoded_as_it_comes(self, rec_twice: Path, tmp_path: Path) -> None:
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-re",
            "-i",
            str(rec_twice),
        ]
        words = [*command, "-t", "4", "-an", "-c:v", "mjpeg", "-f", "matroska", str(fifo)]
        writer = subprocess.Popen(words)
        opened, *entries = rec_taken(Reader(FileCamera(fifo), encodes=True))
        assert writer.wait(20) == 0
        assert isinstance(opened, StreamOpened)
        assert entries.pop() == StreamEnded()
        assert len(entries) == 60
        arrivals = [cast("TimedPacket", entry).arrival for entry in entries]
        assert arrivals[-1] - arrivals[0] > 1.0

    def test_a_reader_that_only_watches_encodes_nothing(self, rec_twice: Path, tmp_path: Path) -> None:
        opened, *entries = rec_taken(Reader(FileCamera(rec_mjpeg(tmp_path, rec_twice))))
        assert isinstance(opened, StreamOpened)
        assert opened.video.codec_context.name == "mjpeg"
        assert sum(isinstance(entry, TimedPacket) and entry.video for entry in entries) == 6 * 15

    def test_an_encoder_that_fails_its_trial_is_passed_over(self, mocker: MockerFixture) -> None:
        sound = ENCODERS["libx264"]
        broken = replace(sound, live=LiveSettings(("-preset", "no-such-preset")))
        mocker.patch.object(h264_encoder, "LIVE_ENCODERS", (broken, sound))
        assert h264_encoder.compressor.__wrapped__().settings == sound.live
        mocker.patch.object(h264_encoder, "LIVE_ENCODERS", (broken,))
        with pytest.raises(EncoderError, match=r"H\.264"):
            h264_encoder.compressor.__wrapped__()

    def test_an_encoder_that_dies_is_no_end_of_the_source(self, rec_twice: Path, tmp_path: Path) -> None:
        source = rec_mjpeg(tmp_path, rec_twice)
        reader = Reader(FileCamera(source), encodes=True)
        assert isinstance(reader.take(20), StreamOpened)
        for pid in children_with("pipe:0"):
            os.kill(pid, signal.SIGKILL)
        last = rec_taken(reader)[-1]
        assert isinstance(last, StreamEnded)
        assert last.error.endswith("ended with status -9")


FAKE_DEVICE = """#!/bin/sh
# an ffmpeg whose camera is a clip: everything up to the input is replaced
while [ "$1" != /dev/video0 ]; do shift; done
shift
{script}
exec {ffmpeg} -v error -re -i {clip} "$@"
"""


@pytest.fixture
def rec_device(tmp_path: Path, mocker: MockerFixture) -> Callable[..., DeviceCamera]:
    """A camera of the kernel: an ioctl's answers, and an ffmpeg that reads a clip in its place."""

    def make(clip: Path, formats: set[str], script: str = "") -> DeviceCamera:
        real = h264_encoder.compressor()
        fake = tmp_path / "ffmpeg"
        fake.write_text(FAKE_DEVICE.format(ffmpeg=real.ffmpeg.path, clip=clip, script=script))
        fake.chmod(0o755)
        ffmpeg = replace(real.ffmpeg, path=fake)
        mocker.patch.object(h264_encoder, "compressor", lambda: replace(real, ffmpeg=ffmpeg))
        mocker.patch.object(v4l2, "formats", lambda path: frozenset(formats))
        return DeviceCamera(Path("/dev/video0"), feed.CaptureMode())

    return make


class TestV4l2:
    def test_h264_of_the_camera_comes_as_it_is(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera]
    ) -> None:
        device = rec_device(rec_twice, {"YUYV", "MJPG", "H264"})
        opened, *entries = rec_taken(Reader(device, encodes=True), 30)
        assert isinstance(opened, StreamOpened)
        sent = [bytes(cast("Any", entry).packet) for entry in entries]
        with av.open(str(rec_twice)) as container:
            known = [bytes(packet) for packet in container.demux(video=0)]
        assert sent == known[: len(sent)]

    def test_mjpeg_of_the_camera_is_encoded(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera], tmp_path: Path
    ) -> None:
        device = rec_device(rec_mjpeg(tmp_path, rec_twice), {"YUYV", "MJPG"})
        opened, *entries = rec_taken(Reader(device, encodes=True), 30)
        assert isinstance(opened, StreamOpened)
        assert opened.video.codec_context.name == "h264"
        assert all(isinstance(entry, TimedPacket) for entry in entries)

    def test_the_best_format_is_asked_for(self) -> None:
        words = v4l2.command(Path("/dev/video0"), feed.CaptureMode((1280, 720), 15), "mjpeg")
        asked = ("-f", "v4l2", "-input_format", "mjpeg", "-video_size", "1280x720", "-framerate", "15")
        assert words[3 : 3 + len(asked)] == asked
        assert "copy" in v4l2.command(Path("/dev/video0"), feed.CaptureMode(), "h264")

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("echo '[v4l2] ioctl(VIDIOC_STREAMON): Device or resource busy' >&2; exit 1", "another program"),
            ("echo 'Cannot open video device /dev/video0: No such device' >&2; exit 1", "No such device"),
            ("exit 3", "status 3"),
            ("sleep 20", "no data for 1 s"),
        ],
    )
    def test_why_a_camera_is_lost(
        self,
        rec_twice: Path,
        rec_device: Callable[..., DeviceCamera],
        mocker: MockerFixture,
        script: str,
        reason: str,
    ) -> None:
        mocker.patch.object(feed, "SILENCE", 1.0)
        (lost,) = rec_taken(Reader(rec_device(rec_twice, {"H264"}, script), encodes=True))
        assert isinstance(lost, CameraLost)
        assert reason in lost.reason

    def test_it_is_left_alone_after_the_end(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera]
    ) -> None:
        reader = Reader(rec_device(rec_twice, {"H264"}), encodes=True)
        assert isinstance(reader.take(20), StreamOpened)
        assert children_with("pipe:1")
        reader.close()
        wait_until(lambda: not children_with("pipe:1"), "the end of ffmpeg")

    def test_devices_that_are_no_camera(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not there"):
            camera("/dev/video99")
        (tmp_path / "video0").touch()
        with pytest.raises(UsageError, match="is no camera"):
            camera(f"v4l2:{tmp_path}/video0")
        with pytest.raises(UsageError, match="no size and rate"):
            camera("/dev/video0,big")

    def test_what_a_camera_offers(self, tmp_path: Path, mocker: MockerFixture) -> None:
        (tmp_path / "video0").touch()
        known = [b"YUYV", b"MJPG"]

        def ioctl(descriptor: int, request: int, asked: bytes) -> bytes:
            index = int.from_bytes(asked[:4], sys.byteorder)
            if request != 0xC0405602 or len(asked) != 64 or index >= len(known):
                raise OSError(errno.EINVAL, "Invalid argument")
            return asked[:44] + known[index] + asked[48:]

        mocker.patch("fcntl.ioctl", ioctl)
        assert v4l2.formats(tmp_path / "video0") == {"YUYV", "MJPG"}
        known.clear()
        with pytest.raises(UsageError, match="no pictures"):
            v4l2.formats(tmp_path / "video0")

    @pytest.mark.skipif(not IS_ROOT, reason="needs root, to give a file to somebody else")
    def test_a_device_of_another_group(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            device = Path(folder, "video0")
            device.touch(mode=0o660)
            os.chown(device, 0, grp.getgrnam("video").gr_gid)
            Path(folder).chmod(0o755)
            os.seteuid(65534)
            try:
                with pytest.raises(UsageError) as refused:
                    v4l2.formats(device)
            finally:
                os.seteuid(0)
        assert "no permission" in refused.value.message
        assert "usermod -aG video" in refused.value.hint

    @pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no /dev/video0 on this machine")
    def test_a_real_camera(self) -> None:
        opened, *entries = rec_taken(Reader(camera("/dev/video0"), encodes=True), 30)
        assert isinstance(opened, StreamOpened)
        assert all(isinstance(entry, TimedPacket) for entry in entries)


class TestRpicam:
    @pytest.fixture(autouse=True)
    def _short(self, mocker: MockerFixture) -> None:
        mocker.patch.object(feed, "SILENCE", 2.0)

    def test_its_stream_comes_as_it_is(
        self, rec_rpicam: Callable[..., dict[str, str]], rec_annexb: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.dict(os.environ, rec_rpicam())
        opened, *entries = rec_taken(Reader(camera("rpicam-vid:1,1280x720@10"), encodes=True), 30)
        assert isinstance(opened, StreamOpened)
        sent = [bytes(cast("Any", entry).packet) for entry in entries]
        with av.open(str(rec_annexb)) as container:
            known = [bytes(packet) for packet in container.demux(video=0)]
        assert sent == known[: len(sent)]
        words = (Path(os.environ["PATH"].split(":")[0]) / "rpicam-arguments").read_text()
        assert "--camera 1 --width 1280 --height 720 --framerate 10 --intra 15" in words

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("echo 'ERROR: *** no cameras available ***' >&2; exit 255", "no cameras available"),
            ("exec sleep 20", "no data for 2 s"),
        ],
    )
    def test_why_it_is_lost(
        self, rec_rpicam: Callable[..., dict[str, str]], mocker: MockerFixture, script: str, reason: str
    ) -> None:
        mocker.patch.dict(os.environ, rec_rpicam(script))
        (lost,) = rec_taken(Reader(camera("rpicam-vid:"), encodes=True))
        assert isinstance(lost, CameraLost)
        assert reason in lost.reason
        assert not children_with("rpicam-vid")

    def test_without_the_program_it_says_what_to_install(self, tmp_path: Path, mocker: MockerFixture) -> None:
        mocker.patch.dict(os.environ, {"PATH": str(tmp_path)})
        with pytest.raises(UsageError) as refused:
            camera("rpicam-vid:0")
        assert "rpicam-apps" in refused.value.hint

    @pytest.mark.skipif(shutil.which("rpicam-vid") is None, reason="no rpicam-vid on this machine")
    def test_a_real_camera(self) -> None:
        assert isinstance(rec_taken(Reader(camera("rpicam-vid:"), encodes=True), 30)[-1], TimedPacket)


class TestPicamera:
    @pytest.fixture(autouse=True)
    def _fresh(self, mocker: MockerFixture) -> Iterator[None]:
        mocker.patch.object(feed, "SILENCE", 2.0)
        yield
        for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
            del sys.modules[name]

    def test_frames_and_pictures(
        self, rec_picamera: Callable[..., Path], rec_annexb: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(rec_picamera())
        source = camera("picamera2:0,640x360@15")
        assert isinstance(source, PicameraCamera)
        opened, *entries = rec_taken(Reader(source, encodes=True), 31)
        assert isinstance(opened, StreamOpened)
        with av.open(str(rec_annexb)) as container:
            known = [packet for packet in container.demux(video=0) if packet.size]
        assert [bytes(cast("Any", entry).packet) for entry in entries] == list(map(bytes, known[:30]))
        times = [float(packet.pts * packet.time_base) for packet in known[:30]]
        assert [cast("TimedPacket", entry).at for entry in entries] == pytest.approx(times, abs=1e-5)
        assert 6 <= len(source.pictures) <= 20
        assert source.pictures[0].luma.shape == (180, 320)
        assert 100 < source.pictures[-1].luma.mean() < 160

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [("none", "list index out of range"), ("stall", "no frame for 2 s"), ("lores", "lores went away")],
    )
    def test_why_it_is_lost(
        self,
        rec_picamera: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        fault: str,
        reason: str,
    ) -> None:
        monkeypatch.syspath_prepend(rec_picamera(fault))
        lost = rec_taken(Reader(camera("picamera2:"), encodes=True))[-1]
        assert isinstance(lost, CameraLost)
        assert reason in lost.reason

    @pytest.mark.skipif(find_spec("picamera2") is not None, reason="picamera2 is installed here")
    def test_without_the_bindings_it_says_what_to_install(self) -> None:
        with pytest.raises(UsageError) as refused:
            camera("picamera2:")
        assert "python3-picamera2" in refused.value.hint

    @pytest.mark.skipif(find_spec("picamera2") is None, reason="no picamera2 on this machine")
    def test_a_real_camera(self) -> None:
        assert isinstance(rec_taken(Reader(camera("picamera2:"), encodes=True), 30)[-1], TimedPacket)


class TestCameras:
    def test_credentials_are_never_part_of_the_name(self) -> None:
        found = camera("rtsp://admin:geheim@10.0.0.7:554/h264?x=1")
        assert isinstance(found, RtspCamera)
        assert found.name == "rtsp://10.0.0.7:554/h264?x=1"
        assert "geheim" not in repr(found)
        assert found.credentials == "admin:geheim"

    def test_credentials_go_into_the_address_escaped(self, mocker: MockerFixture) -> None:
        opened = mocker.patch("av.open")
        mocker.patch.object(feed, "of_container", return_value=Feed(mocker.Mock(), None, iter(())))
        found = camera("rtsp://10.0.0.7/x", credentials="admin:p@ss/w:rd")
        found.open()
        assert opened.call_args.args == ("rtsp://admin:p%40ss%2Fw%3Ard@10.0.0.7/x",)

    @pytest.mark.parametrize(
        ("source", "credentials"),
        [
            ("rtsp://admin:p%40ss%2Fw%25rd@10.0.0.7/x", "admin:p@ss/w%rd"),
            ("rtsp://admin:p@ss:w@10.0.0.7/x", "admin:p@ss:w"),
            ("RTSP://a%3Ab:%2525@10.0.0.7/x", "a:b:%25"),
            ("rtsp://admin@10.0.0.7/x", "admin"),
        ],
    )
    def test_credentials_of_an_address_are_unescaped_once(self, source: str, credentials: str) -> None:
        found = camera(source)
        assert isinstance(found, RtspCamera)
        assert (found.url, found.credentials) == ("rtsp://10.0.0.7/x", credentials)

    @pytest.mark.parametrize(
        "source",
        [
            "rtsp://admin:gehe/im@10.0.0.7/x",
            "rtsp://admin:gehe#im@10.0.0.7/x",
            "rtsp://admin:gehe?im@10.0.0.7/x",
            "rtsp://admin:1/geheim@10.0.0.7/x",
            "rtsp://ad@min:1/geheim@10.0.0.7/x",
            "rtsp://admin:geheim@/x",
            "rtsp:admin:geheim@10.0.0.7/x",
            "rtsp://admin:geheim@10.0.0.7:port/x",
            "admin:geheim@10.0.0.7/x",
            "http://admin:geheim@10.0.0.7/x",
        ],
    )
    def test_what_is_no_address_is_not_repeated(self, source: str) -> None:
        with pytest.raises(UsageError) as refused:
            camera(source)
        assert "gehe" not in refused.value.message + refused.value.hint

    def test_a_password_in_the_path_is_not_printed(self) -> None:
        found = camera("rtsp://10.0.0.7/user=admin&password=geheim&channel=1?pwd=geheim")
        assert "geheim" not in found.name + repr(found)
        assert found.name.endswith("channel=1?pwd=***")

    @pytest.mark.parametrize(
        ("rest", "name"),
        [
            ("udp/av0_0?loginuse=admin&loginpas=geheim", "udp/av0_0?loginuse=admin&loginpas=***"),
            ("cam/realmonitor?channel=1&authbasic=Z2V/oZWlt==", "cam/realmonitor?channel=1&authbasic=***"),
            ("user=admin_password=geheim_channel=1.sdp?real_stream", "user=admin_password=***?real_stream"),
            ("live?usr=admin&psw=geheim", "live?usr=admin&psw=***"),
            ("live?token=geheim&stream=0", "live?token=***&stream=0"),
            ("h264/ch1/main?profile=2", "h264/ch1/main?profile=2"),
        ],
    )
    def test_what_opens_a_camera_is_not_printed_however_its_maker_names_it(
        self, rest: str, name: str
    ) -> None:
        assert camera(f"rtsp://10.0.0.7/{rest}").name == f"rtsp://10.0.0.7/{name}"

    @pytest.mark.parametrize("source", ["http://x/y", "rtsp:///x", "file:/nonexistent", "/"])
    def test_unknown_sources_are_refused(self, source: str) -> None:
        with pytest.raises(UsageError):
            camera(source)

    def test_every_packet_is_read_with_its_times(self, rec_twice: Path) -> None:
        _, entries = rec_items(rec_twice)
        known = rec_packets(rec_twice)
        video = [entry for entry in entries if entry.video]
        assert tuple(entry.at for entry in video) == known.times
        assert len(entries) - len(video) == len(known.audio)
        assert video[0].key

    def test_a_fifo_is_read_to_its_end(self, rec_twice: Path, tmp_path: Path) -> None:
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(rec_twice)]
        writer = subprocess.Popen([*command, "-c", "copy", "-f", "mpegts", str(fifo)])
        opened, entries = rec_items(fifo)
        assert writer.wait(10) == 0
        assert opened.audio is not None
        assert sum(entry.video for entry in entries) == 24 * 15
        assert FileCamera(fifo).live

    def test_a_file_that_is_no_video_ends_with_the_reason(self, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").write_bytes(b"nothing" * 100)
        item = Reader(FileCamera(tmp_path / "x.mp4")).take(10)
        assert isinstance(item, StreamEnded)
        assert item.error

    def test_realtime_is_no_faster_than_it_was_recorded(self, rec_twice: Path) -> None:
        reader = Reader(FileCamera(rec_twice, realtime=True))
        assert isinstance(reader.take(10), StreamOpened)
        first = reader.take(10)
        assert isinstance(first, TimedPacket)
        began = time.monotonic()
        while isinstance(item := reader.take(10), TimedPacket) and item.order - first.order < 1.0:
            pass
        assert time.monotonic() - began > 0.9
        reader.close()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_reader_that_dies_is_no_silence(self, rec_twice: Path, mocker: MockerFixture) -> None:
        mocker.patch("camarchiver.record.capture.source.FileCamera.open", side_effect=SystemExit)
        assert Reader(FileCamera(rec_twice)).take(1) == StreamEnded("its reader died")

    def test_no_error_holds_the_password(self, mocker: MockerFixture) -> None:
        error = av.error.InvalidDataError(1094995529, "Invalid data", "rtsp://admin:geheim@10.0.0.7/x")
        mocker.patch("av.open", side_effect=error)
        item = Reader(RtspCamera("rtsp://10.0.0.7/x", "admin:geheim")).take(5)
        assert item == CameraLost("Invalid data")


class TestLookout:
    def test_a_second_stream_with_another_clock(
        self, rec_twice: Path, rec_make: Callable[..., Path], tmp_path: Path
    ) -> None:
        still = rec_make()
        small = tmp_path / "small.ts"  # begins at 1.4 s
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-an"]
        subprocess.run([*command, "-vf", "scale=320:-2", "-g", "15", str(small)], check=True)
        opened, entries = rec_items(still)
        own, beside = OwnStream(rec_watch()), BesideStream(rec_watch(), FileCamera(small))
        found: dict[object, list[MotionEvent]] = {own: [], beside: []}
        for detection in found:
            detection.begin(opened)  # type: ignore[attr-defined]
            for entry in entries:
                found[detection] += detection.see(entry)  # type: ignore[attr-defined]
            found[detection] += detection.finish()  # type: ignore[attr-defined]
            detection.close()  # type: ignore[attr-defined]
        assert found[own] == []
        assert [round(event.start) for event in found[beside]] == [6, 16]

    def test_it_goes_on_when_the_recorded_stream_begins_anew(
        self, rec_twice: Path, rec_make: Callable[..., Path]
    ) -> None:
        opened, entries = rec_items(rec_make())
        detection = BesideStream(rec_watch(), FileCamera(rec_twice))
        detection.begin(opened)
        events: list[MotionEvent] = []
        for entry in entries:
            if entry.video and round(entry.at * 15) == 150:
                events += detection.finish()
                detection.begin(opened)
            events += detection.see(entry)
        detection.close()
        assert len(events) == 2


class TestRecorder:
    def test_a_step_of_the_hosts_clock_closes_no_clip(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder]
    ) -> None:
        told = [datetime(2026, 5, 3, 14, 20, 5, tzinfo=UTC)]

        def now() -> datetime:
            told.append(told[-1] + timedelta(hours=1 if len(told) % 2 else -3))
            return told[-1]

        clips = rec_recorder(RecSource([rec_twice]), now=now).run()
        assert [clip.frames for clip in clips] == [106, 106]
        assert not any(clip.error for clip in clips)

    def test_a_run_of_months_holds_its_newest_clips_and_counts_all(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.record.outbox.recorded_clip.KEPT", 1)
        made = rec_recorder(RecSource([rec_twice]))
        (clip,) = made.run()
        totals = made.publisher.totals
        assert (made.publisher.clips.count, totals.published, totals.failed) == (2, 2, 0)
        assert totals.seconds > clip.seconds
        assert sorted(made.folders.outbox.glob("*.mp4"))[-1] == clip.path

    def test_errors_of_clips_that_are_no_longer_held_are_told(
        self, rec_folders: Folders, rec_take: ClipWriter, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.record.outbox.recorded_clip.KEPT", 1)
        publisher = ClipPublisher("yard", rec_folders, pictures=False, on_clip=lambda clip: None)
        rec_take.path.unlink()
        for _ in range(3):
            publisher.hand_over(rec_take)
        publisher.close()
        gone = SimpleNamespace(
            refused=0, error="", outages=0, frames=0, last_frame=None, is_connected=False, is_full=False
        )
        keeper = OutboxKeeper("yard", rec_folders.outbox.parent, OutboxLimits(None, None), datetime.now)
        member = Member("yard", FileCamera(rec_take.path), cast(recorder.Recorder, gone), publisher, keeper)
        (status, exit_code), problems = record_results.judged(member.facts, None)
        assert (status, exit_code) == (Status.FAILED, ExitCode.FAILED)
        assert [problem.message for problem in problems][1:] == ["earlier clips had errors, too"]
        assert "2 more" in problems[1].hint

    @pytest.mark.parametrize("synced", [True, False, None])
    def test_a_clip_by_an_unsynced_clock_is_marked(
        self,
        rec_make: Callable[..., Path],
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
        synced: bool | None,
    ) -> None:
        mocker.patch("camarchiver.storage.linux.clock_is_synced", return_value=synced)
        with caplog.at_level(logging.INFO):
            (clip,) = rec_recorder(RecSource([rec_make((5, 6.5), d=10, sound=False)])).run()
        expected = "unsynced" if synced is False else None
        assert clip.fields().get("clock") == expected
        assert caplog.text.count('"clock": "unsynced"') == (1 if expected else 0)
        with av.open(str(clip.path)) as container:
            assert container.metadata.get("comment") == (f"clock: {expected}" if expected else None)

    def test_another_size_closes_the_clip_and_begins_anew(
        self,
        rec_twice: Path,
        rec_recorder: Callable[..., RecRecorder],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """In the middle of a clip, within one transport stream."""
        larger = ["-ss", "4", "-s", "320x240", "-g", "15", "-preset", "ultrafast", "-c:v", "libx264"]
        parts = []
        for number, words in enumerate((["-t", "7", "-c", "copy"], larger)):
            parts.append(tmp_path / f"{number}.ts")
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), *words]
            command += ["-c:a", "copy", "-output_ts_offset", str(number * 7), str(parts[-1])]
            subprocess.run(command, check=True)
        whole = tmp_path / "whole.ts"
        whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        first, *rest = rec_recorder(RecSource([whole])).run()
        sizes = []
        for clip in (first, *rest):
            with av.open(str(clip.path)) as container:
                stream = container.streams.video[0]
                sizes.append((stream.width, stream.height))
                assert {(frame.width, frame.height) for frame in container.decode(stream)} == {sizes[-1]}
            assert frames_of(clip.path) == clip.frames
        with av.open(str(rec_twice)) as container:
            before = (container.streams.video[0].width, container.streams.video[0].height)
        assert sizes == [before, *[(320, 240)] * len(rest)]
        assert len(rest) == 2
        assert caplog.text.count("sends another picture: h264, 320x240") == 1

    def test_another_codec_after_a_loss(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(retry, "BACKOFF", (0.1,))
        other = tmp_path / "hevc.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "10"]
        subprocess.run([*command, "-c:v", "libx265", "-preset", "ultrafast", str(other)], check=True)
        made = rec_recorder(RecSource([rec_twice, other], reconnects=True))
        threading.Thread(
            target=lambda: (wait_until(lambda: made.recorder.outages == 2, "two losses", 60), made.stop.set())
        ).start()
        codecs = []
        for clip in made.run():
            with av.open(str(clip.path)) as container:
                codecs.append(container.streams.video[0].codec_context.name)
            assert frames_of(clip.path) == clip.frames
        assert codecs == ["h264", "h264", "hevc"]

    def test_a_long_look_into_the_spool_is_no_outage(
        self, rec_make: Callable[..., Path], rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        mocker.patch.object(recorder, "SILENCE", 1.0)
        made = rec_recorder(RecSource([rec_make((5, 6.5), d=10, sound=False)]))
        mocker.patch.object(made.publisher, "salvage", lambda writing: time.sleep(1.5))
        assert len(made.run()) == 1
        assert made.recorder.outages == 0

    def test_a_camera_that_is_not_there_is_sought_ever_more_slowly_and_said_once(
        self,
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tries: list[float] = []

        class Absent(RecSource):
            def open(self) -> Feed:
                tries.append(time.monotonic())
                return super().open()

        mocker.patch.object(retry, "BACKOFF", (0.1, 0.2, 0.4, 0.8))
        made = rec_recorder(Absent([], reconnects=True))
        ended = threading.Thread(
            target=lambda: (wait_until(lambda: len(tries) == 6, "six tries", 60), made.stop.set())
        )
        ended.start()
        assert made.run() == []
        ended.join()
        pauses = [later - earlier for earlier, later in pairwise(tries)]
        assert all(pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8, 0.8, 0.8), strict=True))
        assert made.recorder.outages == 1
        assert caplog.text.count("is lost: No route to host") == 1

    def test_a_codec_that_changes_within_a_stream_ends_it(self, rec_twice: Path, tmp_path: Path) -> None:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "3", "-an"]
        data = b""
        for codec in ("libx264", "libx265"):
            part = subprocess.run(
                [*command, "-c:v", codec, "-f", "mpegts", "-"], check=True, capture_output=True
            )
            data += part.stdout
        (tmp_path / "both.ts").write_bytes(data)
        assert rec_taken(Reader(FileCamera(tmp_path / "both.ts")))[-1] == StreamEnded("its codec changed")

    def test_a_fifo_that_falls_silent_is_one_outage(
        self,
        rec_twice: Path,
        rec_recorder: Callable[..., RecRecorder],
        tmp_path: Path,
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It falls silent in the middle of a clip, and goes on."""
        mocker.patch.object(recorder, "SILENCE", 1.5)
        fifo, stream = tmp_path / "camera", tmp_path / "x.ts"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-c", "copy"]
        subprocess.run([*command, str(stream)], check=True)
        data = stream.read_bytes()
        middle = len(data) * 7 // 24 // 188 * 188
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(tmp_path / "notify"))
        manager = Service({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        heard: list[bytes] = []

        def hear() -> None:
            while (message := listener.recv(1000)) != b"end":
                heard.append(message)

        ear = threading.Thread(target=hear)
        ear.start()
        made = rec_recorder(FileCamera(fifo), manager=manager)
        fed: list[int] = []

        def send() -> None:
            with fifo.open("wb") as pipe:
                pipe.write(data[:middle])
                pipe.flush()
                wait_until(lambda: made.recorder.outages == 1, "the outage", 60)
                for _ in range(2):
                    fed.append(heard.count(b"WATCHDOG=1"))
                    time.sleep(1)
                pipe.write(data[middle:])

        sender = threading.Thread(target=send)
        sender.start()
        clips = made.run()
        sender.join()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"end", str(tmp_path / "notify"))
        ear.join()
        assert made.recorder.outages == 1
        assert caplog.text.count("is lost: no frame for") == caplog.text.count("is back") == 1
        assert fed[0] == fed[1]
        assert 0 < fed[0] < heard.count(b"WATCHDOG=1")
        assert b"STATUS=yard: lost" in heard
        assert len(clips) == 3
        for clip in clips:
            assert frames_of(clip.path) == clip.frames
        listener.close()


class TestRoom:
    def test_it_is_said_once_when_it_ends_and_once_when_it_is_back(
        self, rec_disk: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        mocker.patch.object(disk_guard, "PAUSE", 0.0)
        folders = Folders(rec_disk / "spool", rec_disk / "outbox")
        folders.make()
        found = disk_guard.DiskGuard("yard", folders, 3_000_000, lambda folder, short: 0)
        assert found.is_there()
        filler = rec_disk / "filler"
        filler.write_bytes(bytes(4_000_000))
        assert not found.is_there()
        assert not found.is_there()
        assert (found.is_full, found.refused) == (True, 1)
        filler.unlink()
        assert found.is_there()
        assert not found.is_full
        assert caplog.text.count("not recording") == caplog.text.count("recording goes on") == 1

    def test_it_is_asked_again_after_a_pause(self, rec_folders: Folders, mocker: MockerFixture) -> None:
        usage = mocker.spy(shutil, "disk_usage")
        found = disk_guard.DiskGuard("yard", rec_folders, 0, lambda folder, short: 0)
        found.ended("No space left on device", full=True)
        assert not found.is_there()
        usage.assert_not_called()
        mocker.patch(
            "camarchiver.record.disk_guard.time.monotonic",
            return_value=time.monotonic() + disk_guard.PAUSE + 1,
        )
        assert found.is_there()
        assert found.is_full  # until a clip could be begun
        found.begun()
        assert not found.is_full

    def test_room_that_is_made_is_room(self, rec_folders: Folders) -> None:
        asked: list[tuple[Path, int]] = []

        def make(folder: Path, short: int) -> int:
            asked.append((folder, short))
            return short

        assert disk_guard.DiskGuard("yard", rec_folders, 1 << 60, make).is_there()
        assert [folder for folder, _ in asked] == [rec_folders.spool, rec_folders.outbox]

    def test_no_room_is_made_on_a_file_server_that_is_dead(self, tmp_path: Path) -> None:
        folders = Folders(tmp_path / "spool/yard", tmp_path / "outbox/yard")
        folders.make()
        keeper = OutboxKeeper(
            "yard", tmp_path / "outbox", OutboxLimits(), lambda: datetime.now(UTC), drops_oldest=True
        )
        guard = disk_guard.DiskGuard("yard", folders, 1 << 60, keeper.make_room)
        with dead_server(tmp_path / "outbox"):
            asking = threading.Thread(target=guard.is_there, daemon=True)
            asking.start()
            asking.join(disk_guard.ANSWER + 5)
            assert not asking.is_alive()
        assert (guard.is_full, guard.is_broken) == (True, False)


class TestTimelapse:
    def test_one_keyframe_an_interval(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], caplog: pytest.LogCaptureFixture
    ) -> None:
        made = rec_recorder(RecSource([rec_twice]), timelapse=2.0)
        *motion_clips, lapse = made.run()
        known = rec_packets(rec_twice)
        with av.open(str(rec_twice)) as container:
            keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.size and p.is_keyframe]
        found = rec_packets(lapse.path)
        assert len(motion_clips) == 2
        assert found.video == tuple(known.video[known.times.index(at)] for at in keys[::2])
        assert found.times == pytest.approx([number / 30 for number in range(12)], abs=1e-4)
        assert re.fullmatch(r"timelapse_\d{8}_\d{6}_0\.4s\.mp4", lapse.path.name)
        assert frames_of(lapse.path) == lapse.frames == 12

    def test_each_day_and_each_picture_has_its_own(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(retry, "BACKOFF", (0.1,))
        other = tmp_path / "small.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-s", "320x240"]
        subprocess.run([*command, "-g", "15", str(other)], check=True)
        told = [datetime(2026, 5, 3, 23, 59, 0, tzinfo=UTC)]

        def now() -> datetime:
            # every keyframe asks: the day ends within the first two connections
            told.append(told[-1] + timedelta(seconds=1))
            return told[-1]

        source = RecSource([rec_twice, rec_twice, other], reconnects=True)
        made = rec_recorder(source, timelapse=1.0, now=now)
        ended = threading.Thread(
            target=lambda: (wait_until(lambda: made.recorder.outages == 3, "its end", 60), made.stop.set())
        )
        ended.start()
        clips = [clip for clip in made.run() if clip.path.name.startswith("timelapse")]
        ended.join()
        days = [clip.path.name[10:18] for clip in clips]
        assert days == ["20260503", "20260504", "20260504"]
        sizes = []
        for clip in clips:
            with av.open(str(clip.path)) as container:
                sizes.append({(frame.width, frame.height) for frame in container.decode(video=0)})
        assert all(len(size) == 1 for size in sizes)
        assert sizes[-1] == {(320, 240)}
        assert sum(clip.frames for clip in clips) == 3 * 24

    def test_what_a_dead_recorder_left_is_salvaged_to_its_last_frame(
        self, rec_twice: Path, rec_folders: Folders
    ) -> None:
        opened, entries = rec_items(rec_twice)
        lapse = Timelapse(2.0, rec_folders)
        for entry in entries:
            if entry.video and entry.key:
                assert lapse.add(entry, entry.at, REC_START, opened) is None
        assert lapse.writer is not None
        copy = Path(
            shutil.copy(lapse.writer.path, lapse.writer.path.with_name("timelapse_20260503_142005.x.mp4"))
        )
        target = spool.salvage(copy, rec_folders.outbox)
        assert target is not None
        assert target.name.startswith("timelapse_20260503_142005_")
        assert frames_of(target) >= 11
        lapse.writer.close()
