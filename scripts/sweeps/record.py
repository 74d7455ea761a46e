"""SIGKILL at every call of `record`, and at any time: what was whole on the disk is in the outbox, once."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av

from sweeps import Options, Sweep, Tally, camera, tally
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import FFMPEG, Program, Ran

MOTION = ((4, 5.5), (9, 10.5))
SECONDS = 13
RATE = 10
ANY_TIME = 100
"""Trials of the sweep over time where no sample was asked for."""


class Recorder:
    """A recorder of a clip in which something moves twice."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        self.folder = folder
        self.source = model / "clip.mp4"
        self.spool, self.outbox = folder / "spool", folder / "outbox"
        self.known = packets(self.source)
        self.finished: Counter[str] = Counter()
        """The packets that lay in whole fragments in the spool when the run ended."""
        self.code: int | None = None
        self.program = Program(options.package, folder, warm=True)
        self.roots: tuple[Path, ...] = (self.spool, self.outbox)

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        ran = self.program.run(*self.words(), before=(*strace, "-f") if strace else ())
        self.look(ran.code)
        return ran

    def again(self) -> Ran:
        # nothing moves in the first second, so this only salvages
        return self.program.run(*self.words(), "--duration", "1s")

    def words(self) -> tuple[str, ...]:
        """The command."""
        places = ("--spool", str(self.spool), "--outbox", str(self.outbox), "--min-free", "0")
        lengths = ("--pre", "1s", "--post", "1s", "--snapshot", "--timezone", "UTC")
        return ("record", "--source", f"file:{self.source}", "--camera", "yard", *places, *lengths)

    def look(self, code: int | None) -> None:
        """Remember what the run left in the spool."""
        self.code = code
        self.finished = Counter()
        for path in self.spool.glob("yard/motion_*.mp4"):
            self.finished += Counter(packets(whole_part(path, self.folder)))

    def published(self) -> list[Path]:
        """The clips under final names."""
        return sorted(self.outbox.glob("yard/motion_*.mp4"))

    def violations(self) -> Iterator[str]:
        together: Counter[str] = Counter()
        for path in self.published():
            try:
                found = packets(path)
            except (OSError, av.FFmpegError) as error:
                yield f"{path.name} can't be read: {error}"
                continue
            if not is_part(found, self.known):
                yield f"{path.name} is not {len(found)} packets of the camera in a row"
            together += Counter(found)
        if twice := sum(count > 1 for count in together.values()):
            yield f"{twice} packets are in the outbox twice"

    def unfinished(self) -> Iterator[str]:
        there = Counter(packet for path in self.published() for packet in packets(path))
        if lost := sum((self.finished - there).values()):
            yield f"{lost} of {sum(self.finished.values())} packets in whole fragments did not get out"
        if self.code == 0 and len(self.published()) != len(MOTION):
            yield f"a run that ended well made {len(self.published())} clips"
        for path in self.spool.glob("yard/motion_*"):
            if packets(whole_part(path, self.folder)):
                yield f"{path.name} is still in the spool"
        yield from camera.litter(self.outbox)

    def close(self) -> None:
        pass


class TwoDisks(Recorder):
    """The same with the outbox on another filesystem."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        super().__init__(options, folder, model)
        self.outbox = camera.other_disk(folder)
        self.roots = (self.spool, self.outbox)

    def close(self) -> None:
        shutil.rmtree(self.outbox, ignore_errors=True)


def packets(path: Path) -> tuple[str, ...]:
    """A hash of each video packet, in decoding order; none of an empty file."""
    if not path.stat().st_size:
        return ()
    with av.open(str(path)) as container:
        found = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return tuple(hashlib.blake2b(each, digest_size=16).hexdigest() for each in found)


def is_part(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether one occurs within the other without a gap."""
    return bool(part) and any(
        tuple(whole[at : at + len(part)]) == tuple(part) for at in range(len(whole) - len(part) + 1)
    )


def whole_part(path: Path, folder: Path) -> Path:
    """A copy of a spool file up to its last whole media data that is described."""
    data = path.read_bytes()
    at = whole = 0
    described = closed = False
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16])
        if length < 8 or at + length > len(data):
            break
        at += length
        # a closed file's description follows its media data
        closed = closed or (kind == b"mdat" and not described)
        described = described or kind == b"moov"
        if described and (kind == b"mdat" or closed):
            whole = at
    copy = Path(tempfile.mkdtemp(prefix="part-", dir=folder)) / path.name
    copy.write_bytes(data[:whole])
    return copy


def make_model(options: Options, folder: Path) -> None:
    """A noisy, still picture, over which a thing moves at times."""
    when = "+".join(f"between(t,{begin},{end})" for begin, end in MOTION)
    still = f"color=gray:s=320x180:r={RATE}:d={SECONDS},noise=alls=8:allf=t"
    thing = f"color=white:s=40x60:r={RATE}:d={SECONDS}"
    place = f"[0][1]overlay=x='if({when},40+120*mod(t,2),-100)':y=70"
    command = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", still, "-f", "lavfi", "-i", thing]
    command += ["-filter_complex", place, "-c:v", "libx264", "-preset", "veryfast", "-g", str(RATE)]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(folder / "clip.mp4")], check=True)


def any_time(options: Options) -> Iterator[Tally]:
    """SIGKILL at random moments of a recording that goes as fast as a camera does, then a start."""
    dice = random.Random(options.seed)
    # between the first motion's clip and the end; starting takes a second or two
    moments = [dice.uniform(MOTION[0][0], SECONDS + 1) for _ in range(options.sample or ANY_TIME)]
    with options.folder("kill-record") as where:
        model = where / "model"
        model.mkdir()
        make_model(options, model)
        begun: list[int] = []

        def attempt(moment: float) -> list[str]:
            folder = Path(tempfile.mkdtemp(prefix="trial-", dir=where))
            stage = Recorder(options, folder, model)
            process = stage.program.start(*stage.words(), "--realtime")
            time.sleep(moment)
            process.kill()
            stage.look(process.wait())
            begun.append(sum(stage.finished.values()))
            found = [f"after the kill: {problem}" for problem in stage.violations()]
            again = stage.again()
            if again.code != 0:
                found.append(f"the second run ends with {again.code}: {again.tail}")
            found += [*stage.violations(), *stage.unfinished()]
            if found and options.keep:
                kept = Path(tempfile.mkdtemp(prefix="camarchiver-violation-"))
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                found.append(f"kept in {kept}")
            shutil.rmtree(folder, ignore_errors=True)
            return found

        # they sleep most of the time
        patient = replace(options, jobs=4 * options.jobs)
        told = tally("kill record, SIGKILL at any time", moments, attempt, patient)
        note = f"{sum(map(bool, begun))} amid a clip, with {sum(begun)} packets in whole fragments"
        yield replace(told, note=note)


SWEEPS = (
    *sweeps_of(Subject("record", make_model, Recorder)),
    *sweeps_of(Subject("record-two-disks", make_model, TwoDisks)),
    Sweep("kill-record-any-time", any_time, seconds=15),
)
