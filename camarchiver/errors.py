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


def sentence(error: BaseException) -> str:
    """An error as a reader needs it: with the remedy, or with the files that a system call was about."""
    if isinstance(error, CamarchiverError):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    names = (error.filename, error.filename2) if isinstance(error, OSError) else ()
    named = " -> ".join(str(name) for name in names if name)
    return f"{named}: {cause(error)}" if named else cause(error)


def cause(error: object) -> str:
    """What went wrong, for who names the file or the address himself.

    The whole text of an error of the system or of FFmpeg also has its number and the file's name, or the
    camera's address with its password.
    """
    if isinstance(error, CamarchiverError):
        return error.message
    words: str | None = getattr(error, "strerror", None)
    return words or str(error) or type(error).__name__


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


class NotRemovable(StorageError):
    """A file that can't leave its folder; it stands there as before."""

    def __init__(self, message: str, *, hint: str = "", copy: str = "") -> None:
        super().__init__(message, hint=hint)
        self.copy = copy
        """The copy made for it, where that could not be taken back; else empty."""


class ClipBusy(CamarchiverError, ValueError):
    """Another process holds the lock of this clip."""

    code = "busy"


def failure(error: CamarchiverError | OSError) -> tuple[Problem, int]:
    """The problem as it is told, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    return Problem(StorageError.code, sentence(error)), StorageError.exit_code


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that concerns the whole run, as the JSON format lists it."""

    code: str
    message: str
    hint: str = ""
