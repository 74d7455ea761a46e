"""Tries every case of bad input and bad circumstances, and compares the result with the required one.

Cases that are files are judged after one run over all of them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, Unable, bad_files, bad_moments, bad_places, camera, violation
from sweeps.cases import ARCHIVED, CASES, IGNORED, KEPT, Case, CaseClips, CaseTree, Expected, parse

CATALOGUE = (bad_files, bad_moments, bad_places)
"""Each of them registers its cases when it is imported."""


def _batch(case_clips: CaseClips, chosen: list[Case]) -> dict[int, list[str]]:
    """Run the cases of files in one tree; what is wrong with each."""
    case_tree = case_clips.tree(0)
    expected: dict[int, Expected] = {}
    found: dict[int, list[str]] = {}
    for each in chosen:
        assert each.files is not None
        with contextlib.suppress(Unable):
            expected[each.number] = each.files(case_clips, case_tree.root / f"c{each.number:03}")
    before = {path: _state(path) for paths in expected.values() for path in paths}
    ran = case_tree.run("--json", "-v")
    document = parse(ran)
    steps = {_path(each, "path"): each["reason"] for each in document.get("steps", ())}
    steps |= {_path(each, "path"): each["reason"] for each in document.get("outcomes", ())}
    done = (each for each in document.get("outcomes", ()) if each["result"] == "done")
    targets = {_path(each, "path"): _path(each, "target") for each in done}
    for number, paths in expected.items():
        problems = [
            p
            for path, want in paths.items()
            for p in _judge(case_tree, path, want, before[path], steps, targets)
        ]
        found[number] = problems
    if not document or ran.code not in (ExitCode.DONE, ExitCode.PARTIAL):
        found[0] = [f"the run over all of them ends with {ran.code}: {ran.tail}", *ran.problems()]
    return found


def _path(fields: Mapping[str, str], key: str) -> str:
    """A path of the JSON format, also one that is no UTF-8."""
    raw = fields.get(f"{key}_bytes")
    return os.fsdecode(base64.b64decode(raw)) if raw else fields[key]


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = camera.digest(path) if path.is_file() and not path.is_symlink() else None
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, content


def _judge(
    case_tree: CaseTree,
    path: Path,
    want: str,
    before: tuple[object, ...],
    steps: Mapping[str, str],
    targets: Mapping[str, str],
) -> Iterator[str]:
    shown = os.path.relpath(path, case_tree.root).encode("ascii", "backslashreplace").decode()
    key = str(path)
    if want != ARCHIVED:
        if not os.path.lexists(path) or _state(path) != before:
            yield f"{shown} was changed or removed"
        if want == IGNORED and key in steps and steps[key] != "not-a-clip":
            yield f"{shown} was taken for a clip: {steps[key]}"
        elif want not in (KEPT, IGNORED) and steps.get(key) != want:
            yield f"{shown} is {steps.get(key, 'not reported')}, not {want}"
        return
    trashed = case_tree.root / ".deleted/input" / path.relative_to(case_tree.root)
    if os.path.lexists(path):
        yield f"{shown} was not archived: {steps.get(key, 'not reported')}"
    elif not trashed.is_file() or camera.digest(trashed) != before[-1]:
        yield f"{shown} is lost"
    else:
        target = targets.get(key)
        frames = camera.frames(trashed)
        if target is None or camera.frames(Path(target)) != frames:
            yield f"{shown}: its archive has not its {frames} frames"


def sweep(options: Options) -> Iterator[Tally]:
    """Every case that can be made here."""
    began = time.monotonic()
    every = [CASES[number] for number in sorted(CASES)]
    if options.sample is not None:
        random.Random(options.seed).shuffle(every)
        every = every[: options.sample]
    skipped: dict[int, str] = {}
    bad = 0
    with options.folder("input") as where:
        case_clips = CaseClips(options, where)
        together = [each for each in every if each.files]
        found = _batch(case_clips, together) if together else {}
        alone = [each for each in every if each.check]
        with ThreadPoolExecutor(options.jobs) as pool:
            for each, problems in zip(
                alone, pool.map(lambda each: _alone(case_clips, each), alone), strict=True
            ):
                if isinstance(problems, str):
                    skipped[each.number] = problems
                else:
                    found[each.number] = problems
        for each in together:
            if each.number not in found:
                skipped[each.number] = "can't be made here"
        for number, problems in sorted(found.items()):
            if problems:
                bad += 1
                violation(f"input, {CASES.get(number, number)}", problems)
    skipped |= {each.number: each.unable for each in every if each.unable}
    note = ", ".join(f"{number} ({why})" for number, why in skipped.items())
    note = f"skipped: {note}" if note else ""
    trials = len(every) - len(skipped)
    yield Tally("input", trials, bad, time.monotonic() - began, note, skipped=tuple(skipped.values()))


def _alone(case_clips: CaseClips, each: Case) -> list[str] | str:
    """What is wrong, or why it can't be tried."""
    assert each.check is not None
    case_tree = case_clips.tree(each.number)
    try:
        return list(each.check(case_clips, case_tree) or ())
    except Unable as unable:
        return unable.why
    except (OSError, ValueError, KeyError, IndexError, TimeoutError) as error:
        return [f"the case itself fails: {error!r}"]
    finally:
        if not case_clips.options.keep:
            shutil.rmtree(case_tree.folder, ignore_errors=True)


SWEEPS = (Sweep("input", sweep, share=20),)
