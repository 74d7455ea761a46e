"""Looks at rclone and at the remote of off-site copies, for `doctor`; nothing is written there."""

from __future__ import annotations

import time
from collections.abc import Iterator

from camarchiver.doctor.findings import Finding, fine, remark, trouble
from camarchiver.domain.clip import Trees
from camarchiver.errors import CamarchiverError
from camarchiver.journal.store import Journal
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings, Remote
from camarchiver.offsite.remote_guard import RemoteGuard, check_apart
from camarchiver.runtime.formatting import size

AREA = "off-site"


def remote(settings: RcloneSettings, trees: Trees) -> Iterator[Finding]:
    """Whether the remote can be used, what proves a copy there, and whether it keeps what is deleted."""
    began = time.monotonic()
    try:
        with remotes.opened(settings) as opened:
            seconds = time.monotonic() - began
            message = f"{opened.label} answers, by rclone {opened.version}"
            yield fine(AREA, message, seconds=seconds)
            check_apart(trees, opened.label, opened.backends)
            RemoteGuard(opened, Journal(trees.state)).require_known()
            yield _proof(opened)
            yield from _space(opened)
            yield from _worm(opened, _newest_copy(trees, opened.label))
    except CamarchiverError as error:
        yield trouble(AREA, error.message, error.hint)


def _newest_copy(trees: Trees, label: str) -> str:
    """The name of a copy of the newest day that has one; empty if there is none."""
    journal = Journal(trees.state)
    for day in reversed(journal.days()):
        for (place, _, _), copy in journal.day(day).ledger.copies.items():
            if place == label and copy.lost is None:
                return copy.name
    return ""


def _proof(opened: Remote) -> Finding:
    if opened.own_hash:
        return fine(AREA, f"copies are verified by the remote's own {opened.own_hash}, or read back if asked")
    return remark(AREA, "copies are read back whole: this remote has no hash that proves a whole object")


def _space(opened: Remote) -> Iterator[Finding]:
    space = opened.space()
    if space is not None and space.free is not None:
        yield fine(AREA, f"{size(space.free)} are free at {opened.label}")


def _worm(opened: Remote, sample: str) -> Iterator[Finding]:
    """Whether deleted or replaced objects are kept, or can't be deleted, where rclone reports it."""
    lock = opened.lock_of(sample) if sample else ""
    if lock:
        yield remark(
            AREA,
            f"objects are locked ({lock}): nobody can delete them earlier, not even under a legal maximum",
            "its time must not be longer than the legal maximum, if there is one",
        )
    versioning = opened.versioning()
    if versioning == "Enabled":
        yield remark(
            AREA,
            "the bucket keeps old versions: what is deleted there is only hidden, and still costs",
            "a lifecycle rule of the bucket can end old versions",
        )
    elif versioning is not None:
        words = f"the bucket has no object lock and keeps no old versions ({versioning.lower()})"
        yield fine(AREA, f"{words}: anyone with its login can delete every copy")
