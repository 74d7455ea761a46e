"""Remembers how far a `verify` came, so that an interrupted one resumes there."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from camarchiver.domain.untrusted import Count, RelativePath, Run, decode
from camarchiver.errors import sentence
from camarchiver.storage import atomic

_log = logging.getLogger(__name__)

FILE = "verify.json"


class CheckpointPlace(Struct, frozen=True):
    """One archive in the order of `verify`: by its clip's day, then by its path below the archive root."""

    day: date
    archive: RelativePath


class VerifyScope(Struct, frozen=True):
    """What a `verify` was asked to check; it resumes only if the question is the same."""

    since: date | None
    percent: Annotated[float, Meta(ge=0, le=100)]
    full: bool
    known: bool = False
    """Only archives that were found damaged before."""


class VerifyCheckpoint(Struct, frozen=True):
    """How far one run came."""

    asked: VerifyScope
    run: Run
    """The first run of this pass; it seeds the sample."""
    after: CheckpointPlace
    checked: Count
    off: tuple[CheckpointPlace, ...]
    """Archives that it found at fault, to be checked again."""


def read(state: Path) -> VerifyCheckpoint | None:
    """None if nothing was interrupted or the file can't be understood: then every archive is checked."""
    path = state / FILE
    try:
        return decode(path.read_text(encoding="ascii"), VerifyCheckpoint)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s can't be understood, so every archive is checked: %s", path, sentence(error))
        return None


def write(state: Path, mark: VerifyCheckpoint) -> None:
    """Raises OSError if the archive can't be written: then the next run starts over."""
    atomic.write_text(state / FILE, json.dumps(msgspec.to_builtins(mark)) + "\n")


def remove(state: Path, asked: VerifyScope) -> None:
    """Remove the checkpoint of a completed pass; one of another question stays."""
    mark = read(state)
    if mark is not None and mark.asked == asked:
        with contextlib.suppress(OSError):
            (state / FILE).unlink()
