"""Clips that were changed at random: none is lost, nothing hangs, and the good ones are archived."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, camera, violation
from sweeps.camera import LATELY
from sweeps.cases import CaseClips, CaseTree, parse
from tests.dates import stamp_of

KINDS = ("faststart.mp4", "fragmented.mp4", "plain.mp4", "plain.mkv", "plain.ts", "plain.avi")
CLIPS = 500
AT_ONCE = 50
"""Clips of one run."""


def truncated(dice: random.Random, data: bytearray) -> None:
    """The end is missing."""
    del data[dice.randrange(len(data)) :]


def flipped(dice: random.Random, data: bytearray) -> None:
    """Some bits are wrong."""
    for _ in range(dice.choice((1, 5, 50, 500))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def holed(dice: random.Random, data: bytearray) -> None:
    """Zeros in the middle."""
    start = dice.randrange(len(data))
    length = min(dice.choice((1, 188, 4096, 50_000)), len(data) - start)
    data[start : start + length] = bytes(length)


def swapped(dice: random.Random, data: bytearray) -> None:
    """Two parts have changed places: atoms, clusters or packets among them."""
    size = dice.choice((8, 188, 1024, 20_000))
    places = [dice.randrange(max(1, len(data) - size)) for _ in range(2)]
    one, other = (data[place : place + size] for place in places)
    data[places[0] : places[0] + len(other)] = other
    data[places[1] : places[1] + len(one)] = one


def swapped_atoms(dice: random.Random, data: bytearray) -> None:
    """Two boxes of an mp4 have changed places; parts of another format have."""
    boxes, at = [], 0
    while at + 8 <= len(data) and (length := int.from_bytes(data[at : at + 4], "big")) >= 8:
        boxes.append(bytes(data[at : at + length]))
        at += length
    if len(boxes) < 2:
        swapped(dice, data)
        return
    one, other = dice.sample(range(len(boxes)), 2)
    boxes[one], boxes[other] = boxes[other], boxes[one]
    data[:] = b"".join(boxes)


def doubled(dice: random.Random, data: bytearray) -> None:
    """A part comes twice."""
    start = dice.randrange(len(data))
    end = min(len(data), start + dice.choice((1, 188, 4096)))
    data[end:end] = data[start:end]


DEEDS: tuple[Callable[[random.Random, bytearray], None], ...]
DEEDS = (truncated, flipped, holed, swapped, swapped_atoms, doubled)


def sweep(options: Options) -> Iterator[Tally]:
    """Many small trees, each with good clips among the changed ones."""
    began = time.monotonic()
    dice = random.Random(options.seed)
    count = options.sample or CLIPS
    bad, archived = 0, 0
    with options.folder("fuzz") as where:
        case_clips = CaseClips(options, where)
        for number, first in enumerate(range(0, count, AT_ONCE)):
            case_tree = case_clips.tree(number)
            problems, made = _round(case_tree, dice, min(AT_ONCE, count - first))
            archived += made
            if problems:
                bad += len(problems)
                violation(f"fuzz, clips {first} to {first + AT_ONCE}, seed {options.seed}", problems)
    note = f"{archived} of the changed ones could be archived with every frame"
    yield Tally("fuzz", count, bad, time.monotonic() - began, note)


def _round(case_tree: CaseTree, dice: random.Random, count: int) -> tuple[list[str], int]:
    """What went wrong in one tree, and how many changed clips were archived."""
    changed: dict[Path, bytes] = {}
    good: dict[Path, bytes] = {}
    for number in range(count):
        kind, deed = dice.choice(KINDS), dice.choice(DEEDS)
        data = bytearray(case_tree.case_clips.clip(kind).read_bytes())
        deed(dice, data)
        name = f"REO_{deed.__name__.replace('_', '-')}{number}_{stamp_of(LATELY)}{Path(kind).suffix}"
        path = case_tree.put(name, bytes(data))
        (changed if data != case_tree.case_clips.clip(kind).read_bytes() else good)[path] = bytes(data)
    for kind in KINDS:
        path = case_tree.put(f"REO_good-{kind[:4]}_{stamp_of(LATELY)}{Path(kind).suffix}", kind)
        good[path] = path.read_bytes()
    ran = case_tree.run("--json")
    problems = list(ran.problems())
    if ran.code not in (ExitCode.DONE, ExitCode.PARTIAL):
        problems.append(f"exit {ran.code}: {ran.tail}")
    targets = {
        Path(each["path"]): Path(each["target"]) for each in parse(ran).get("outcomes", ()) if each["target"]
    }
    problems += [p for path, data in (changed | good).items() for p in _lost(case_tree, path, data, targets)]
    problems += [f"{path.name} is good and was not archived" for path in good if path.exists()]
    problems += camera.litter(case_tree.root)
    return problems, sum(not path.exists() for path in changed)


def _lost(case_tree: CaseTree, path: Path, data: bytes, targets: dict[Path, Path]) -> Iterator[str]:
    if path.exists():
        if path.read_bytes() != data:
            yield f"{path.name} was changed"
        return
    trashed = case_tree.root / ".deleted/input" / path.name
    if not trashed.is_file() or trashed.read_bytes() != data:
        yield f"{path.name} is lost"
    elif path not in targets or camera.frames(targets[path]) < camera.frames(trashed):
        yield f"{path.name} left the source; its archive has fewer frames than decode of it"


SWEEPS = (Sweep("fuzz", sweep, share=10),)
