"""Clips of every kind are archived, and what the archives show is held against what the clips show.

Software and, where its stand-in is there, Quick Sync encode them. `shown` compares with ffprobe and ffmpeg
alone. Flaws that ffmpeg plants in good archives try the comparison itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sweeps import Options, Sweep, Tally, Unable, camera, shown, violation
from sweeps.camera import FFMPEG, LATELY, Program
from sweeps.kinds import FEATURES, KINDS, Kind, ffmpeg, make
from tests.clips import SOFTQSV
from tests.dates import clip_of


@dataclass(frozen=True)
class Way:
    """How the program is to archive."""

    name: str
    words: tuple[str, ...]
    extra: Mapping[str, str]


def ways(options: Options) -> Iterator[Way]:
    """Software, in two codecs, and the stand-in for Quick Sync where it is."""
    yield Way("x264", ("--encoder", "software", "--codec", "h264"), {})
    yield Way("auto", ("--encoder", "software"), {})
    folder = _softqsv(options)
    if folder:
        library = str(folder / "lib")
        extra = {
            "LD_LIBRARY_PATH": library,
            "ONEVPL_SEARCH_PATH": library,
            "LD_PRELOAD": f"{library}/fakeva.so",
        }
        yield Way("qsv", ("--encoder", "qsv", "--device", "/dev/dri/renderD128"), extra)


def _softqsv(options: Options) -> Path | None:
    ready = Path.home() / ".cache/softqsv"
    if (ready / "sq").exists():
        return ready
    if not SOFTQSV.exists():
        return None
    folder = options.where / "softqsv"
    done = subprocess.run([SOFTQSV, folder], capture_output=True)
    return None if done.returncode else folder


@dataclass(frozen=True)
class Done:
    """What the program made of one clip."""

    kind: Kind
    source: Path
    archive: Path | None
    said: str
    kept: str
    """Why it was not encoded; empty if it was."""


def archived(way: Way, options: Options, clips: Mapping[Kind, Path], where: Path) -> Iterator[Done]:
    """Archive copies of all the clips in one run."""
    root = where / "tree"
    home = where / "home"
    home.mkdir(parents=True)
    names: dict[str, Kind] = {}
    for number, (kind, clip) in enumerate(sorted(clips.items(), key=lambda each: str(each[0]))):
        start = LATELY + timedelta(minutes=number)
        path = root / (clip_of("front", start) + clip.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, path)
        os.utime(path, (start.timestamp(), start.timestamp()))
        names[str(path)] = kind
    words = ("archive", str(root), "--json", "--ffmpeg", FFMPEG, "--jobs", str(options.jobs), *way.words)
    ran = Program(options.package, home, way.extra).run(*words, seconds=60 + 30 * len(clips))
    begin = ran.said.find("{")
    try:
        document: dict[str, Any] = json.JSONDecoder().raw_decode(ran.said[begin:])[0] if begin >= 0 else {}
    except ValueError:
        document = {}
    outcomes = {each["path"]: each for each in document.get("outcomes", ()) if each["action"] == "archive"}
    reasons = _reasons(root / "archived")
    for name, kind in names.items():
        found = outcomes.get(name, {})
        trashed = root / ".deleted/input" / Path(name).relative_to(root)
        target = Path(found["target"]) if found.get("result") == "done" and found.get("target") else None
        said = f"{found.get('result', ran.tail)} {found.get('reason', '')} {found.get('detail', '')}".strip()
        source = trashed if trashed.exists() else Path(name)
        kept = reasons.get(Path(name).relative_to(root).as_posix(), "")
        yield Done(kind, source, target, said, kept)


def _reasons(archive: Path) -> dict[str, str]:
    """Why each source was not encoded, by its path in the tree, as the journal says."""
    lines = (each for each in camera.events(archive) if each.get("event") == "archived")
    return {each["source"]: each.get("unencoded", "") for each in lines}


def problems_of(done: Done) -> list[str]:
    """What is wrong with what was made of a clip."""
    expected = FEATURES[done.kind.feature].kept
    if done.archive is None:
        return [f"not archived: {done.said}"]
    if done.kept != expected:
        return [f"not encoded for {done.kept or 'no reason'} instead of {expected or 'none'}: {done.said}"]
    if done.source.read_bytes() == done.archive.read_bytes():
        return [] if done.kept else ["its very bytes without a reason"]
    return shown.differences(done.source, done.archive)


# --- flaws that the comparison must see -------------------------------------------------------------------

LIBX264 = "-c:v libx264 -crf 18 -preset ultrafast -fps_mode passthrough -enc_time_base demux"
AGAIN = f"-noautorotate -i {{}} -map 0 -c:a copy {LIBX264}"
FLAWS = {
    "a dropped frame": f"{AGAIN} -vf \"select='not(eq(n,7))'\"",
    "a frame at another time": f"{AGAIN} -vf \"setpts='PTS+eq(N,7)*0.02/TB'\"",
    "sound 100 ms late": "-i {} -itsoffset 0.1 -i {} -map 0:v -map 1:a -c copy",
    "sound 100 ms early": "-itsoffset 0.1 -i {} -i {} -map 0:v -map 1:a -c copy",
    "a stretched picture": f"{AGAIN} -vf crop=iw*0.9:ih:0:0,scale=192:144,setsar=1",
    "a swapped range": f"{AGAIN} -vf scale=in_range=tv:out_range=pc,setparams=range=tv -color_range tv",
    "another range told": "-i {} -c copy -bsf:v h264_metadata=video_full_range_flag=1",
    "another size": f"{AGAIN} -vf scale=160:120",
    "no sound": "-i {} -map 0:v -c copy",
    "a turned picture": "-display_rotation 180 -i {} -c copy",
    "a frozen picture": f"{AGAIN} -vf \"loop=loop=14:size=1:start=15,select='lt(n,30)'\"",
    "a green picture": f"{AGAIN} -vf lutyuv=u=90:v=90",
}
SOUND_PLAIN = tuple(Kind("plain", "h264", container) for container in ("mp4", "mkv"))


def plant(archive: Path, folder: Path) -> Iterator[str]:
    """The flaws that the comparison of a good archive with its flawed copy does not see."""
    for number, (flaw, words) in enumerate(FLAWS.items()):
        flawed = folder / f"flaw-{number}{archive.suffix}"
        ffmpeg(words.replace("{}", str(archive)), flawed)
        if not shown.differences(archive, flawed):
            yield flaw


def _planted(options: Options, where: Path) -> Iterator[Tally]:
    """The comparison finds no difference where there is none, and every one that was planted."""
    began = time.monotonic()
    kinds = SOUND_PLAIN[: 1 if options.sample is not None else None]
    bad = 0
    for kind in kinds:
        source = make(kind, where)
        good = where / f"good-{kind.container}.{kind.container}"
        ffmpeg(AGAIN.replace("{}", str(source)), good)
        wrong = [f"sees a difference where there is none: {each}" for each in shown.differences(source, good)]
        wrong += [f"does not see {each}" for each in plant(good, where)]
        if wrong:
            violation(f"sameness, flaws in {kind}", wrong)
        bad += len(wrong)
    yield Tally("sameness, planted flaws", len(kinds) * len(FLAWS), bad, time.monotonic() - began)


# --- the sweep --------------------------------------------------------------------------------------------

MOST_KEPT = 0.1
"""Part of the clips that may stay unencoded."""


def sweep(options: Options) -> Iterator[Tally]:
    """Every kind by every way, or a few of both; then the planted flaws."""
    for name in ("ffprobe", "ffmpeg"):
        shown.tool(name)
    kinds = list(KINDS)
    chosen = list(ways(options))
    if options.sample is not None:
        dice = random.Random(options.seed)
        kinds = dice.sample(kinds, min(options.sample, len(kinds)))
        chosen = [dice.choice(chosen)]
    with options.folder("sameness") as where:
        clips, skipped = _clips(options, kinds, where)
        for way in chosen:
            if not options.stopped.is_set():
                yield _tally(options, way, clips, skipped, where)
        if not options.stopped.is_set():
            yield from _planted(options, where)


def _clips(options: Options, kinds: Sequence[Kind], where: Path) -> tuple[dict[Kind, Path], dict[Kind, str]]:
    """The clips that can be made here, and why the others can't."""
    folder = where / "clips"
    folder.mkdir()

    def one(kind: Kind) -> Path | str:
        try:
            return make(kind, folder)
        except Unable as unable:
            return unable.why

    with ThreadPoolExecutor(options.jobs) as pool:
        made = dict(zip(kinds, pool.map(one, kinds), strict=True))
    return (
        {kind: path for kind, path in made.items() if isinstance(path, Path)},
        {kind: why for kind, why in made.items() if isinstance(why, str)},
    )


def _tally(
    options: Options, way: Way, clips: Mapping[Kind, Path], skipped: Mapping[Kind, str], where: Path
) -> Tally:
    began = time.monotonic()
    done = list(archived(way, options, clips, where / way.name))
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(problems_of, done))
    bad = 0
    for each, problems in zip(done, found, strict=True):
        if problems:
            bad += 1
            violation(f"sameness, {way.name}, {each.kind}", problems)
    kept = [each for each in done if each.kept]
    if options.sample is None and len(kept) > MOST_KEPT * len(done):
        bad += 1
        violation(f"sameness, {way.name}", [f"{len(kept)} of {len(done)} clips are not encoded"])
    reasons = Counter(each.kept for each in kept)
    note = "not encoded: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if skipped:
        note += f"; skipped: {', '.join(map(str, skipped))}"
    shutil.rmtree(where / way.name, ignore_errors=True)
    return Tally(
        f"sameness, {way.name}",
        len(done),
        bad,
        time.monotonic() - began,
        note if kept or skipped else "",
        skipped=tuple(skipped.values()),
    )


SWEEPS = (Sweep("sameness", sweep, share=20),)
