"""What archiving costs, against ffmpeg run by hand and HandBrake."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.footage import LARGE, LONG, SHORT, camera_tree, footage, own_footage
from benches.measuring import CORES, Options, Result, Row, cpu_seconds, in_turns, ratio, say, workplace


@dataclass(frozen=True)
class Case:
    """One encoder, ours and HandBrake's words for it."""

    name: str
    codec: str
    handbrake: tuple[str, ...]


CASES = (
    Case("SVT-AV1 preset 10 crf 35", "av1", ("-e", "svt_av1", "--encoder-preset", "10", "-q", "35")),
    Case("x264 veryfast crf 23", "h264", ("-e", "x264", "--encoder-preset", "veryfast", "-q", "23")),
)

# The unchanged command, which reports at its end the CPU time of this process alone, and the part of it that
# was spent while clips were worked on.
_DRIVER = """
import json, sys, time
result_file = sys.argv.pop(1)
from camarchiver.archive import workers
from camarchiver.cli import run
perform_all, spent = workers.perform_all, []
def timed(*these, **more):
    begun = time.process_time()
    try:
        yield from perform_all(*these, **more)
    finally:
        spent.append(time.process_time() - begun)
workers.perform_all = timed
code = run(sys.argv[1:])
with open(result_file, "w") as stream:
    json.dump([time.process_time(), sum(spent)], stream)
sys.exit(code)
"""

# Measuring both ends of each clip, decoding its archive's keyframes and comparing pictures of both, as the
# parse worker does.
_VERIFIER = """
import json, resource, sys
from pathlib import Path
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
from camarchiver.media.parsing import worker as parse_worker
from camarchiver.media.verification import picture_rules
def beat():
    pass
begun = spent()
for source, archive in json.load(sys.stdin):
    source, archive = Path(source), Path(archive)
    original = parse_worker.answer("measure", source, (None,), beat)
    encoded = parse_worker.answer("examine", archive, (None,), beat).media
    pairs = picture_rules.pairs(original, encoded)
    assert pairs
    parse_worker.answer("compare", archive, (source, pairs, None), beat)
print(json.dumps([begun, spent() - begun]))
"""


@dataclass
class Runs:
    """The ways to encode one set of clips with one encoder, each in a fresh folder."""

    clips: list[Path]
    case: Case
    choice: Any
    place: Path
    own: list[tuple[float, float]] = field(default_factory=list)
    """CPU of our own process in each run, and the part of it that went to the clips."""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """Source and archive of our last run."""
    sizes: dict[str, int] = field(default_factory=dict)
    remuxed: int = 0

    def ours(self) -> float:
        """`camarchiver archive` over a tree of the clips."""
        root = self._fresh("ours")
        camera_tree(self.clips, root / "camera")
        result_file = root / "result.json"
        found = root / "report"
        command = [
            *(sys.executable, "-c", _DRIVER, str(result_file), "archive", str(root / "camera")),
            *("-o", str(root / "archive"), "--trash-root", str(root / "trash"), "--keep-source"),
            *("--log-file", str(root / "log"), "--encoder", "software", "--codec", self.case.codec),
            # Priority costs no CPU, but a neighbour would take theirs and ours at different speeds.
            *("--nice", "0", "--json", "--config", str(_empty_file(root))),
        ]
        with found.open("wb") as stream:
            total = cpu_seconds(command, output=stream)
        whole, clips = json.loads(result_file.read_text())
        self.own.append((whole, clips))
        outcomes = json.loads(found.read_text())["outcomes"]
        self.remuxed = sum(each["encoder"] != self.choice.encoder.name for each in outcomes)
        self.pairs = [(each["path"], each["target"]) for each in outcomes]
        self.sizes["camarchiver"] = sum(each["bytes_after"] for each in outcomes)
        return total

    def xargs(self) -> float:
        """As many ffmpegs as cores, one thread each."""
        jobs, made = self._scripts("xargs", threads=1)
        pipe = f"find {shlex.quote(str(jobs))} -name '*.sh' -print0 | xargs -0 -n1 -P{CORES} sh"
        return self._checked("xargs", cpu_seconds(["sh", "-c", pipe], env=_environment()), made)

    def loop(self) -> float:
        """One ffmpeg after the other, with ffmpeg's own threads."""
        jobs, made = self._scripts("loop", threads=0)
        every = f'for job in {shlex.quote(str(jobs))}/*.sh; do sh "$job" || exit; done'
        return self._checked("plain loop", cpu_seconds(["sh", "-c", every], env=_environment()), made)

    def handbrake(self) -> float:
        """One HandBrakeCLI after the other: picture, sound and rate as they are."""
        root = self._fresh("handbrake")
        made, total = [], 0.0
        keep = ("--crop", "0:0:0:0", "--no-comb-detect", "--no-decomb", "--no-deinterlace", "--vfr")
        size = ("--maxWidth", "8192", "--maxHeight", "4320", "--non-anamorphic")
        for number, clip in enumerate(self.clips):
            made.append(root / f"{number:02}.mp4")
            files = ("-i", str(clip), "-o", str(made[-1]))
            sound = ("-E", "copy:aac", "-f", "av_mp4", "--optimize")
            total += cpu_seconds(["HandBrakeCLI", *files, *self.case.handbrake, *keep, *size, *sound])
        return self._checked("HandBrakeCLI", total, made)

    def verification(self) -> tuple[float, float]:
        """CPU seconds of starting the parse worker, and of its work on our last run's clips."""
        text = subprocess.run(
            [sys.executable, "-c", _VERIFIER],
            input=json.dumps(self.pairs),
            capture_output=True,
            text=True,
            check=True,
        )
        start, work = json.loads(text.stdout)
        return start, work

    def hashing(self) -> float:
        """Milliseconds that the digests of one clip and its archive take."""
        begun = time.process_time()
        for path in (Path(name) for pair in self.pairs for name in pair):
            with path.open("rb") as stream:
                digest = hashlib.blake2b()
                while block := stream.read(1 << 20):
                    digest.update(block)
        return 1000 * (time.process_time() - begun) / len(self.pairs)

    def _scripts(self, name: str, *, threads: int) -> tuple[Path, list[Path]]:
        """One shell script per clip with the arguments that our own run gives to ffmpeg."""
        from camarchiver.media import encoders as media_encoders
        from camarchiver.media import ffmpeg_args
        from camarchiver.media.parsing import worker as parse_worker

        root = self._fresh(name)
        jobs = root / "jobs"
        jobs.mkdir()
        made = []
        for number, source in enumerate(camera_tree(self.clips, root / "camera")):
            media = parse_worker.measure(source, None, lambda: None)
            container = media_encoders.container_for(media, media_encoders.EncodeSettings())
            made.append(root / f"{number:02}.{container}")
            # As long as ours, which contain a hash.
            tags = {"comment": "x" * 220, "creation_time": "2023-11-05T08:00:00.000000Z"}
            job = ffmpeg_args.Job(
                source, made[-1], media, media_encoders.EncodeSettings(), container, tags, threads
            )
            way = ffmpeg_args.Transcode(
                job, self.choice.encoder, media_encoders.FallbackLevel.SOFTWARE, self.choice.ffmpeg.version
            )
            words = [str(self.choice.ffmpeg.path), *ffmpeg_args.transcode(way)]
            (jobs / f"{number:02}.sh").write_text(f"exec {shlex.join(words)}\n")
        return jobs, made

    def _fresh(self, name: str) -> Path:
        root = self.place / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        return root

    def _checked(self, name: str, total: float, made: Sequence[Path]) -> float:
        self.sizes[name] = sum(path.stat().st_size for path in made)
        return total


def _empty_file(root: Path) -> Path:
    path = root / "config.toml"
    path.touch()
    return path


def _environment() -> dict[str, str]:
    """SVT-AV1 as silent as we have it."""
    return {**os.environ, "SVT_LOG": "1"}


def bench(options: Options) -> Result:
    """What archiving costs, against ffmpeg run by hand and HandBrake."""
    from camarchiver.media import encoder_probe, ffmpeg_find
    from camarchiver.media import encoders as media_encoders

    result = Result("archive")
    machine = encoder_probe.Machine(ffmpeg_find.find(), media_encoders.EncodeSettings())
    rounds = options.rounds or (1 if options.quick else 3)
    handbrake = shutil.which("HandBrakeCLI") is not None
    if not handbrake:
        result.skipped.append("HandBrakeCLI: not installed (apt install handbrake-cli)")
    for case in CASES:
        choice = machine.choose(media_encoders.Backend.SOFTWARE, case.codec)  # type: ignore[arg-type]  # a codec
        result.versions[case.name] = "; ".join(choice.explanation)
        for name, clips in _sets(options, str(choice.ffmpeg.path)):
            say(f"{case.name}, {name}: {len(clips)} clips")
            with workplace(options) as place:
                runs = Runs(clips, case, choice, place)
                result.rows += _compare(runs, name, rounds, handbrake=handbrake and not options.no_handbrake)
    result.rows += _qualities(options, machine)
    if handbrake:
        said = subprocess.run(["HandBrakeCLI", "--version"], capture_output=True, text=True).stdout
        result.versions["HandBrake"] = said.splitlines()[0] if said else "?"
    return result


def _sets(options: Options, ffmpeg: str) -> Iterator[tuple[str, list[Path]]]:
    if options.footage:
        clips = own_footage(options.footage)
        yield "own clips", clips[:2] if options.quick else clips
        return
    large, short = footage(LARGE, ffmpeg, options), footage(SHORT, ffmpeg, options)
    long = footage(LONG, ffmpeg, options)
    yield f"{2 if options.quick else len(large)} large", large[:2] if options.quick else large
    yield f"{len(long)} long", long
    yield f"{6 if options.quick else len(short)} short", short[:6] if options.quick else short


def _compare(runs: Runs, name: str, rounds: int, *, handbrake: bool) -> Iterator[Row]:
    tasks = {"camarchiver": runs.ours, "xargs": runs.xargs, "plain loop": runs.loop}
    if handbrake:
        tasks["HandBrakeCLI"] = runs.handbrake
    figures = in_turns(tasks, rounds)
    ours, xargs = figures["camarchiver"], figures["xargs"]
    say("  verification alone")
    parses = [runs.verification() for _ in range(max(3, rounds))]
    works = [work for _, work in parses]
    starts = [start for start, _ in parses]
    large = any(word in name for word in ("large", "long", "own"))
    verified = statistics.median(works)
    title = f"{runs.case.name}, {name}: "
    bytes_of = {each: size / runs.sizes["camarchiver"] for each, size in runs.sizes.items()}
    note = ", ".join(f"{each} {part:.3f}" for each, part in bytes_of.items() if each != "camarchiver")
    if runs.remuxed:
        note += f"; {runs.remuxed} of ours were remuxed, being no smaller"
    yield ratio(
        title + f"ours / find, xargs -P{CORES}, one thread each", ours, xargs, note=f"bytes / ours: {note}"
    )
    yield ratio(
        title + "the same, less the verification",
        [total - verified for total in ours],
        xargs,
        goal=1.02 if large else None,
        note="which xargs hasn't",
    )
    yield ratio(title + "ours / plain loop", ours, figures["plain loop"], goal=0.8 if large else None)
    if handbrake:
        theirs = figures["HandBrakeCLI"]
        yield ratio(title + "ours / HandBrakeCLI", ours, theirs, goal=0.62 if large else None)
    base = statistics.median(xargs)
    yield Row(
        title + "verification",
        "%",
        [100 * work / base for work in works],
        goal=3 if large else None,
        note=f"{1000 * verified / len(runs.clips):.0f} ms a clip, worker's start"
        f" {1000 * statistics.median(starts):.0f} ms a run",
    )
    megabytes = sum(clip.stat().st_size for clip in runs.clips) / len(runs.clips) / 1e6
    yield Row(
        title + "our own process, per clip",
        "ms",
        [1000 * clips / len(runs.clips) for _, clips in runs.own],
        goal=10,
        note=f"of {megabytes:.1f} MB; {runs.hashing():.1f} of them BLAKE2b of source and archive",
    )
    rest = [1000 * (whole - clips) for whole, clips in runs.own]
    yield Row(title + "our own process, per run", "ms", rest, note="start, plan, trial of the encoder")
    seconds = ", ".join(f"{each} {statistics.median(took):.1f}" for each, took in figures.items())
    yield Row(title + "ours, whole process tree", "s", ours, note=f"medians: {seconds}")


# --- size and quality ------------------------------------------------------------------------------


def _qualities(options: Options, machine: Any) -> Iterator[Row]:
    """What each codec's default makes of a day and of a night."""
    from camarchiver.media import encoders as media_encoders

    for codec in ("av1", "h264", "hevc"):
        choice = machine.choose(media_encoders.Backend.SOFTWARE, codec)
        if options.footage:
            chosen = {"own clips": own_footage(options.footage)[:2]}
        else:
            clips = footage(SHORT if options.quick else LARGE, str(choice.ffmpeg.path), options)
            chosen = {"day": clips[:1], "night": clips[2:3]}
        for name, clips in chosen.items():
            say(f"{codec}, {name}: size and VMAF")
            with workplace(options) as place:
                runs = Runs(clips, Case(codec, codec, ()), choice, place)
                runs.ours()
                scores = [_vmaf(*pair) for pair in runs.pairs]
            size = runs.sizes["camarchiver"] / sum(clip.stat().st_size for clip in clips)
            setting = "; ".join(choice.explanation)
            kept = "; a lossless copy, being no smaller" if runs.remuxed else ""
            yield Row(f"{codec} by default, {name}: bytes / source", "ratio", [size], note=setting + kept)
            yield Row(f"{codec} by default, {name}: VMAF", "score", scores)


def _vmaf(source: str, archive: str) -> float:
    """By the embedded ffmpeg, which has libvmaf; every fourth frame."""
    import imageio_ffmpeg

    start = "setpts=PTS-STARTPTS"
    graph = f"[0:v]{start}[a];[1:v]{start}[b];[a][b]libvmaf=n_subsample=4:n_threads={CORES}"
    files = ["-nostdin", "-hide_banner", "-i", archive, "-i", source]
    made = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *files, "-lavfi", graph, "-an", "-f", "null", "-"],
        capture_output=True,
        text=True,
    )
    found = re.search(r"VMAF score: ([\d.]+)", made.stderr)
    if found is None:
        sys.exit(f"bench: no VMAF of {archive}\n{made.stderr[-1500:]}")
    return float(found[1])
