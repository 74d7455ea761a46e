"""Every expected failure: what to tell the user, how to mend it, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass


class CamarchiverError(Exception):
    """A failure that stops the command; `message` is a sentence, `hint` the remedy."""

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CamarchiverError):
    """What was asked for can't be meant, or consent could not be asked."""

    code = "usage"
    exit_code = 2


class ConfigError(CamarchiverError):
    """A config file that can't be read or holds a wrong key or value."""

    code = "config"
    exit_code = 10


class AlreadyRunning(CamarchiverError):
    """The same command works on the same tree already."""

    code = "already-running"
    exit_code = 11


class EncoderError(CamarchiverError):
    """ffmpeg is missing, or no encoder that was asked for works here."""

    code = "encoder"
    exit_code = 12


class StorageError(CamarchiverError):
    """Storage or clock not to be trusted: root missing, wrong volume, read-only, no space."""

    code = "storage"
    exit_code = 13


class ClipBusy(CamarchiverError, ValueError):
    """Another process holds the lock of this clip."""

    code = "busy"


def failure(error: CamarchiverError | OSError) -> tuple[Problem, int]:
    """The problem as it is told, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    where = f"{error.filename}: " if error.filename else ""
    return Problem(StorageError.code, f"{where}{error.strerror or error}"), StorageError.exit_code


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that concerns the whole run, as the JSON format lists it."""

    code: str
    message: str
    hint: str = ""
