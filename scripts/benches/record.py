"""What `record` sees and costs, against Debian's `motion` and PyPI's `dvr-scan` on the same clips."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, own_command, ratio, say, workplace

SHARED = Path(__file__).resolve().parents[3] / "shared"
"""Labelled clips and their scorer, beside the project's folder."""
DVR_SCAN = "dvr-scan[opencv-headless]==1.8.2.1"
POST = 2.0
"""Seconds that dvr-scan adds to the end of an event, by its standard."""
GAP = 3
"""Seconds without motion after which motion ends an event."""
LAG = 0.45
"""Seconds from feeding a frame to motion's script, the same for every event."""
QUICK = ("s01_day_walk", "s05_light_switch", "s10_brief")

# The least false events for motion that any setting tried gave on these clips.
_TUNED = "threshold 500\nminimum_motion_frames 3\nlightswitch_percent 25\n"

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
        motion, dvr = _motion(result), _dvr_scan(options, result)
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


def _ended(process: subprocess.Popen[Any], what: str) -> Spent:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 143):
        sys.exit(f"bench: {what} ended with {process.returncode}")
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


@contextmanager
def _feeding(*pairs: tuple[Path, Path]) -> Iterator[list[subprocess.Popen[Any]]]:
    """Feed clips into FIFOs as a camera would, as fast as they were recorded."""
    feeders = []
    for clip, fifo in pairs:
        with suppress(FileNotFoundError):
            fifo.unlink()
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet", "-re", "-i", str(clip)]
        command += ["-map", "0:v", "-c", "copy", "-f", "mpegts", "-y", str(fifo)]
        feeders.append(subprocess.Popen(command))
    try:
        yield feeders
    finally:
        for feeder in feeders:
            feeder.kill()
            feeder.wait()


def _run_motion(
    command: str, clip: Path, place: Path, *, size: Sequence[int], fps: float
) -> tuple[Spent, Events]:
    """One clip live through motion, which copies what it records and keeps five seconds before it."""
    folder = place / "motion"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    fifo, told, script = folder / "fifo", folder / "told", folder / "tell"
    # motion itself replaces what looks like a date in a command
    script.write_text(f'#!/bin/sh\necho "$1" "$(date +%s.%N)" >> {told}\n')
    script.chmod(0o755)
    (folder / "motion.conf").write_text(
        f"daemon off\nlog_level 4\nlog_file {folder}/log\ntarget_dir {folder}/out\nwebcontrol_port 0\n"
        f"stream_port 0\nnetcam_url file://{fifo}\nwidth {size[0]}\nheight {size[1]}\nframerate {fps:.0f}\n"
        f"event_gap {GAP}\npre_capture {5 * fps:.0f}\npicture_output off\nmovie_output on\n"
        f"movie_passthrough on\non_event_start {script} start\non_event_end {script} end\n{_TUNED}"
    )
    with _feeding((clip, fifo)) as feeders:
        process = subprocess.Popen(
            [command, "-n", "-c", str(folder / "motion.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        began = _opened(feeders[0])
        feeders[0].wait()
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        spent = _ended(process, "motion")
    return spent, _events_told(told, began, time.time() - began)


def _opened(feeder: subprocess.Popen[Any]) -> float:
    """When the reader came: a FIFO opens for writing only then."""
    links = Path(f"/proc/{feeder.pid}/fd")
    while feeder.poll() is None:
        with suppress(OSError):
            if any(str(each.readlink()).endswith("fifo") for each in links.iterdir()):
                break
        time.sleep(0.02)
    return time.time()


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
        """Everything that the scorer tells of one detector."""
        found = {}
        for name, clip in self.truth.items():
            say(f"  {what} looks at {name}")
            found[name] = {"events": find(self.clips / clip["file"], clip)}
        total: dict[str, Any] = self._module.score(self.truth, found)[0]
        return total


def _see(options: Options, result: Result, judge: Judge, place: Path, motion: str, dvr: str) -> None:
    def ours(clip: Path, _: dict[str, Any]) -> Events:
        words = [own_command(), "record", "--source", f"file:{clip}", "--dry-run", "--json"]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        return [[each["start"], each["end"]] for each in json.loads(ran.stdout)["events"]]

    def dvrs(clip: Path, _: dict[str, Any]) -> Events:
        words = [dvr, "-i", str(clip), "-so", "-tb", "0s", "-q"]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        moments = [_seconds(each) for each in re.findall(r"\d\d:\d\d:\d\d\.\d+", ran.stdout)]
        pairs = zip(moments[::2], moments[1::2], strict=True)
        return [[start, max(end - POST, start)] for start, end in pairs]

    def motions(clip: Path, facts: dict[str, Any]) -> Events:
        return _run_motion(motion, clip, place, size=facts["size"], fps=facts["fps"])[1]

    known = {
        "camarchiver": ours,
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

    def live(*words: str, beside: Path | None = None) -> float:
        spent = _run_live(large, beside, place, words)
        if beside is None and not words:
            memory["camarchiver"].append(spent.memory)
        return spent.cpu

    def motion_live() -> float:
        spent, _ = _run_motion(motion, large, place, size=(1920, 1080), fps=15)
        memory["motion"].append(spent.memory)
        return spent.cpu

    if motion:
        figures = in_turns(
            {
                "motion": motion_live,
                "every frame": live,
                "keyframes": lambda: live("--keyframes"),
                "sub-stream": lambda: live(beside=small),
            },
            rounds,
        )
        what = "live 1080p, {} / motion with pass-through"
        result.rows += [
            ratio(what.format(name), figures[name], figures["motion"], goal=goal)
            for name, goal in (("every frame", 0.40), ("keyframes", 0.15), ("sub-stream", 0.15))
        ]
        told = f"{memory['camarchiver'][0]:.0f} and {memory['motion'][0]:.0f} MB"
        words = "memory with 5 s of pre-roll at 1080p / motion"
        result.rows.append(ratio(words, memory["camarchiver"], memory["motion"], goal=0.30, note=told))
    if dvr:
        commands = {
            "dvr-scan": [dvr, "-i", str(large), "-m", "copy", "-d", str(place / "dvr"), "-q"],
            "camarchiver": _recording(f"file:{large}", place),
        }
        figures = in_turns({name: lambda c=c: cpu_seconds(c) for name, c in commands.items()}, rounds)
        words = "a 1080p file, every frame / dvr-scan -m copy"
        result.rows.append(ratio(words, figures["camarchiver"], figures["dvr-scan"], goal=0.10))


def _recording(source: str, place: Path, *words: str) -> list[str]:
    folders = ["--spool", str(place / "spool"), "--outbox", str(place / "outbox"), "--min-free", "0"]
    return [own_command(), "record", "--source", source, "--camera", "bench", *folders, "--pre", "5s", *words]


def _run_live(clip: Path, beside: Path | None, place: Path, words: Sequence[str]) -> Spent:
    pairs = [(clip, place / "fifo")]
    if beside is not None:
        pairs.append((beside, place / "small-fifo"))
        words = (*words, "--detect-source", f"file:{place / 'small-fifo'}")
    with _feeding(*pairs):
        command = _recording(f"file:{place / 'fifo'}", place, *words)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return _ended(process, "camarchiver record")


def _scaled(clips: Path, place: Path, width: int, rate: str) -> Path:
    """Twenty seconds with one walk, as a camera would send them."""
    target = place / f"{width}.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-ss", "5", "-t", "20"]
    command += ["-i", str(clips / "s01_day_walk.mp4"), "-vf", f"scale={width}:-2", "-an", "-c:v", "libx264"]
    command += ["-preset", "veryfast", "-b:v", rate, "-g", "30", "-bf", "0", str(target)]
    subprocess.run(command, check=True)
    return target
