"""Who wrote a lock or a note, and whether that process must be taken to be alive."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Struct

from camarchiver.domain.untrusted import ProcessId

STALE_LOCK_SECONDS = 600
"""A lock or note of another host or boot that was not touched for this long has no owner any more."""

_Ticks = Annotated[int, msgspec.Meta(ge=0)]
_ENDED = frozenset({"Z", "X", "x"})
"""States of a process that runs no more although its id is still taken (proc_pid_stat(5))."""


class Owner(Struct, frozen=True):
    """A process, as a lock or a note records it."""

    host: str
    boot: str
    """This kernel since it started; empty when unknown, which equals no other."""
    pid: ProcessId
    nonce: str
    """Distinguishes two records of one process."""
    since: str
    namespace: str = ""
    """Where `pid` is this process's id (pid_namespaces(7)): containers of one kernel each have their own."""
    started: _Ticks = 0
    """When the process started, in clock ticks since boot: a process id is used again. 0 when unknown."""

    @classmethod
    def this(cls) -> Owner:
        """This process, now."""
        return cls(
            host=host_id(),
            boot=_boot_id(),
            pid=os.getpid(),
            nonce=secrets.token_hex(16),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            namespace=_namespace(),
            started=_state_of(os.getpid())[1],
        )

    @property
    def is_of_this_kernel(self) -> bool:
        """Whether it ran since this machine was started."""
        return self.boot != "" and self.boot == _boot_id()

    @property
    def is_this_process(self) -> bool:
        """Whether this very process wrote the record."""
        return self.pid == os.getpid() and self._is_near and self.started in (0, _state_of(self.pid)[1])

    @property
    def _is_near(self) -> bool:
        """Whether its process id can be looked up here."""
        return self.is_of_this_kernel and self.namespace != "" and self.namespace == _namespace()

    @property
    def _runs(self) -> bool:
        """Whether the process exists; only for one that can be looked up here."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        state, started = _state_of(self.pid)
        is_same = 0 in (started, self.started) or started == self.started
        return is_same and state not in _ENDED


def is_alive(owner: Owner | None, age: Callable[[], float], *, locked: bool | None = None) -> bool:
    """Whether the owner of a lock or a note must be taken to be alive. None is an unknown owner.

    `locked` says whether the kernel gave this process the owner's lock; None if there is none to be had.
    `age` gives the seconds since the file was touched; a time in the future counts as an age too.
    """
    if locked is False:
        return True
    if owner is not None and owner.is_of_this_kernel:
        if locked:
            return False
        if owner._is_near:
            return owner._runs
    return abs(age()) <= STALE_LOCK_SECONDS


def host_id() -> str:
    """This machine in locks and messages: its name and, where it has a machine-id, four bytes of its hash."""
    forced = _forced_host()
    if forced:
        return forced
    try:
        machine = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        machine = b""
    # machine-id(5) says that it must be hashed before others see it.
    mark = hashlib.blake2b(machine, digest_size=4).hexdigest()
    return f"{socket.gethostname()}-{mark}" if machine else socket.gethostname()


def _forced_host() -> str:
    return os.environ.get("CAMARCHIVER_HOST_ID", "")


def _boot_id() -> str:
    if forced := _forced_host():
        return f"boot of {forced}"
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@functools.cache
def _namespace() -> str:
    """The namespace of this process's ids; a process never changes its own. Empty when unknown."""
    try:
        return os.fspath(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _state_of(pid: int) -> tuple[str, int]:
    """A process's state and its start in clock ticks since boot; empty and 0 when unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # A program's name, in parentheses, may hold spaces and parentheses itself.
        fields = text.rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0
