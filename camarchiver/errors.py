"""Every expected failure, its exit code and its remedy; the only place that knows the codes' numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """How a command ended, for the caller; a clean stop by a signal has `signal_code` instead."""

    meaning: str
    """In words, as `--help` lists it."""

    DONE = 0, "done or nothing to do"
    FAILED = 1, "failed"
    USAGE = 2, "wrong usage"
    PARTIAL = 3, "partly done"
    CONFIG = 10, "configuration"
    ALREADY_RUNNING = 11, "runs already"
    ENCODER = 12, "no usable encoder"
    STORAGE = 13, "storage or clock not to be trusted"

    def __new__(cls, number: int, meaning: str) -> Self:
        """A number with its meaning."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code


_SIGNALS = 128
"""The exit codes of runs that a signal stopped are above it, as shells number them."""


def signal_code(signal: int) -> int:
    """The exit code of a run that this signal stopped."""
    return _SIGNALS + signal


def is_signal_code(exit_code: int) -> bool:
    """Whether a run with this exit code was stopped by a signal."""
    return exit_code > _SIGNALS


def exit_codes(codes: Iterable[ExitCode] = ExitCode) -> str:
    """These codes in one sentence, by default all."""
    listed = ", ".join(f"{code} {code.meaning}" for code in codes)
    return f"Exit codes: {listed}, {_SIGNALS}+n signal n."


class CamarchiverError(Exception):
    """A failure that stops the command; `message` is a sentence, `hint` the remedy."""

    code = "failed"
    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def sentence(error: BaseException) -> str:
    """An error as one sentence: with the remedy, or with the files that a system call was about."""
    if isinstance(error, CamarchiverError):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    names = (error.filename, error.filename2) if isinstance(error, OSError) else ()
    named = " -> ".join(str(name) for name in names if name)
    return f"{named}: {cause(error)}" if named else cause(error)


def cause(error: object) -> str:
    """What went wrong, for callers that name the file or the address themselves.

    The full text of an error of the system or of FFmpeg also has its number and the file's name, or the
    camera's address with its password.
    """
    if isinstance(error, CamarchiverError):
        return error.message
    words: str | None = getattr(error, "strerror", None)
    return words or str(error) or type(error).__name__


class UsageError(CamarchiverError):
    """The request makes no sense, or consent could not be asked."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ConfigError(CamarchiverError):
    """A config file that can't be read or holds a wrong key or value."""

    code = "config"
    exit_code = ExitCode.CONFIG


class AlreadyRunning(CamarchiverError):
    """The same command works on the same tree already."""

    code = "already-running"
    exit_code = ExitCode.ALREADY_RUNNING


class EncoderError(CamarchiverError):
    """ffmpeg is missing, or no encoder that was asked for works here."""

    code = "encoder"
    exit_code = ExitCode.ENCODER


class StorageError(CamarchiverError):
    """Storage or clock can't be trusted: root missing, wrong volume, read-only, no space."""

    code = "storage"
    exit_code = ExitCode.STORAGE


class NotRemovable(StorageError):
    """A file that can't be removed from its folder; it is still there."""

    def __init__(self, message: str, *, hint: str = "", copy: str = "") -> None:
        super().__init__(message, hint=hint)
        self.copy = copy
        """The copy that was made and could not be removed again; otherwise empty."""


class ClipBusy(CamarchiverError, ValueError):
    """Another process holds the lock of this clip."""

    code = "busy"


def failure(error: CamarchiverError | OSError) -> tuple[Problem, ExitCode]:
    """The problem as it is reported, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    return Problem(StorageError.code, sentence(error)), StorageError.exit_code


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that concerns the whole run, as the JSON format lists it."""

    code: str
    message: str
    hint: str = ""
