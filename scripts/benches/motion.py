"""What pictures, motion and chapters cost on top of verification, as a share of the CPU for encoding."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benches.archive import CASES, Runs
from benches.footage import LARGE, SHORT, footage, own_footage
from benches.measuring import Options, Result, Row, in_turns, say, workplace

# Examines each archive as verification does, with and without looking at its keyframes; then gives it
# chapters, with the proof that nothing else has changed. The first examination loads what the others use.
_LOOKER = """
import json, resource, subprocess, sys
from pathlib import Path
def spent():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
from camarchiver.archive.motion import chapters
from camarchiver.domain.motion import ClipMotion, MotionSpan
from camarchiver.media.info import KeyframeRequest
from camarchiver.media.parsing import worker as parse_worker
from camarchiver.motion.activity import PacketTrust
def beat():
    pass
def examine(archive, look):
    begun = spent()
    found = parse_worker.answer("examine", archive, (look,), beat)
    return found, spent() - begun
ffmpeg, place, archives = json.load(sys.stdin)
second, look = Path(place) / "second.mp4", KeyframeRequest(trust=PacketTrust.STILLNESS)
begun = spent()
examine(Path(archives[0]), look)
start = spent() - begun
plain = looked = marked = keyframes = 0
text = chapters.metadata(ClipMotion((MotionSpan(1, 2),)), 5)
for archive in map(Path, archives):
    found, took = examine(archive, None)
    plain += took
    found, took = examine(archive, look)
    looked += took
    keyframes += found.media.keyframes
    assert found.looked.strip is not None and found.looked.motion is not None
    begun = spent()
    subprocess.run([ffmpeg, *chapters.arguments(archive, second, text)], check=True)
    assert not parse_worker.answer("differs", archive, (second, 0), beat)
    marked += spent() - begun
print(json.dumps([start, plain, looked, marked, keyframes]))
"""


def bench(options: Options) -> Result:
    """Encode some clips, then look at their archives."""
    from camarchiver.media import encoder_probe, ffmpeg_find
    from camarchiver.media import encoders as media_encoders

    result = Result("motion")
    machine = encoder_probe.Machine(ffmpeg_find.find(), media_encoders.EncodeSettings())
    case = CASES[0]
    choice = machine.choose(media_encoders.Backend.SOFTWARE, case.codec)  # type: ignore[arg-type]  # a codec
    result.versions[case.name] = "; ".join(choice.explanation)
    ffmpeg = str(choice.ffmpeg.path)
    if options.footage:
        sets = {"own clips": own_footage(options.footage)}
    else:
        sets = {"large": footage(LARGE, ffmpeg, options), "short": footage(SHORT, ffmpeg, options)}
    for name, clips in sets.items():
        chosen = clips[:2] if options.quick else clips
        say(f"{case.name}, {name}: {len(chosen)} clips")
        with workplace(options) as place:
            runs = Runs(chosen, case, choice, place)
            result.rows += _rows(runs, f"{len(chosen)} {name}: ", ffmpeg, options, is_large=name != "short")
    return result


def _rows(runs: Runs, title: str, ffmpeg: str, options: Options, *, is_large: bool) -> list[Row]:
    runs.ours()
    found: list[list[float]] = []

    def look() -> float:
        archives = [archive for _, archive in runs.pairs]
        text = subprocess.run(
            [sys.executable, "-c", _LOOKER],
            input=json.dumps([ffmpeg, str(runs.place), archives]),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found.append(json.loads(text.stdout))
        return found[-1][2]

    rounds = options.rounds or (1 if options.quick else 3)
    encoding = in_turns({"encoding": runs.xargs, "looking": look}, rounds)["encoding"]
    clips = len(runs.clips)

    def share(figures: list[float]) -> list[float]:
        return [100 * figure / base for figure, base in zip(figures, encoding, strict=True)]

    pictures = [looked - plain for _, plain, looked, _, _ in found]
    marks = [marked for _, _, _, marked, _ in found]
    both = [one + other for one, other in zip(pictures, marks, strict=True)]
    start = statistics.median(each[0] for each in found)
    note = f"{found[0][4]:.0f} keyframes; {1000 * start:.0f} ms a run until OpenCV is loaded"
    return [
        Row(title + "encoding", "s", encoding, note=f"{clips} clips, one thread each"),
        Row(title + "pictures and motion / encoding", "%", share(pictures), note=note),
        Row(
            title + "chapters and their proof / encoding", "%", share(marks), note="only of clips with motion"
        ),
        Row(title + "all of it / encoding", "%", share(both), goal=1.0 if is_large else None),
        Row(title + "all of it, per clip", "ms", [1000 * figure / clips for figure in both]),
    ]
