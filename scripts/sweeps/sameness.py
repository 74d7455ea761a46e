"""Clips of every kind are archived, and what the archives show is held against what the clips show.

Software and, where its stand-in is there, Quick Sync encode them. `shown` compares with ffprobe and ffmpeg
alone. Flaws that ffmpeg plants in good archives try the comparison itself.
"""

from __future__ import annotations

import json
import os
import random
import shlex
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
from tests.clips import SOFTQSV
from tests.dates import clip_of

SECONDS = 2
RATE = 15
PICTURE = f"-f lavfi -i testsrc2=s=192x144:r={RATE}:d={SECONDS}"
SOUND = f"-f lavfi -i 'aevalsrc=0.3*sin(2*PI*(300*t+120*t*t)):s=16000:d={SECONDS}'"
CODECS = {
    "h264": "-c:v libx264 -preset ultrafast -crf 8 -g 15 -pix_fmt yuv420p",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=error{x265} -crf 8 -g 15 -pix_fmt yuv420p",
    "mpeg4": "-c:v mpeg4 -q:v 2 -g 15",
    "mjpeg": "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
}
CONTAINERS = {
    "mp4": ("h264", "hevc", "mpeg4", "mjpeg"),
    "mov": ("h264", "hevc", "mpeg4", "mjpeg"),
    "mkv": ("h264", "hevc", "mpeg4", "mjpeg"),
    "ts": ("h264", "hevc", "mpeg4"),
    "avi": ("h264", "mpeg4", "mjpeg"),
}
"""Which codecs each holds."""
SOUND_CODEC = {"avi": "-c:a pcm_s16le", "ts": "-c:a aac"}
LOG_TAIL = 200


@dataclass(frozen=True)
class Feature:
    """What is odd about a clip, in ffmpeg's words."""

    before: str = PICTURE
    """The inputs."""
    after: str = ""
    """Behind the codec."""
    codecs: tuple[str, ...] = ("h264",)
    containers: tuple[str, ...] = ("mp4",)
    then: str = ""
    """A second ffmpeg without encoding, with `{}` for what the first one made."""
    x265: str = ""
    first: str = ""
    """The first one's container, if it is not the clip's."""
    kept: str = ""
    """Why it may be kept as it is, as report and journal call it; empty if it must be encoded."""


ALL = tuple(CODECS)
INTER = ("h264", "hevc")
EVERYWHERE = tuple(CONTAINERS)
BOXES = ("mp4", "mov")
FREE = ("mp4", "mkv")
BOTH = f"{PICTURE} {SOUND}"
GAP = "\"aselect='not(between(t,0.6,1.2))'\""
TAGS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709"
FULL = "-vf scale=out_range=full -pix_fmt yuvj420p -color_range pc"

FEATURES: Mapping[str, Feature] = {
    "plain": Feature(BOTH, codecs=ALL, containers=EVERYWHERE),
    "silent": Feature(codecs=ALL, containers=("mp4", "mkv", "ts")),
    "b-frames": Feature(BOTH, "-bf 2", (*INTER, "mpeg4"), ("mp4", "mkv", "ts", "mov")),
    "open-gop": Feature(PICTURE, "-bf 2 -flags -cgop", INTER, ("mp4", "ts", "mkv"), x265=":open-gop=1"),
    "variable": Feature(
        BOTH,
        "-vf \"select='not(mod(n,3))+gt(n,15)*mod(n,2)'\" -fps_mode passthrough -enc_time_base demux",
        ALL,
        FREE,
    ),
    "cut": Feature(BOTH, "-bf 2", INTER, BOXES, then="-ss 0.7 -i {} -t 1 -c copy"),
    "cut-sound": Feature(BOTH, "", ("h264",), ("mkv", "ts"), then="-ss 0.7 -i {} -t 1 -c copy"),
    "negative": Feature(
        BOTH, "", INTER, BOXES, then="-i {} -c copy -output_ts_offset -0.5 -avoid_negative_ts disabled"
    ),
    "late": Feature(BOTH, "", INTER, ("mp4", "mkv", "ts"), then="-i {} -c copy -output_ts_offset 7"),
    "stray": Feature(
        PICTURE,
        r'-bf 0 -bsf:v "setts=pts=if(eq(N\,17)\,PTS+3600/TB\,PTS)"',
        ("h264",),
        kept="unkeepable-times",
    ),
    "ahead": Feature(
        BOTH,
        r'-bf 0 -bsf:v "setts=pts=if(eq(N\,17)\,PTS+0.4/TB\,PTS)"',
        ("h264",),
        FREE,
        kept="unkeepable-times",
    ),
    "pause": Feature(PICTURE, r'-bf 0 -bsf:v "setts=ts=if(gt(N\,15)\,TS+60/TB\,TS)"', INTER, FREE),
    "other-size": Feature(
        PICTURE,
        "",
        ("h264",),
        ("ts",),
        then="-f lavfi -i testsrc2=s=96x72:r=15:d=1 -c:v libx264",
        kept="picture-changes",
    ),
    "sound-late": Feature(f"{PICTURE} -itsoffset 0.5 {SOUND}", "", ALL, FREE),
    "sound-early": Feature(f"-itsoffset 0.5 {PICTURE} {SOUND}", "", ("h264",), ("mp4", "mkv", "ts")),
    "sound-gap": Feature(BOTH, f"-af {GAP}", ("h264", "mpeg4"), ("mp4", "mkv", "ts")),
    "two-sounds": Feature(f"{BOTH} {SOUND}", "-map 0 -map 1 -map 2", INTER, ("mp4", "mkv", "ts", "mov")),
    "mp3": Feature(BOTH, "-c:a libmp3lame", ("h264",), EVERYWHERE),
    "opus": Feature(BOTH, "-c:a libopus", ("h264",), FREE),
    "alaw": Feature(BOTH, "-c:a pcm_alaw -ar 8000", ("h264", "mjpeg"), ("mkv", "mov", "avi")),
    "adpcm": Feature(BOTH, "-c:a adpcm_ima_wav", ("mjpeg", "mpeg4"), ("avi",)),
    "turned": Feature(BOTH, "", INTER, ("mp4", "mov", "mkv"), then="-display_rotation 90 -i {} -c copy"),
    "full-range": Feature(BOTH, FULL, INTER, ("mp4", "mkv", "ts")),
    "bt709": Feature(PICTURE, TAGS, INTER, ("mp4", "mkv", "ts")),
    "ten-bit": Feature(PICTURE, "-pix_fmt yuv420p10le", INTER, FREE),
    "4:2:2": Feature(PICTURE, "-pix_fmt yuv422p", ("h264",), ("mp4",)),
    "wide-pixels": Feature(PICTURE, "-vf setsar=4/3", (*INTER, "mpeg4"), FREE),
    "interlaced": Feature(
        PICTURE,
        "-vf interlace,format=yuv420p -flags +ilme+ildct -x264opts tff=1",
        ("h264",),
        ("mp4", "ts", "mkv"),
    ),
    "odd": Feature(PICTURE.replace("192x144", "161x121"), "", ("mpeg4", "mjpeg"), ("mp4", "mkv", "avi")),
    "one-frame": Feature(PICTURE, "-frames:v 1", ALL, ("mp4", "mkv"), kept="not-smaller"),
    "timecode": Feature(PICTURE, "", INTER, ("mov",), then="-i {} -c copy -timecode 10:00:00:00"),
    "fragments": Feature(
        BOTH, "", INTER, BOXES, then="-i {} -c copy -movflags frag_keyframe+empty_moov+default_base_moof"
    ),
    "remuxed": Feature(BOTH, "-bf 2", ("h264",), ("ts", "mkv"), then="-i {} -c copy", first="mp4"),
    "subtitles": Feature(BOTH, "", ("h264",), ("mp4",), kept="other-streams"),
    "signed": Feature(PICTURE, "-bf 0", INTER, ("mp4", "mkv", "ts"), x265=":bframes=0", kept="signed"),
}


@dataclass(frozen=True)
class Kind:
    """One clip of the sweep."""

    feature: str
    codec: str
    container: str

    def __str__(self) -> str:
        return f"{self.feature} {self.codec} {self.container}"

    @property
    def file(self) -> str:
        return f"{self.feature.replace(':', '')}-{self.codec}.{self.container}"


KINDS = tuple(
    Kind(name, codec, container)
    for name, each in FEATURES.items()
    for codec in each.codecs
    for container in each.containers
    if codec in CONTAINERS[container]
)


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


def make(kind: Kind, folder: Path) -> Path:
    """The clip; Unable where this ffmpeg can't."""
    each, path = FEATURES[kind.feature], folder / kind.file
    first = folder / f".{kind.file}.{each.first or kind.container}" if each.then else path
    codec = CODECS[kind.codec].format(x265=each.x265)
    sound = SOUND_CODEC.get(kind.container, "-c:a aac") if SOUND in each.before else ""
    tag = "-tag:v hvc1" if kind.codec == "hevc" and kind.container in BOXES and not each.then else ""
    _ffmpeg(f"{each.before} {codec} {sound} {tag} {each.after}", first)
    if kind.feature == "other-size":
        _ffmpeg(each.then, path)
        path.write_bytes(first.read_bytes() + path.read_bytes())
    elif each.then:
        _ffmpeg(each.then.replace("{}", str(first)), path)
    elif kind.feature == "subtitles":
        _subtitle(path)
    elif kind.feature == "signed":
        _sign(kind, path)
    if first != path:
        first.unlink()
    return path


def _ffmpeg(words: str, target: Path) -> None:
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", *shlex.split(words), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"this ffmpeg can't make {target.name}: {done.stderr.strip()[-LOG_TAIL:]}")


def _subtitle(path: Path) -> None:
    text, plain = path.with_suffix(".srt"), path.with_suffix(".plain.mp4")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nN 52.1 E 13.2\n")
    path.rename(plain)
    _ffmpeg(f"-i {plain} -i {text} -map 0 -map 1 -c copy -c:s mov_text", path)
    text.unlink()
    plain.unlink()


def _sign(kind: Kind, path: Path) -> None:
    """An SEI with the UUID of ONVIF Media Signing before the first picture; the proof itself is no good."""
    raw = path.with_suffix(f".{kind.codec}")
    _ffmpeg(f"-i {path} -map 0:v -c copy -f {kind.codec}", raw)
    data = raw.read_bytes()
    body = bytes.fromhex("005bc93f2d715e95ada4796f90877a6f") + b"\x01" * 64
    header = b"\x06" if kind.codec == "h264" else b"\x4e\x01"
    message = b"\0\0\0\x01" + header + bytes([5, len(body)]) + body + b"\x80"
    at = _first_picture(data, kind.codec)
    raw.write_bytes(data[:at] + message + data[at:])
    _ffmpeg(f"-r {RATE} -i {raw} -c copy", path)
    raw.unlink()


def _first_picture(data: bytes, codec: str) -> int:
    """Where its start code begins."""
    at = data.find(b"\0\0\x01")
    while at >= 0:
        kind = data[at + 3] & 31 if codec == "h264" else data[at + 3] >> 1 & 63
        if kind in (1, 5) if codec == "h264" else kind < 32:
            return at - (data[at - 1] == 0)
        at = data.find(b"\0\0\x01", at + 3)
    raise Unable("no picture in the stream")


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
    if done.kept and done.kept != expected:
        return [f"not encoded: {done.kept}, {done.said}"]
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
        _ffmpeg(words.replace("{}", str(archive)), flawed)
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
        _ffmpeg(AGAIN.replace("{}", str(source)), good)
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
