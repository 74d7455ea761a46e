"""The findings of `doctor`: a verdict and a remedy for everything it checked."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from camarchiver.domain.report import Conclusion, concluded


class Severity(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    NOTE = "note"
    """Nothing needs to be done, but the user may want to know."""
    BAD = "bad"


class Finding(Struct, frozen=True):
    """One line of the table."""

    area: str
    """The kind of thing, such as `ffmpeg` or `archive`."""
    verdict: Severity
    message: str
    remedy: str = ""
    seconds: float | None = None
    """How long a trial took."""

    @property
    def is_wrong(self) -> bool:
        """Whether it has to be fixed."""
        return self.verdict is Severity.BAD


def conclusion(findings: Iterable[Finding]) -> Conclusion:
    """How `doctor` ends: one thing that has to be fixed is a failure."""
    is_wrong = any(finding.is_wrong for finding in findings)
    return concluded(achieved=not is_wrong, failed=is_wrong)


def fine(area: str, message: str, *, seconds: float | None = None) -> Finding:
    """A finding that everything is as it should be."""
    return Finding(area, Severity.OK, message, seconds=seconds)


def remark(area: str, message: str, remedy: str = "", *, seconds: float | None = None) -> Finding:
    """A finding that camarchiver works without this."""
    return Finding(area, Severity.NOTE, message, remedy, seconds)


def trouble(area: str, message: str, remedy: str, *, seconds: float | None = None) -> Finding:
    """A finding that has to be fixed."""
    return Finding(area, Severity.BAD, message, remedy, seconds)


def judge_watches(folders: int, limit: int, name: str) -> Finding:
    """Whether inotify can watch that many folders; `name` is the setting, `limit` 0 if it is unknown."""
    message = f"{name} is {limit:,}, {folders:,} folders are to be watched"
    wanted = max(524_288, 2 * folders)
    remedy = f"sysctl -w {name}={wanted}, and in /etc/sysctl.d for the next start"
    if limit and folders >= limit:
        return trouble("inotify", f"{message}: watch would read the tree every minute instead", remedy)
    if limit and folders > limit * 0.7:
        return remark("inotify", f"{message}; other programs need some, too", remedy)
    return fine(
        "inotify", message if limit else f"{folders:,} folders are to be watched, without a known limit"
    )


def judge_free_space(free: int, size: int, inodes: int) -> str:
    """What is wrong with the free space of a filesystem, in bytes and free inodes (-1 if it has no count)."""
    if free < min(1_000_000_000, size // 100):
        return "there is hardly any room left"
    return "there are hardly any inodes left" if 0 <= inodes < 1000 else ""
