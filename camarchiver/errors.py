"""Every expected failure, its exit code and its remedy; the only place that knows the codes' numbers."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Self


class ExitCode(IntEnum):
    """How a command ended, for the caller; a clean stop by a signal has `signal_code` instead."""

    meaning: str
    """In words, as `--help` lists it."""

    DONE = 0, "done or nothing to do"
    FAILED = 1, "failed"
    USAGE = 2, "wrong usage"
    PARTIAL = 3, "partly done"
    CONFIG = 10, "wrong configuration"
    ALREADY_RUNNING = 11, "already running"
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


FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The system's numbers for a disk without room, and for a quota that is used up."""


class CamarchiverError(Exception):
    """A failure that stops the command; `message` is a sentence, `hint` the remedy."""

    code = "failed"
    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def sentence(error: BaseException) -> str:
    """An error as one sentence: with the files that a system call was about, and with the remedy."""
    return _files_of(error) + explained(error)


def explained(error: object) -> str:
    """What went wrong and the remedy, for callers that name the file themselves."""
    helps = remedy(error)
    return f"{cause(error)}; {helps}" if helps else cause(error)


def cause(error: object) -> str:
    """What went wrong, for callers that name the file or the address themselves.

    The full text of an error of the system or of FFmpeg also has its number and the file's name, or the
    camera's address with its password.
    """
    if isinstance(error, CamarchiverError):
        return error.message
    words: str | None = getattr(error, "strerror", None)
    if words and isinstance(error, PermissionError):
        words = f"{words} for user {user_name()}"
    return words or str(error) or type(error).__name__


def described(error: BaseException) -> str:
    """An error of any kind as one sentence: one that nobody expected with its type."""
    if isinstance(error, CamarchiverError | OSError):
        return sentence(error)
    name, words = type(error).__name__, str(error)
    return f"{name}: {words}" if words else name


def remedy(error: object, otherwise: str = "") -> str:
    """What helps against an error: which access is missing, if the system refused it; or `otherwise`."""
    if isinstance(error, CamarchiverError):
        return error.hint
    names = (error.filename, error.filename2) if isinstance(error, PermissionError) else ()
    missing = (_missing_access(Path(name)) for name in names if isinstance(name, str | os.PathLike))
    return next(filter(None, missing), otherwise)


def no_access(path: Path) -> PermissionError:
    """The error that the system would raise for a file that this user has no right to work with."""
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


def user_name(uid: int | None = None) -> str:
    """The name of a user, or the number of one without a name; by default of the user that runs this."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _files_of(error: BaseException) -> str:
    """The files that a system call was about, with a colon; empty if the error names none."""
    names = (error.filename, error.filename2) if isinstance(error, OSError) else ()
    named = " -> ".join(str(name) for name in names if name)
    return f"{named}: " if named else ""


def _missing_access(path: Path) -> str:
    """Which right this user lacks to work with a file, and who has it; empty if that is unknown."""
    if not path.is_absolute():
        return ""
    # A link may lead through folders that are closed; the right to its own folder says nothing of them.
    target = Path(os.path.realpath(path))  # Path.resolve() may raise an error of its own
    rights = (
        *((folder, "enter", os.X_OK) for end in (path, target) for folder in reversed(end.parents)),
        (path, "read", os.R_OK),
        (path.parent, "write", os.W_OK),
        (path, "write", os.W_OK),
    )
    for place, verb, right in rights:
        try:
            owner = user_name(place.stat().st_uid)
        except OSError:
            continue
        if not os.access(place, right, effective_ids=True):
            where = shlex.quote(str(place))
            return f"give user {user_name()} the right to {verb} {where}, or run as user {owner}"
    return ""


class UsageError(CamarchiverError):
    """The request makes no sense, or consent could not be asked."""

    code = "usage"
    exit_code = ExitCode.USAGE


class Declined(CamarchiverError):
    """The user was asked and did not agree; nothing was changed."""

    code = "declined"

    def __init__(self) -> None:
        super().__init__("declined; nothing was changed")


class NotFound(CamarchiverError):
    """What was asked for does not exist; the message names the nearest."""

    code = "not-found"


class ConfigError(CamarchiverError):
    """A config file that can't be read or holds a wrong key or value."""

    code = "config"
    exit_code = ExitCode.CONFIG

    def __init__(self, message: str, *, hint: str = "", others: tuple[ConfigError, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.others = others
        """The other errors that were found together with this one."""

    @property
    def each(self) -> tuple[ConfigError, ...]:
        """This error and the others."""
        return (self, *self.others)


def raise_all(errors: Iterable[ConfigError]) -> None:
    """Raise these errors as one; nothing if there are none."""
    found = [each for error in errors for each in error.each]
    if found:
        first = found[0]
        raise ConfigError(first.message, hint=first.hint, others=tuple(found[1:])) from first


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
        """The copy that was made and could not be removed again, or not with certainty; otherwise empty."""


class ClipBusy(CamarchiverError, ValueError):
    """Another process holds the lock of this clip."""

    code = "busy"


def failure(error: CamarchiverError | OSError) -> tuple[Problem, ExitCode]:
    """The problem as it is reported, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    words = f"{_files_of(error)}{cause(error)}"
    room = "make room there, as camarchiver cleanup does; it needs some kB itself"
    hint = remedy(error, room if error.errno in FULL else "")
    return Problem(StorageError.code, words, hint), StorageError.exit_code


def failures(error: CamarchiverError | OSError) -> tuple[tuple[Problem, ...], ExitCode]:
    """The same with each of several errors that were found together."""
    each = error.each if isinstance(error, ConfigError) else (error,)
    return tuple(failure(one)[0] for one in each), failure(error)[1]


class Problem(NamedTuple):
    """An error that concerns the whole run, as the JSON format lists it.

    No Struct, since `--help` and the message about a broken installation do without msgspec.
    """

    code: str
    message: str
    hint: str = ""
