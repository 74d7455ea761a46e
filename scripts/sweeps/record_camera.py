"""Cameras with the faults of real ones, one or two at random, beside a sound one in the same recorder."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av

from sweeps import Options, Sweep, Tally, tallies
from sweeps.camera import FFMPEG, Program

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.record.rtsp import Faults, RtspServer

SECONDS = 24.0
"""A trial: the scene of eight seconds is shown three times."""
SCENE_SECONDS = 8
RATE = 15
TRIALS = 120
"""Where no sample was asked for: about an hour."""
BEYOND = 0.3
"""Seconds that a clip's sound may begin before its pictures or end after them."""

FAULTS: dict[str, Any] = {
    "hang_up": (1.0, 5.0, 9.0),
    "stall": (5.0,),
    "parameters_in_sdp": (False,),
    "parameters_in_stream": (False,),
    "parameters_twice": (1, 2, 3),
    "keyframes_late": (3.0, 9.0),
    "video_late": (2.0, 6.0),
    "audio_late": (3.0,),
    "sound": (False,),
    "clock": (0.9, 0.97, 1.03, 1.2),
    "same_time": (True,),
    "jump": ((7.0, 4.0), (7.0, -20.0), (7.0, 3600.0)),
    "audio_jump": ((7.0, -300.0), (7.0, 7200.0), (7.0, 2.0)),
    "audio_offset": (5.0, -7200.0),
    "reports": (0.0, 1.0),
    "burst": (1.0,),
    "from_keyframe": (False,),
    "codec_name": ("NOVEL",),
    "broken_sound": (tuple(range(50, 800, 31)),),
    "twice_sound": (tuple(range(50, 800, 31)),),
}
"""What a camera may do wrong, and how; `other` comes from the scenes."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One camera's faults."""

    number: int
    faults: Faults
    words: str
    """Which of them it has."""
    scene: int
    """Which of the scenes it shows."""


def scenes(folder: Path) -> list[Path]:
    """A thing that moves for a second and a half, as cameras send it: plain, reordered, in another size."""
    still = f"color=gray:s=320x180:r={RATE}:d={SCENE_SECONDS},noise=alls=60:all_seed=7,boxblur=2,"
    thing = f"color=white:s=25x45:r={RATE}:d={SCENE_SECONDS},drawbox=x=5:y=10:w=15:h=15:c=black:t=fill"
    made = []
    for number, words in enumerate(("-g 15 -bf 0", "-g 15 -bf 2", "-g 15 -bf 0 -s 640x360")):
        made.append(folder / f"scene{number}.mp4")
        command = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", f"{still}noise=alls=5:allf=t"]
        command += ["-f", "lavfi", "-i", thing, "-f", "lavfi", "-i", f"sine=d={SCENE_SECONDS}"]
        command += ["-filter_complex", "[0][1]overlay=x='if(between(t,3,4.5),50+50*mod(t,2),-99)':y=70"]
        command += ["-c:v", "libx264", "-preset", "veryfast", *words.split(), "-c:a", "aac", "-shortest"]
        subprocess.run([*command, str(made[-1])], check=True)
    return made


def trials(options: Options, shown: Sequence[Path]) -> list[Trial]:
    """One or two faults each."""
    dice = random.Random(options.seed)
    found = []
    for number in range(options.sample or TRIALS):
        chosen = dice.sample(sorted([*FAULTS, "other"]), dice.choice((1, 2)))
        made = {name: dice.choice(FAULTS[name]) for name in chosen if name != "other"}
        if "other" in chosen:
            made |= {"other": shown[2], "other_at": 6.0}
        # without any time nobody can tell how pictures are reordered
        scene = 0 if "same_time" in chosen else dice.choice((0, 1))
        found.append(Trial(number, replace(Faults(), **made), " and ".join(chosen), scene))
    return found


class Yard:
    """A recorder of both cameras."""

    def __init__(self, options: Options, folder: Path, shown: Sequence[Path]) -> None:
        self.folder = folder
        self._program = Program(options.package, folder)
        self._shown = shown
        self._descriptors: list[int] = []

    def record(self, trial: Trial) -> Iterator[str]:
        """What went wrong while it ran, and with what it made."""
        with RtspServer(self._shown[0]) as sound, RtspServer(self._shown[trial.scene], trial.faults) as odd:
            config = self.folder / "config.toml"
            config.write_text(f'[record.sound]\nsource = "{sound.url}"\n[record.odd]\nsource = "{odd.url}"\n')
            words = ("record", "--config", config, "--spool", self.folder / "spool", "--outbox", self.outbox)
            lengths = ("--min-free", "0", "--duration", f"{SECONDS}s")
            with (self.folder / "said").open("wb") as said:
                process = self._program.start(*words, *lengths, output=said)
                while process.poll() is None:
                    self._look(process.pid)
                    time.sleep(0.5)
        if process.returncode not in (0, 1, 3):
            yield f"it ends with {process.returncode}: {self.said[-300:]}"
        if "Traceback" in self.said:
            yield f"a traceback: {self.said[-300:]}"
        early, late = (max(part, default=0) for part in (self._descriptors[:8], self._descriptors[8:]))
        if late > early + 8:
            yield f"it has {late} descriptors, in the beginning {early}"
        yield from self._clips()

    @property
    def outbox(self) -> Path:
        """Where its clips are."""
        return self.folder / "outbox"

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return (self.folder / "said").read_text(errors="replace")

    def _look(self, pid: int) -> None:
        try:
            self._descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - names alone
        except OSError:
            return

    def _clips(self) -> Iterator[str]:
        for path in sorted(self.outbox.glob("*/motion_*.mp4")):
            yield from (f"{path.parent.name}/{path.name} {problem}" for problem in problems_of(path))
        if len(list(self.outbox.glob("sound/motion_*.mp4"))) != int(SECONDS) // SCENE_SECONDS:
            yield "the sound camera has not a clip of each motion"
        for path in self.outbox.glob("*/motion_*.mp4"):
            os.utime(path, (time.time() - 7200,) * 2)
        ran = self._program.run("archive", self.outbox, "--age", "0", "--codec", "h264", "-y", "-q")
        if ran.code != 0:
            yield f"archive does not take the clips ({ran.code}): {ran.tail}"


def problems_of(path: Path) -> Iterator[str]:
    """What is wrong with a clip."""
    named = float(path.stem.split("_")[3].rstrip("s"))
    try:
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        with av.open(str(path)) as container:
            shown = [float(frame.time or 0) for frame in container.decode(video=0)]
        with av.open(str(path)) as container:
            heard = [float((one.pts or 0) * one.time_base) for one in container.demux(audio=0) if one.size]
    except (av.FFmpegError, IndexError) as error:
        if not isinstance(error, IndexError):
            yield f"can't be read: {error}"
            return
        heard = []
    if len(shown) != len(packets):
        yield f"plays {len(shown)} of {len(packets)} frames"
        return
    length = shown[-1] + 1 / RATE
    if abs(length - named) > 0.2 or shown[0] > 0.05:
        yield f"plays from {shown[0]:.2f} to {length:.2f} s"
    if heard and (heard[0] < -BEYOND or heard[-1] > length + BEYOND):
        yield f"is heard from {heard[0]:.2f} to {heard[-1]:.2f} s and shown until {length:.2f} s"


def sweep(options: Options) -> Iterator[Tally]:
    """Two cameras at a time; an hour of it, or a few trials in a sample."""
    with options.folder("record-camera") as where:
        shown = scenes(where)

        def attempt(trial: Trial) -> Sequence[str]:
            folder = where / f"trial{trial.number}"
            folder.mkdir()
            chosen = {name: value for name, value in asdict(trial.faults).items() if name in trial.words}
            return [f"{chosen}: {problem}" for problem in Yard(options, folder, shown).record(trial)]

        yield from tallies(trials(options, shown), attempt, options, lambda trial: "record-camera")


SWEEPS = (Sweep("record-camera", sweep, seconds=30.0),)
