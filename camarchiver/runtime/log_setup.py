"""Sets up where log lines go: a file rotated by size, and warnings to standard error."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

from filelock import FileLock

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import cause

ROTATE_AT = 10_000_000
"""Bytes."""
KEEP_FILES = 5
_LOCK_SECONDS = 10.0
"""For another process to write a line or to rotate."""

Format = Literal["text", "json"]

_clip: ContextVar[str | None] = ContextVar("clip", default=None)
_run: ContextVar[str | None] = ContextVar("run", default=None)
"""The run within the run, if there is one."""

_OUTCOME = "camarchiver_outcome"
"""The attribute of records about the outcome of a step."""

_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@")


class _Redacted(logging.Formatter):
    """One line per record, control characters escaped, credentials of URLs masked."""

    def format(self, record: logging.LogRecord) -> str:
        text = _CREDENTIALS.sub(r"\1***@", super().format(record))
        if text.isprintable():
            return text
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        return "".join(
            c if c.isprintable() or (c == "\n" and record.exc_info) else repr(c)[1:-1] for c in text
        )


class _Console(logging.Handler):
    """Warnings on standard error, above a progress display if one is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        # A reader that is gone must not end a run.
        with suppress(OSError):
            if "tqdm" in sys.modules and sys.stderr.isatty():
                sys.modules["tqdm"].tqdm.write(self.format(record), file=sys.stderr)
            else:
                print(self.format(record), file=sys.stderr, flush=True)


class _Json(logging.Formatter):
    """One JSON object per record: `time`, `level`, `run`, `clip`, `logger`, `message`, `error`."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """Escaped to ASCII, so that no line can contain anything but itself."""
        message = _CREDENTIALS.sub(r"\1***@", record.getMessage())
        fields = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run": _run.get() or self._run,
            "clip": _readable(_clip.get()),
            "logger": record.name,
            "message": _readable(message),
        }
        if record.exc_info:
            fields["error"] = _readable(_CREDENTIALS.sub(r"\1***@", self.formatException(record.exc_info)))
        return json.dumps(fields)


def _named(record: logging.LogRecord) -> bool:
    """Set the record's run, which may be a run within the run."""
    if (run := _run.get()) is not None:
        record.run = run
    return True


def _readable(text: str | None) -> str | None:
    return text if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def log_outcome(log: logging.Logger, words: tuple[object, ...], *, failed: bool) -> None:
    """Log the outcome of a step; `words` are its path, result, reason and detail.

    Standard error shows it only with `--quiet`: otherwise the run itself prints it.
    """
    level = logging.ERROR if failed else logging.INFO
    log.log(level, "%s: %s (%s) %s", *words, extra={_OUTCOME: True})


@contextmanager
def within(run: str) -> Iterator[None]:
    """What this thread logs meanwhile belongs to another run, which has no log of its own."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


@contextmanager
def about(clip: str) -> Iterator[None]:
    """What this thread logs meanwhile concerns this clip, by its name in the journal."""
    token = _clip.set(clip)
    try:
        yield
    finally:
        _clip.reset(token)


@contextmanager
def logging_to(
    file: Path | None,
    *,
    run: str,
    verbose: bool,
    quiet: bool,
    console: bool = True,
    log_format: Format = "text",
) -> Iterator[None]:
    """Log the run; the handlers are removed at the end.

    `log_format` is the file's; standard error is for people.
    The file is shared safely by overlapping commands: each line is written under a lock, even
    while another process rotates it. If the file can't be opened, one warning says so and the run goes on.
    """
    root = logging.getLogger("camarchiver")
    root.setLevel(logging.DEBUG)
    root.propagate = False
    handlers: list[logging.Handler] = []
    if console:
        handlers.append(_Console())
        handlers[-1].setLevel(logging.ERROR if quiet else logging.WARNING)
        handlers[-1].setFormatter(_Redacted(_prefix() + "%(message)s"))
        if not quiet:
            handlers[-1].addFilter(lambda record: not hasattr(record, _OUTCOME))
        root.addHandler(handlers[-1])
    if file is not None and (to_file := _file_handler(file)) is not None:
        to_file.setLevel(logging.DEBUG if verbose else logging.INFO)
        text = _Redacted("%(asctime)s %(levelname)s %(run)s %(message)s", defaults={"run": run})
        to_file.addFilter(_named)
        to_file.setFormatter(_Json(run) if log_format == "json" else text)
        root.addHandler(to_file)
        handlers.append(to_file)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _file_handler(file: Path) -> logging.Handler | None:
    try:
        _refuse_link(file)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        os.close(os.open(file, flags if _is_device(file) else flags | os.O_NOFOLLOW, 0o666))
        # Otherwise its lock file would lie among the clips.
        locks = file.parent / STATE_FOLDER
        with suppress(OSError):
            locks.mkdir(mode=0o700, exist_ok=True)
        return _Shared(file, locks if locks.is_dir() else file.parent)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "no log is written: %s: %s (name another file with --log-file)", file, cause(error)
        )
        return None


class _Shared(RotatingFileHandler):
    """A log that overlapping commands share: under a lock it is opened again for each line, and rotated.

    concurrent-log-handler does the same, but its import took a tenth of the CPU before a run's first clip.
    """

    def __init__(self, file: Path, locks: Path) -> None:
        super().__init__(file, maxBytes=ROTATE_AT, backupCount=KEEP_FILES - 1, encoding="utf-8", delay=True)
        self._turn = FileLock(locks / f".{file.name}.lock", timeout=_LOCK_SECONDS, poll_interval=0.005)
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with self._turn:
                try:
                    super().emit(record)
                finally:
                    self._shut()
        except OSError:
            # A lock whose release failed can't be acquired again before it was released.
            with suppress(OSError):
                self._turn.release()
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        _refuse_link(Path(self.baseFilename))
        return super()._open()

    def _shut(self) -> None:
        """Close the file: another process may rotate it before the next line."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()

    def handleError(self, record: logging.LogRecord) -> None:
        """Report once that the log can't be written, for example on a full disk; the run goes on."""
        if self._said:
            return
        self._said = True
        with suppress(OSError):
            words = f"camarchiver: the log {self.baseFilename} can't be written: {cause(sys.exception())}"
            print(words, file=sys.stderr)


def _refuse_link(file: Path) -> None:
    """OSError for a link: by default the log lies where cameras upload, and any uploader could plant one."""
    if file.is_symlink() and not _is_device(file):
        raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", os.fspath(file))


def _is_device(file: Path) -> bool:
    """Whether this is a device; `/dev/stdout` is a link, too."""
    return file.is_absolute() and file.parts[1:2] == ("dev",)


def _prefix() -> str:
    # systemd reads the level from `<4>`; its journal adds the time.
    return "<4>" if os.environ.get("JOURNAL_STREAM") else ""
