"""Verifies and removes the off-site copies that a cleanup's steps name; the first one starts rclone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import RemoteCopy, Tree
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import CheckCopy, RemoveCopy
from camarchiver.errors import CamarchiverError, ConfigError, Problem, UsageError
from camarchiver.offsite.rclone import backends
from camarchiver.offsite.rclone.errors import ENDS_RUN, RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.remote_guard import RemoteGuard, opened_apart
from camarchiver.offsite.verification import CopyVerifier, VerifyMethod
from camarchiver.pipeline import Pipeline


class OffsiteAccess(Struct, frozen=True):
    """How off-site copies are reached and compared."""

    rclone: RcloneSettings
    verify: VerifyMethod = VerifyMethod.AUTO

    @property
    def label(self) -> str:
        """The remote as the journal names it; empty if there is none."""
        return backends.label(self.rclone.remote) if self.rclone.remote else ""


class CopyNotVerified(CamarchiverError):
    """An off-site copy is not what the journal says of it, so the local copy stays."""

    code = "offsite"


class OffsiteCopies:
    """The off-site copies of one run; every method raises CamarchiverError or OSError."""

    def __init__(self, pipeline: Pipeline, access: OffsiteAccess, open_: ExitStack) -> None:
        """What is opened is closed with `open_`."""
        self._pipeline = pipeline
        self._access = access
        self._open = open_
        self._remotes: dict[str, RemoteGuard | CamarchiverError] = {}
        self._keeps_versions: dict[str, bool] = {}
        """By remote from which copies were removed."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Where the bytes of removed copies stay: a bucket with versioning only hides what is deleted."""
        return tuple(
            Problem(
                "past-limit",
                f"{label} keeps old versions: its removed copies are hidden, and their bytes stay there",
                "let a lifecycle rule of the bucket end old versions; or suspend its versioning (S3), or set"
                " hard_delete in rclone's config (B2)",
            )
            for label, keeps in self._keeps_versions.items()
            if keeps
        )

    def prove(self, step: RemoveCopy) -> None:
        """Compare the copy that will be the clip's last one with the archive's BLAKE2b, and journal that.

        The caller holds the clip's lock. Raises CopyNotVerified if the copy is missing or differs.
        """
        copy = _copy_of(step)
        # The remote's own hash can only be compared with the bytes of the very archive.
        archive = step.clip.root if step.tree is Tree.ARCHIVE and step.relative == copy.archive else None
        checked = _checked(step, copy)
        with self._guard(copy.remote) as guard:
            verdict = CopyVerifier(guard.remote, self._access.verify, guard).verify(checked, archive)
        journal, writer = self._pipeline.journal, self._pipeline.writer
        if verdict.flaw is not None:
            journal.append(writer.copy_lost(checked, copy.remote, verdict.flaw, verdict.detail))
            raise CopyNotVerified(
                f"it stays, because its off-site copy {copy.path} is lost: {verdict.detail}",
                hint="camarchiver offsite sync copies it again",
            )
        journal.append(writer.copy_verified(checked, copy.remote, verdict.how))

    def remove(self, step: RemoveCopy) -> None:
        """Remove the copy of a step in `Tree.OFFSITE`, and journal that. The caller holds the clip's lock."""
        copy = _copy_of(step)
        with self._guard(copy.remote) as guard:
            remote = guard.remote
            if remote.stat(copy.name) is None:
                # Elsewhere it may still be there: at another path, or under an encrypted name.
                guard.require_known()
            remote.delete(copy.name)
            if remote.stat(copy.name) is not None:
                raise RemoteError(RemoteErrorKind.REFUSED, f"{copy.path} is still there after it was deleted")
            if copy.remote not in self._keeps_versions:
                self._keeps_versions[copy.remote] = remote.versioning() == "Enabled"
        line = self._pipeline.writer.copy_lost(_checked(step, copy), copy.remote, Reason.MAX_AGE_HARD)
        self._pipeline.journal.append(line)

    @contextmanager
    def _guard(self, label: str) -> Iterator[RemoteGuard]:
        """A remote by its name in the journal; one that failed as a whole is not tried again."""
        if label not in self._remotes:
            self._remotes[label] = self._opened(label)
        found = self._remotes[label]
        if isinstance(found, CamarchiverError):
            raise found
        try:
            yield found
        except RemoteError as error:
            if error.kind in ENDS_RUN:
                self._remotes[label] = error
            raise

    def _opened(self, label: str) -> RemoteGuard | CamarchiverError:
        access = self._access.rclone
        settings = access if label == self._access.label else replace(access, remote=label)
        try:
            return self._open.enter_context(opened_apart(self._pipeline, settings))
        except (RemoteError, ConfigError, UsageError) as error:
            return error


@contextmanager
def offsite_copies(pipeline: Pipeline, access: OffsiteAccess) -> Iterator[OffsiteCopies]:
    """The off-site copies for one run; what was started for them ends with the block."""
    with ExitStack() as open_:
        yield OffsiteCopies(pipeline, access, open_)


def _copy_of(step: RemoveCopy) -> RemoteCopy:
    assert step.offsite is not None
    return step.offsite


def _checked(step: RemoveCopy, copy: RemoteCopy) -> CheckCopy:
    """The same copy as a step of `offsite verify`, for the verifier and the journal."""
    root = step.clip.root
    folder, _, name = copy.archive.rpartition("/")
    print_of = replace(step.clip.fingerprint, size=copy.size)
    clip = replace(step.clip, root=root, folder=folder, name=name, fingerprint=print_of, place="")
    return CheckCopy(clip, step.reason, step.source, step.identity, copy.digest, copy.name)
