"""What `record` sees and costs, against Debian's `motion` and PyPI's `dvr-scan` on the same clips."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, own_command, ratio, say, workplace

SHARED = Path(__file__).resolve().parents[3] / "shared"
"""Labelled clips and their scorer, beside the project's folder."""
DVR_SCAN = "dvr-scan[opencv-headless]==1.8.2.1"
POST = 2.0
"""Seconds that dvr-scan adds to the end of an event, by its standard."""
GAP = 3
"""Seconds without motion after which motion ends an event."""
LAG = 0.3
"""Seconds from showing motion a frame to its script, roughly."""
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's own, for which GStreamer is packaged."""
QUICK = ("s01_day_walk", "s05_light_switch", "s10_brief")

# The least false events for motion that any setting tried gave on these clips.
_TUNED = "threshold 500\nminimum_motion_frames 3\nlightswitch_percent 25\n"

SERVER = """
import sys, time
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1])
def tell(media, state):
    if state == Gst.State.PLAYING:
        print(time.time(), flush=True)
for name, clip in (each.split("=", 1) for each in sys.argv[2:]):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    if name == "main":
        factory.connect("media-configure", lambda _, media: media.connect("new-state", tell))
    server.get_mount_points().add_factory("/" + name, factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""

_GOALS = {"every frame": 0.40, "keyframes": 0.15, "sub-stream": 0.15, "sub-stream's keyframes": 0.15}
"""CPU, as a share of motion's."""

Events = list[list[float]]


def bench(options: Options) -> Result:
    """Events found, then CPU and memory."""
    result = Result("record")
    clips = options.footage or SHARED / "footage/motion"
    scorer = SHARED / "tools/score-motion"
    if not (clips / "events.json").exists() or not scorer.exists():
        result.skipped.append(f"everything: no labelled clips in {clips}, or no {scorer}")
        return result
    with workplace(options) as place:
        motion, dvr = _motion(result) if _has_camera(result) else "", _dvr_scan(options, result)
        _see(options, result, Judge(clips, scorer, options.quick), place, motion, dvr)
        _spend(options, result, clips, place, motion, dvr)
    return result


# --- the peers -------------------------------------------------------------------------------------


def _motion(result: Result) -> str:
    """Debian's motion, installed where root may; empty where it is not there."""
    if shutil.which("motion") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("  installing motion")
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "motion"]):
            subprocess.run(["apt-get", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = shutil.which("motion")
    if found is None:
        result.skipped.append("skipped: motion is not installed: apt-get install motion")
        return ""
    said = subprocess.run([found, "-h"], capture_output=True, text=True).stdout
    result.versions["motion"] = said.split(",")[0].removeprefix("motion Version ")
    return found


def _dvr_scan(options: Options, result: Result) -> str:
    """PyPI's dvr-scan in an environment of its own; empty where it can't be had."""
    place = options.cache / "dvr-scan"
    command = place / "bin/dvr-scan"
    if not command.exists():
        say(f"  installing {DVR_SCAN} into {place}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(place / "bin/python"), "-m", "pip", "install", "-q", DVR_SCAN]
        subprocess.run(pip, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tried = subprocess.run([str(command), "--help"], capture_output=True) if command.exists() else None
    if tried is None or tried.returncode:
        result.skipped.append(f"skipped: dvr-scan does not run here; {place} can be removed to try again")
        return ""
    result.versions["dvr-scan"] = DVR_SCAN.rpartition("==")[2]
    return str(command)


@dataclass(frozen=True)
class Spent:
    """What a process cost."""

    cpu: float
    """Seconds, user and system, with what it started and waited for."""
    memory: float
    """Largest resident size, MB."""


def _cpu_until_now(process: subprocess.Popen[Any]) -> float:
    """Seconds of CPU that a process had so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ended(process: subprocess.Popen[Any], what: str, *, before: float = 0.0) -> Spent:
    """Wait for it; `before` is what its start cost, which is nothing to what runs for months."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 143):
        sys.exit(f"bench: {what} ended with {process.returncode}")
    return Spent(usage.ru_utime + usage.ru_stime - before, usage.ru_maxrss * 1024 / 1e6)


@dataclass(frozen=True)
class Camera:
    """A loopback RTSP camera that shows each clip as fast as it was recorded, from its begin on demand."""

    process: subprocess.Popen[str]
    port: int

    def url(self, name: str) -> str:
        """Where one of its streams is."""
        return f"rtsp://127.0.0.1:{self.port}/{name}"

    def began(self) -> float:
        """Wait until somebody watches; when that was."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


@contextmanager
def _showing(clips: Mapping[str, Path]) -> Iterator[Camera]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [SYSTEM_PYTHON, "-c", SERVER, str(port), *(f"{name}={clip}" for name, clip in clips.items())]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield Camera(process, port)
    finally:
        process.kill()
        process.communicate()


def _has_camera(result: Result) -> bool:
    needed = "import gi; gi.require_version('GstRtspServer', '1.0')"
    there = (
        Path(SYSTEM_PYTHON).exists()
        and not subprocess.run([SYSTEM_PYTHON, "-c", needed], capture_output=True).returncode
    )
    if not there:
        result.skipped.append(
            "skipped: motion, for want of a loopback camera; scripts/test installs GStreamer's"
        )
    return there


def _start_motion(
    command: str, place: Path, source: str, *, size: Sequence[int], fps: float
) -> subprocess.Popen[bytes]:
    """It copies what it records, keeps five seconds before it, and writes down its events."""
    folder = _motion_folder(place)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    script = folder / "tell"
    # motion itself replaces what looks like a date in a command
    script.write_text(f'#!/bin/sh\necho "$1" "$(date +%s.%N)" >> {folder}/told\n')
    script.chmod(0o755)
    (folder / "motion.conf").write_text(
        f"daemon off\nlog_level 4\nlog_file {folder}/log\ntarget_dir {folder}/out\nwebcontrol_port 0\n"
        f"stream_port 0\nnetcam_url {source}\nwidth {size[0]}\nheight {size[1]}\n"
        f"framerate {fps:.0f}\nevent_gap {GAP}\npre_capture {5 * fps:.0f}\npicture_output off\n"
        f"movie_output on\nmovie_passthrough on\non_event_start {script} start\n"
        f"on_event_end {script} end\n{_TUNED}"
    )
    words = [command, "-n", "-c", str(folder / "motion.conf")]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _motion_folder(place: Path) -> Path:
    return place / "motion"


def _motion_live(command: str, clip: Path, place: Path) -> Spent:
    """What 1080p costs motion, from a camera."""
    with _showing({"main": clip}) as camera:
        process = _start_motion(command, place, camera.url("main"), size=(1920, 1080), fps=15)
        camera.began()
        before = _cpu_until_now(process)
        time.sleep(_length(clip))
        process.send_signal(signal.SIGTERM)
        return _ended(process, "motion", before=before)


def _motion_events(command: str, clip: Path, place: Path, facts: Mapping[str, Any]) -> Events:
    """What motion sees. It connects to a camera twice, so the time of a frame is known from a FIFO."""
    fifo = place / "fifo"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    feed = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet", "-y", "-readrate", "1"]
    feed += ["-readrate_initial_burst", "0.001", "-i", str(clip), "-map", "0:v", "-c", "copy"]
    feeder = subprocess.Popen([*feed, "-f", "mpegts", str(fifo)])
    began = time.time()
    process = _start_motion(command, place, f"file://{fifo}", size=facts["size"], fps=facts["fps"])
    feeder.wait()
    ended = time.time()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _ended(process, "motion")
    return _events_told(_motion_folder(place) / "told", began, ended - began)


def _length(clip: Path) -> float:
    with av.open(str(clip)) as container:
        return (container.duration or 0) / 1_000_000


def _events_told(told: Path, began: float, length: float) -> Events:
    found: Events = []
    for line in told.read_text().splitlines() if told.exists() else ():
        word, moment = line.split()
        at = float(moment) - began - LAG
        if word == "start":
            found.append([at, length])
        elif found:
            found[-1][1] = max(at - GAP, found[-1][0])
    return found


# --- what they see ---------------------------------------------------------------------------------


class Judge:
    """The labelled clips and their scorer."""

    def __init__(self, clips: Path, scorer: Path, quick: bool) -> None:
        loader = SourceFileLoader("score_motion", str(scorer))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        self._module = module_from_spec(spec)
        loader.exec_module(self._module)
        truth = json.loads((clips / "events.json").read_text())
        self.truth = {name: clip for name, clip in truth.items() if not quick or name in QUICK}
        self.clips = clips

    def score(self, what: str, find: Callable[[Path, dict[str, Any]], Events]) -> dict[str, Any]:
        """Everything that the scorer reports about one detector."""
        found = {}
        for name, clip in self.truth.items():
            say(f"  {what} looks at {name}")
            found[name] = {"events": find(self.clips / clip["file"], clip)}
        total: dict[str, Any] = self._module.score(self.truth, found)[0]
        return total


def _see(options: Options, result: Result, judge: Judge, place: Path, motion: str, dvr: str) -> None:
    def ours(clip: Path, _: dict[str, Any], *more: str) -> Events:
        words = [own_command(), "record", "--source", f"file:{clip}", "--dry-run", "--json", *more]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return [[each["start"], each["end"]] for each in json.loads(ran.stdout)["events"]]

    def dvrs(clip: Path, _: dict[str, Any]) -> Events:
        words = [dvr, "-i", str(clip), "-so", "-tb", "0s", "-q"]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        moments = [_seconds(each) for each in re.findall(r"\d\d:\d\d:\d\d\.\d+", ran.stdout)]
        pairs = zip(moments[::2], moments[1::2], strict=True)
        return [[start, max(end - POST, start)] for start, end in pairs]

    def motions(clip: Path, facts: dict[str, Any]) -> Events:
        clip = _as_camera_sends(clip, place)
        return _motion_events(motion, clip, place, facts)

    known = {
        "camarchiver": ours,
        "camarchiver --keyframes": lambda clip, facts: ours(clip, facts, "--keyframes"),
        "dvr-scan": dvrs if dvr else None,
        "motion, tuned": motions if motion else None,
    }
    for name, find in known.items():
        if find is None:
            continue
        total = judge.score(name, find)
        goals = name == "camarchiver"
        note = f"{total['hits']} events, {total['fp_events']} false"
        result.rows += [
            Row(f"F1, {name}", "", [total["f1"]], 0.95 if goals else None, note, at_least=True),
            Row(f"false seconds a minute, {name}", "s", [total["fp_s_per_min"]], 0.25 if goals else None),
        ]
        if total["start_lat_med"] is not None:
            latency, most = max(total["start_lat_med"], 0.0), f"most {total['start_lat_max']:.1f} s"
            row = Row(f"start latency, {name}", "s", [latency], 0.2 if goals else None, most)
            result.rows.append(row)


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


# --- what they cost --------------------------------------------------------------------------------


def _spend(options: Options, result: Result, clips: Path, place: Path, motion: str, dvr: str) -> None:
    large, small = _scaled(clips, place, 1920, "5M"), _scaled(clips, place, 640, "600k")
    rounds = options.rounds or (1 if options.quick else 3)
    memory: dict[str, list[float]] = {"camarchiver": [], "motion": []}

    def live(*words: str, beside: bool = False) -> float:
        clips = {"main": large, **({"small": small} if beside else {})}
        spent = _run_live(clips, place, words)
        if not (beside or words):
            memory["camarchiver"].append(spent.memory)
        return spent.cpu

    def motion_live() -> float:
        spent = _motion_live(motion, large, place)
        memory["motion"].append(spent.memory)
        return spent.cpu

    if motion:
        figures = in_turns(
            {
                "motion": motion_live,
                "every frame": live,
                "keyframes": lambda: live("--keyframes"),
                "sub-stream": lambda: live(beside=True),
                "sub-stream's keyframes": lambda: live("--keyframes", beside=True),
            },
            rounds,
        )
        what = "live 1080p, {} / motion with pass-through"
        result.rows += [
            ratio(what.format(name), figures[name], figures["motion"], goal=goal)
            for name, goal in _GOALS.items()
        ]
        told = f"{memory['camarchiver'][0]:.0f} and {memory['motion'][0]:.0f} MB"
        words = "memory with 5 s of pre-roll at 1080p / motion"
        result.rows.append(ratio(words, memory["camarchiver"], memory["motion"], goal=0.30, note=told))
    if dvr:
        commands = {
            "dvr-scan": [dvr, "-i", str(large), "-m", "copy", "-d", str(place / "dvr"), "-q"],
            "every frame": _recording(f"file:{large}", place),
            "keyframes": _recording(f"file:{large}", place, "--keyframes"),
        }
        figures = in_turns({name: lambda c=c: cpu_seconds(c) for name, c in commands.items()}, rounds)
        for name in ("every frame", "keyframes"):
            words = f"a 1080p file, {name} / dvr-scan -m copy"
            result.rows.append(ratio(words, figures[name], figures["dvr-scan"], goal=0.10))


def _recording(source: str, place: Path, *words: str) -> list[str]:
    folders = ["--spool", str(place / "spool"), "--outbox", str(place / "outbox"), "--min-free", "0"]
    return [own_command(), "record", "--source", source, "--camera", "bench", *folders, "--pre", "5s", *words]


def _run_live(clips: Mapping[str, Path], place: Path, words: Sequence[str]) -> Spent:
    with _showing(clips) as camera:
        if "small" in clips:
            words = (*words, "--detect-source", camera.url("small"))
        command = _recording(camera.url("main"), place, *words)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        camera.began()
        before = _cpu_until_now(process)
        time.sleep(_length(clips["main"]))
        process.send_signal(signal.SIGTERM)
        return _ended(process, "camarchiver record", before=before)


def _as_camera_sends(clip: Path, place: Path) -> Path:
    """The same pictures as H.264 in mp4, for those that only know cameras."""
    with av.open(str(clip)) as container:
        copied = container.streams.video[0].codec_context.name == "h264"
    target = place / f"{clip.stem}.mp4"
    words = ["-c", "copy"] if copied else ["-c:v", "libx264", "-g", "30", "-bf", "0", "-crf", "18"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-i", str(clip), "-an"]
    subprocess.run([*command, *words, str(target)], check=True)
    return target


def _scaled(clips: Path, place: Path, width: int, rate: str) -> Path:
    """Forty seconds with two walks, with the noise that a camera adds."""
    target = place / f"{width}.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-ss", "5", "-t", "40"]
    command += ["-i", str(clips / "s01_day_walk.mp4"), "-vf", f"scale={width}:-2,noise=alls=6:allf=t"]
    command += [
        "-an",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-b:v",
        rate,
        "-maxrate",
        rate,
        "-bufsize",
        rate,
    ]
    command += ["-g", "30", "-bf", "0", str(target)]
    subprocess.run(command, check=True)
    return target
