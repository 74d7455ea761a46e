"""Cameras with the faults of real ones, one or two at random, beside a sound one in the same recorder."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec.structs import asdict, replace

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, tallies
from sweeps.camera import FFMPEG, Program
from sweeps.recorded import RATE, problems_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.record.rtsp import Faults, RtspServer

SECONDS = 24.0
"""A trial: the scene of eight seconds is shown three times."""
SCENE_SECONDS = 8
TRIALS = 120
"""Where no sample was asked for: about an hour."""
MORE_FILES = 8
"""Descriptors that may be open at the end beyond those of the first seconds."""
MORE_MEMORY = 30_000_000
"""The same in bytes of memory."""

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
    "first_report": (3.0,),
    "burst": (1.0,),
    "from_keyframe": (False,),
    "login": ("user:p/w#?1",),
    "basic": (True,),
    "codec_name": ("NOVEL",),
    "sessions": (1,),
    "displaces": (True,),
    "keepalive": (8,),
    "redirect": (True,),
    "rtp_info": (True,),
    "first_stamp": (0xFFFFFFFF - 500_000,),
    "wall_step": ((7.0, 3600.0), (7.0, -5.0)),
    "metadata": (True,),
    "markers": (False,),
    "lost_video": (tuple(range(300, 3000, 211)),),
    "broken_video": (tuple(range(300, 3000, 211)),),
    "udp_only": (True,),
    "broken_sound": (tuple(range(50, 800, 31)),),
    "lost_sound": (tuple(range(50, 800, 31)),),
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
    g711: str
    """What is asked for if its sound is G.711."""

    @property
    def is_damaged(self) -> bool:
        """Whether pictures are lost or wrong."""
        return bool(self.faults.lost_video or self.faults.broken_video)


SCENES = (
    ("libx264 -g 15 -bf 0", "aac"),
    ("libx264 -g 15 -bf 2", "aac"),
    ("libx264 -g 15 -bf 0", "pcm_alaw"),
    ("libx264 -g 15 -bf 3 -x264-params open-gop=1:b-pyramid=normal", "aac"),
    ("libx264 -bf 0 -x264-params intra-refresh=1:keyint=15", "aac"),
    ("libx264 -g 15 -bf 0 -flags +ilme+ildct -x264-params tff=1", "aac"),
    ("libx265 -g 15 -bf 0 -x265-params open-gop=0:log-level=none", "aac"),
    ("libx265 -bf 0 -x265-params intra-refresh=1:keyint=15:log-level=none", "aac"),
)
GRADUAL = len(SCENES) - 1
"""Its camera announces the refreshes, as the encoder does not."""
OTHER = "libx264 -g 15 -bf 0 -s 640x360"


def scenes(folder: Path) -> tuple[Path, ...]:
    """A thing that moves for a second and a half, as cameras send it; the last one is of another size.

    It begins after five seconds, because the detector learns the picture for the first three.
    In each second a lamp in the corner lights with a tone, by which sound and pictures are compared.
    """
    still = f"color=gray:s=320x180:r={RATE}:d={SCENE_SECONDS},noise=alls=60:all_seed=7,boxblur=2,"
    lamp = "noise=alls=5:allf=t,drawbox=w=32:h=32:c=white:t=fill:enable='gte(mod(n,15),6)*lt(mod(n,15),11)'"
    lamp += ",drawbox=w=32:h=32:c=black:t=fill:enable='lt(mod(n,15),6)+gte(mod(n,15),11)'"
    thing = f"color=white:s=25x45:r={RATE}:d={SCENE_SECONDS},drawbox=x=5:y=10:w=15:h=15:c=black:t=fill"
    tone = f"aevalsrc='if(between(mod(t,1),0.4,0.733),sin(2760*t)/3,0)':s=8000:d={SCENE_SECONDS}"
    made = []
    for number, (video, sound) in enumerate((*SCENES, (OTHER, "aac"))):
        made.append(folder / f"scene{number}.{'mov' if sound.startswith('pcm') else 'mp4'}")
        command = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", still + lamp]
        command += ["-f", "lavfi", "-i", thing, "-f", "lavfi", "-i", tone]
        command += ["-filter_complex", "[0][1]overlay=x='if(between(t,5,6.5),70+50*mod(t,2),-99)':y=70"]
        command += ["-c:v", *video.split(), "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-c:a", sound, "-ac", "1", "-shortest", str(made[-1])], check=True)
    return tuple(made)


def trials(options: Options, shown: Sequence[Path]) -> list[Trial]:
    """One or two faults each."""
    dice = random.Random(options.seed)
    found = []
    for number in range(options.sample or TRIALS):
        chosen = dice.sample(sorted([*FAULTS, "other"]), dice.choice((1, 2)))
        made = {name: dice.choice(FAULTS[name]) for name in chosen if name != "other"}
        if "other" in chosen:
            made |= {"other": shown[-1], "other_at": 7.5}
        if "basic" in chosen:
            made |= {"login": FAULTS["login"][0]}
        scene = dice.randrange(len(SCENES))
        if "same_time" in chosen and "-bf 0" not in SCENES[scene][0]:
            # without any time it is unknown how pictures are reordered
            scene = 0
        if "keyframes_late" in chosen and scene == GRADUAL:
            # all its pictures build on the one keyframe of the scene
            scene = 0
        if "other" in chosen:
            # the other pictures are of this kind, too
            scene = 0
        if scene == GRADUAL:
            made |= {"refreshes": 15}
        faults, g711 = replace(Faults(), **made), dice.choice(("keep", "aac"))
        found.append(Trial(number, faults, " and ".join(chosen), scene, g711))
    return found


class TwoCameraRecorder:
    """A recorder of both cameras."""

    def __init__(self, options: Options, folder: Path, shown: Sequence[Path]) -> None:
        self.folder = folder
        self._program = Program(options.package, folder)
        self._shown = shown
        self._descriptors: list[int] = []
        self._memory: list[int] = []

    def record(self, trial: Trial) -> Iterator[str]:
        """What went wrong while it ran, and with what it made."""
        with RtspServer(self._shown[0]) as sound, RtspServer(self._shown[trial.scene], trial.faults) as odd:
            config = self.folder / "config.toml"
            config.write_text(
                f'[record.sound]\nsource = "{sound.url}"\n'
                f'[record.odd]\nsource = "{_address(odd.url, trial.faults)}"\ng711 = "{trial.g711}"\n'
            )
            words = ("record", "--config", config, "--spool", self.folder / "spool", "--outbox", self.outbox)
            more = ("--min-free", "0", "--duration", f"{SECONDS + 5}s", "--mask", "0,0 0.2,0 0.2,0.3 0,0.3")
            with (self.folder / "said").open("wb") as said:
                process = self._program.start(*words, *more, output=said)
                while process.poll() is None:
                    self._look(process.pid)
                    time.sleep(0.5)
        if process.returncode not in (ExitCode.DONE, ExitCode.FAILED, ExitCode.PARTIAL):
            yield f"it ends with {process.returncode}: {self.said[-300:]}"
        if "Traceback" in self.said:
            yield f"a traceback: {self.said[-300:]}"
        if "crashed" in self.said or "hangs" in self.said:
            yield f"a recorder crashed: {self.said[-300:]}"
        yield from self._growth()
        yield from self._clips(trial)

    @property
    def outbox(self) -> Path:
        """Where its clips are."""
        return self.folder / "outbox"

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return (self.folder / "said").read_text(errors="replace")

    def _look(self, pid: int) -> None:
        """Count the descriptors and the memory of the command and of its cameras' processes."""
        with suppress(OSError):
            each = [pid, *_children(pid)]
            self._descriptors.append(sum(len(os.listdir(f"/proc/{one}/fd")) for one in each))  # noqa: PTH208 - names alone
            pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in each)
            self._memory.append(pages * os.sysconf("SC_PAGE_SIZE"))

    def _growth(self) -> Iterator[str]:
        """What is larger at the end than when both cameras had made their first clip."""
        whole = len(self._memory)
        for what, counts, more in (
            ("descriptors", self._descriptors, MORE_FILES),
            ("bytes of memory", self._memory, MORE_MEMORY),
        ):
            early, late = max(counts[: whole * 2 // 3], default=0), max(counts[whole * 2 // 3 :], default=0)
            if late > early + more:
                yield f"it has {late:,} {what}, before {early:,}"

    def _clips(self, trial: Trial) -> Iterator[str]:
        found = sorted([*self.outbox.glob("*/motion_*.mp4"), *self.outbox.glob("*/motion_*.mov")])
        for path in found:
            is_sound = path.parent.name == "sound"
            damaged = not is_sound and trial.is_damaged
            # then its timestamps step with each of its own sender reports
            unsteady = not is_sound and trial.faults.clock != 1
            problems = problems_of(path, whole=is_sound, damaged=damaged, unsteady=unsteady)
            yield from (f"{path.parent.name}/{path.name} {problem}" for problem in problems)
        if len(list(self.outbox.glob("sound/motion_*.mp4"))) != int(SECONDS) // SCENE_SECONDS:
            yield "the sound camera has not a clip of each motion"
        if left := [path.name for path in self.folder.glob("spool/*/motion_*")]:
            yield f"left in the spool: {left}"
        for path in found:
            os.utime(path, (time.time() - 7200,) * 2)
        ran = self._program.run("archive", self.outbox, "--age", "0", "--codec", "h264", "-y", "-q")
        archived = [path for path in self.outbox.glob("archived/**/motion_*.m*") if path.is_file()]
        # a clip that was damaged on its way may be left alone, and the run says so
        may_stay = trial.is_damaged or trial.faults.broken_sound
        lacking = len(found) - len(archived) if may_stay and ran.code == ExitCode.PARTIAL else 0
        wanted = ExitCode.PARTIAL if lacking else ExitCode.DONE
        if ran.code != wanted or len(archived) + lacking != len(found):
            yield f"archive took {len(archived)} of {len(found)} clips ({ran.code}): {ran.tail}"


def _address(url: str, faults: Faults) -> str:
    """The address of a camera, with what its owner has to know."""
    user, _, password = faults.login.partition(":")
    login = f"{user}:{quote(password, safe='')}@" if faults.login else ""
    return url.replace("://", f"://{login}") + ("?transport=udp" if faults.udp_only else "")


def _children(pid: int) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", Path(f"/proc/{pid}/task/{pid}/children").read_text())]


def sweep(options: Options) -> Iterator[Tally]:
    """Two cameras at a time; an hour of it, or a few trials in a sample."""
    with options.folder("record-camera") as where:
        shown = scenes(where)

        def attempt(trial: Trial) -> Sequence[str]:
            folder = where / f"trial{trial.number}"
            folder.mkdir()
            chosen = {name: value for name, value in asdict(trial.faults).items() if name in trial.words}
            said = f"{chosen}, scene {trial.scene}, {trial.g711}"
            return [
                f"{said}: {problem}" for problem in TwoCameraRecorder(options, folder, shown).record(trial)
            ]

        yield from tallies(trials(options, shown), attempt, options, lambda trial: "record-camera")


SWEEPS = (Sweep("record-camera", sweep, seconds=30.0),)
