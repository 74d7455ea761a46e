"""Tries encoders for one clip in turn, from the whole GPU to software, until an archive is verified."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.media import ffmpeg_args, transcoder
from camarchiver.media.encoder_probe import Choice, EncoderAttempt
from camarchiver.media.encoders import Encoder, FallbackLevel, obstacle
from camarchiver.media.ffmpeg_args import Job, Transcode
from camarchiver.media.ffmpeg_errors import FailureScope, diagnose, refuses_constant_quality
from camarchiver.media.transcoder import STALL_SECONDS, FfmpegProgress, Finished
from camarchiver.runtime import processes
from camarchiver.runtime.signals import Stopper

_log = logging.getLogger(__name__)

TRIAL_AGAIN_SECONDS = 43_200.0
"""A GPU that was given up is tried again after this: longer than a nightly run, shorter than a watch."""

_IN_A_ROW = 2

_PASSING = re.compile(
    r"Cannot allocate memory|Input/output error|Stale file handle|timed out|Too many open files"
    r"|Resource temporarily unavailable"
    # The words of the prober for an archive that it could not examine completely.
    r"|crashed the process that examined it|made the parser hang|can't be read: ",
    re.IGNORECASE,
)
"""Problems that a later run may not meet."""


class CheckResult(Protocol):
    """Whether the file written at one level holds the whole clip."""

    @property
    def ok(self) -> bool: ...

    @property
    def problem(self) -> str: ...

    @property
    def blames_source(self) -> bool: ...


class LevelTried(Struct, frozen=True):
    """One attempt to encode a clip."""

    level: FallbackLevel
    encoder: str
    problem: str = ""
    """Empty if its archive passed the check."""


class Encoded(Struct, frozen=True):
    """The result for one clip; its target holds an archive only if `encoder` is set."""

    encoder: Encoder | None
    tried: tuple[LevelTried, ...]
    finished: Finished | None
    """The result of the last ffmpeg; None if none was started."""
    seconds: float
    is_damaged: bool = False
    """Whether the last level found the clip itself damaged."""
    is_refusal: bool = False
    """Whether the same clip fails in this way every time."""

    @property
    def stopped(self) -> bool:
        """Whether the encode was ended on request, which says nothing about the clip."""
        return self.finished is not None and self.finished.ended == "stopped"

    @property
    def problem(self) -> str:
        """Why the last level failed; empty if it did not."""
        return self.tried[-1].problem if self.tried else "the GPU was given up and there is no other encoder"


class GpuBreaker:
    """Gives the GPU up once it fails clip after clip, until a later trial succeeds; for many threads."""

    def __init__(
        self,
        still_works: Callable[[], bool],
        *,
        announce: Callable[[str], None] = _log.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._still_works = still_works
        self._announce = announce
        self._clock = clock
        self._failures = 0
        self._lock = threading.Lock()
        self._tripped_at: float | None = None

    @property
    def tripped(self) -> bool:
        """Whether the GPU is not used; it is tried again now and then, for runs that last for months."""
        with self._lock:
            if self._tripped_at is not None and self._clock() - self._tripped_at >= TRIAL_AGAIN_SECONDS:
                self._tripped_at = None if self._still_works() else self._clock()
                if self._tripped_at is None:
                    self._announce("the GPU works again")
            return self._tripped_at is not None

    def succeeded(self) -> None:
        """The GPU encoded a clip."""
        with self._lock:
            self._failures = 0

    def failed(self, problem: str) -> None:
        """The GPU failed, not the clip; after two failures in a row a trial decides."""
        with self._lock:
            if self._tripped_at is not None:
                return
            self._failures += 1
            if self._failures < _IN_A_ROW:
                return
            self._failures = 0
            if not self._still_works():
                self._tripped_at = self._clock()
                self._announce(f"the GPU failed ({problem}): software encodes from now on")


class EncoderFallback(Struct, frozen=True):
    """The fallback levels of one run; many threads use them, each with its own clip."""

    choice: Choice
    breaker: GpuBreaker
    stop: Stopper | None = None
    stall_seconds: float = STALL_SECONDS

    def run(
        self,
        job: Job,
        check: Callable[[Finished, Encoder], CheckResult],
        *,
        on_progress: Callable[[FfmpegProgress], None] | None = None,
    ) -> Encoded:
        """Try level after level, each of which rewrites the target, until `check` accepts a result.

        A stop ends the attempt and counts as no failure. Raises OSError if the target can't be written or
        ffmpeg can't be started.
        """
        started = time.monotonic()
        tries: list[_Try] = []
        for attempt in self.choice.attempts:
            if self._given_up(attempt, tries):
                continue
            tries += self._at_level(job, attempt, check, on_progress)
            if tries[-1].last:
                break
        return _encoded(tries, time.monotonic() - started)

    def _given_up(self, attempt: EncoderAttempt, tries: list[_Try]) -> bool:
        """Whether the level's encoder is known to fail, whichever decoder is used."""
        if attempt.level is FallbackLevel.SOFTWARE:
            return False
        refused = any(
            each.attempt.encoder == attempt.encoder and each.scope is FailureScope.OPTION for each in tries
        )
        return refused or self.breaker.tripped

    def _at_level(
        self,
        job: Job,
        attempt: EncoderAttempt,
        check: Callable[[Finished, Encoder], CheckResult],
        on_progress: Callable[[FfmpegProgress], None] | None,
    ) -> list[_Try]:
        """One attempt, and a second with a constant quantiser if the driver has no constant quality."""
        reason = obstacle(attempt.encoder, attempt.level, job.media)
        if reason:
            return [_Try(attempt, None, reason)]
        own = attempt.encoder == self.choice.encoder
        # The owner's quality and preset are on the first encoder's scale.
        settings = job.settings if own else replace(job.settings, quality=None, preset=None)
        way = Transcode(
            replace(job, settings=settings),
            attempt.encoder,
            attempt.level,
            attempt.ffmpeg.version,
            self.choice.device,
            own and self.choice.constant_quantiser,
        )
        tries = [self._try(way, attempt, check, on_progress)]
        if tries[0].wants_quantiser and not way.constant_quantiser:
            tries.append(self._try(replace(way, constant_quantiser=True), attempt, check, on_progress))
        return tries

    def _try(
        self,
        way: Transcode,
        attempt: EncoderAttempt,
        check: Callable[[Finished, Encoder], CheckResult],
        on_progress: Callable[[FfmpegProgress], None] | None,
    ) -> _Try:
        # Nothing of an earlier level may remain.
        way.job.target.write_bytes(b"")
        finished = transcoder.run(
            attempt.ffmpeg.path,
            ffmpeg_args.transcode(way),
            on_progress=on_progress,
            stop=self.stop,
            stall_seconds=self.stall_seconds,
        )
        problem, is_damaged = self._failure(finished), False
        if not problem:
            verdict = check(finished, attempt.encoder)
            problem = "" if verdict.ok else verdict.problem
            is_damaged = bool(problem) and verdict.blames_source
        done = _Try(attempt, finished, problem, is_damaged)
        if attempt.level is not FallbackLevel.SOFTWARE:
            self._inform_breaker(done)
        return done

    def _failure(self, finished: Finished) -> str:
        """The failure that ffmpeg itself reports; empty if it reports none."""
        line = diagnose(finished.stderr).line
        if finished.ended == "stopped":
            return "stopped"
        if finished.ended == "stalled":
            return f"no progress for {self.stall_seconds:.0f} s"
        if finished.returncode < 0:
            name = processes.signal_name(finished.returncode)
            return f"ended by {name}: {line}" if line else f"ended by {name}"
        return (line or f"exit {finished.returncode}") if finished.returncode else ""

    def _inform_breaker(self, done: _Try) -> None:
        if not done.problem:
            self.breaker.succeeded()
        elif done.scope is FailureScope.DEVICE:
            self.breaker.failed(done.problem)


class _Try(Struct, frozen=True):
    """One run of ffmpeg and its result."""

    attempt: EncoderAttempt
    finished: Finished | None
    """None if the clip was known beforehand not to suit the level."""
    problem: str
    is_damaged: bool = False
    """Whether its check found the clip itself damaged."""

    @property
    def scope(self) -> FailureScope:
        """What the failure concerns; a stop is no failure."""
        if self.finished is None or self.stopped:
            return FailureScope.UNKNOWN
        if self.finished.ended == "stalled" or self.finished.returncode < 0:
            return FailureScope.DEVICE
        return diagnose(self.finished.stderr).scope

    @property
    def stopped(self) -> bool:
        return self.finished is not None and self.finished.ended == "stopped"

    @property
    def wants_quantiser(self) -> bool:
        return bool(self.problem and self.finished and refuses_constant_quality(self.finished.stderr))

    @property
    def last(self) -> bool:
        """Whether no further level is to be tried."""
        if not self.problem or self.stopped or self.scope is FailureScope.STORAGE:
            return True
        # A GPU's decoder may call a clip damaged that software decodes.
        return self.is_damaged and self.attempt.level is FallbackLevel.SOFTWARE

    @property
    def is_refusal(self) -> bool:
        """Whether the cause is the clip, and not the machine's present state."""
        if not self.problem or self.is_damaged or self.scope in (FailureScope.STORAGE, FailureScope.DEVICE):
            return False
        said = (self.problem, *(self.finished.stderr if self.finished else ()))
        return not any(map(_PASSING.search, said))


def _encoded(tries: list[_Try], seconds: float) -> Encoded:
    tried = tuple(
        LevelTried(each.attempt.level, each.attempt.encoder.name, each.problem)
        for each in tries
        if not each.stopped
    )
    done = tries[-1] if tries else None
    return Encoded(
        done.attempt.encoder if done and not done.problem else None,
        tried,
        done.finished if done else None,
        seconds,
        done.is_damaged if done else False,
        done.is_refusal if done else False,
    )
