"""Whether an off-site copy has the very bytes of its archive. Presence and size prove nothing."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.steps import CheckCopy, MakeCopy
from camarchiver.errors import ConfigError
from camarchiver.offsite.rclone import backends as backends_of
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.remote_guard import RemoteGuard
from camarchiver.storage import anchored

_BLOCK = 1 << 18
"""Bytes that two hashes read one after the other from the processor's cache."""


class VerifyMethod(StrEnum):
    """How copies are verified."""

    AUTO = "auto"
    """By the remote's own hash where it makes one of whole objects, otherwise by reading back."""
    READ_BACK = "read-back"
    REMOTE_HASH = "remote-hash"


class CopyFlaw(StrEnum):
    """What is wrong with a copy; the reason of `copy-lost` in the journal."""

    MISSING = "missing"
    DIFFERS = "differs"


class CopyVerdict(Struct, frozen=True):
    """What came of comparing a copy with its archive's BLAKE2b."""

    flaw: CopyFlaw | None = None
    """None if the copy is proved."""
    how: str = ""
    """How it was compared, for the journal."""
    detail: str = ""


class _ReadResult(Struct, frozen=True):
    """What came of reading a copy once."""

    flaw: CopyFlaw | None
    count: int
    """Bytes that arrived."""
    detail: str = ""
    cut: RemoteError | None = None
    """Why it ended early, if it did."""

    def verdict(self) -> CopyVerdict:
        return CopyVerdict(self.flaw, "" if self.flaw else "read back", self.detail)


class CopyVerifier:
    """Compares copies at one remote."""

    def __init__(self, remote: Remote, method: VerifyMethod, guard: RemoteGuard) -> None:
        """`guard` is of the same remote.

        Raises ConfigError if the remote's own hash is wanted and it has none of whole objects.
        """
        if method is VerifyMethod.REMOTE_HASH and not remote.own_hash:
            raise ConfigError(
                f"{remote.label} has no hash of its own that covers a whole object",
                hint='leave verify out, or set [offsite] verify = "read-back"',
            )
        self._remote = remote
        self._method = method
        self._guard = guard

    def verify(self, step: MakeCopy | CheckCopy, archive: Path | None) -> CopyVerdict:
        """Compare a copy that was made before; as `compare`.

        One that is missing or differs may be lost only if another one can be read there: otherwise it raises
        RemoteError that ends the run.
        """
        verdict = self.compare(step, archive)
        if verdict.flaw is None:
            self._guard.proved(step.name)
        else:
            self._guard.require_known()
        return verdict

    def compare(self, step: MakeCopy | CheckCopy, archive: Path | None) -> CopyVerdict:
        """Compare one copy; `archive` is the root below which its archive is, None if it is gone.

        The remote's own hash needs the archive's bytes, of which the journal only has the BLAKE2b.
        Raises RemoteError if the remote gives no answer.
        """
        if archive is not None and self._uses_hash(step.size):
            verdict = self._by_hash(step, archive)
            if verdict is not None:
                return verdict
        return self._by_reading(step)

    def _uses_hash(self, size: int) -> bool:
        if self._method is VerifyMethod.READ_BACK or not self._remote.own_hash:
            return False
        return not backends_of.is_in_parts(self._remote.backends, size)

    def _by_hash(self, step: MakeCopy | CheckCopy, archive: Path) -> CopyVerdict | None:
        """The verdict by the remote's own hash; None if it proves nothing, and only reading decides."""
        kind = self._remote.own_hash
        found = self._remote.stat(step.name, kind)
        if found is None:
            return CopyVerdict(CopyFlaw.MISSING, detail="it is not there")
        expected = self._local_hash(step, archive, kind)
        if found.size != step.size or expected is None or found.hashes.get(kind) != expected:
            return None
        return CopyVerdict(how=f"{kind} of the remote")

    def _local_hash(self, step: MakeCopy | CheckCopy, archive: Path, kind: str) -> str | None:
        """The archive's hash of this kind, if its BLAKE2b is the journal's."""
        own, proof = hashlib.new(kind), hashlib.blake2b()
        try:
            with anchored.open_file(archive, step.relative) as stream:
                block = memoryview(bytearray(_BLOCK))
                while count := stream.readinto(block):
                    own.update(block[:count])
                    proof.update(block[:count])
        except (OSError, anchored.Stale):
            return None
        return own.hexdigest() if proof.hexdigest() == step.digest else None

    def _by_reading(self, step: MakeCopy | CheckCopy) -> CopyVerdict:
        """The verdict by the copy's bytes; if these differ it reads again: the line may be at fault.

        A copy that ends twice at the same byte differs, too: what is encrypted can be read as far as it is
        whole. Raises RemoteError if it ends elsewhere.
        """
        first = self._by_reading_once(step)
        if first.flaw is not CopyFlaw.DIFFERS:
            return first.verdict()
        second = self._by_reading_once(step)
        if second.cut is not None and second.count != first.count:
            raise second.cut
        return second.verdict()

    def _by_reading_once(self, step: MakeCopy | CheckCopy) -> _ReadResult:
        proof, count = hashlib.blake2b(), 0

        def take(block: bytes) -> None:
            nonlocal count
            proof.update(block)
            count += len(block)

        try:
            self._remote.read(step.name, take)
        except RemoteError as error:
            if error.kind is RemoteErrorKind.CUT:
                return _ReadResult(CopyFlaw.DIFFERS, count, f"it can be read as far as byte {count}", error)
            if error.kind is not RemoteErrorKind.MISSING:
                raise
            return _ReadResult(CopyFlaw.MISSING, count, "it is not there")
        if proof.hexdigest() == step.digest:
            return _ReadResult(None, count)
        detail = f"{count} bytes instead of {step.size}" if count != step.size else "its bytes differ"
        return _ReadResult(CopyFlaw.DIFFERS, count, detail)
