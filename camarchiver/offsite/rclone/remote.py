"""The one adapter to rclone: uploads, reads, moves, deletes and describes objects at one remote.

Nothing of a storage protocol is written here. rclone reads its own config file, with its secrets.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

from msgspec import Struct

from camarchiver.config import home
from camarchiver.errors import ConfigError, cause
from camarchiver.offsite.rclone import backends as backends_of
from camarchiver.offsite.rclone import daemon as rclone_daemon
from camarchiver.offsite.rclone.daemon import Daemon
from camarchiver.offsite.rclone.errors import (
    CONFIG_FILE,
    RemoteError,
    RemoteErrorKind,
    error_of,
    kind_of,
    remote_error,
)

_ALIAS = "CAMARCHIVER"
"""The name under which rclone finds the remote: given by the environment, it is in no other place."""

_FS = "camarchiver:"
_BLOCK = 1 << 20

KNOWN_HOSTS = Path(".ssh/known_hosts")
"""Below the home folder: OpenSSH's own."""

_ALWAYS: Mapping[str, str] = {
    # Whether a copy is needed is decided here, by the journal: rclone takes equal size and time for equality.
    "RCLONE_IGNORE_TIMES": "true",
    "RCLONE_NO_CHECK_DEST": "true",
    # An upload to a remote that can move has a staged name of ours.
    "RCLONE_INPLACE": "true",
    # Copies are verified by their BLAKE2b, or by a hash that is read afterwards.
    "RCLONE_IGNORE_CHECKSUM": "true",
    "RCLONE_S3_NO_HEAD": "true",
    # Memory: files are read from a local disk, which needs no 16 MiB of buffer for each.
    "RCLONE_BUFFER_SIZE": "256Ki",
    # Up to `ONE_PART` a server hashes the whole object; of larger ones rclone would store its own MD5.
    "RCLONE_S3_UPLOAD_CUTOFF": f"{backends_of.ONE_PART}B",
    "RCLONE_S3_DISABLE_CHECKSUM": "true",
    "RCLONE_B2_UPLOAD_CUTOFF": f"{backends_of.ONE_PART}B",
    # A bucket that is missing is a mistake in the config, or somebody removed it.
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
    "RCLONE_GCS_NO_CHECK_BUCKET": "true",
}

_BY_DEFAULT: Mapping[str, str] = {
    "RCLONE_CONTIMEOUT": "20s",
    "RCLONE_TIMEOUT": "60s",
    "RCLONE_LOW_LEVEL_RETRIES": "3",
    # Memory: each of four objects above `ONE_PART` has this many parts of 5 MiB on the way.
    "RCLONE_S3_UPLOAD_CONCURRENCY": "2",
    "RCLONE_B2_UPLOAD_CONCURRENCY": "1",
}
"""What the owner's environment may say otherwise."""


class RcloneSettings(Struct, frozen=True):
    """Which rclone is used, for which remote."""

    remote: str
    """As rclone writes it: `NAME:PATH`, or an absolute path."""
    program: Path | None = None
    """The rclone; None for that of the extra, or the one in PATH."""
    bandwidth: str = ""
    """As rclone's `--bwlimit`, such as `2M` or a timetable; empty for no limit."""


class RemoteObject(NamedTuple):
    """An object as the remote describes it."""

    name: str
    """Below the remote."""
    size: int
    """Bytes; -1 if the remote does not say."""
    hashes: Mapping[str, str] = {}
    """Hexadecimal, by the name of the algorithm, as far as they were asked for."""


class RemoteSpace(NamedTuple):
    """Bytes at the remote, as far as it says."""

    free: int | None
    total: int | None


@contextmanager
def opened(settings: RcloneSettings) -> Iterator[Remote]:
    """The remote, by an rclone that runs until the end of the block; one that can't be used is refused.

    Raises RemoteError or ConfigError.
    """
    backends_of.check(settings.remote)
    program = rclone_daemon.find(settings.program)
    environment = _environment(settings)
    daemon = rclone_daemon.start(program, environment)
    try:
        version = rclone_daemon.check_version(daemon)
        found = backends_of.backends(settings.remote, _config_of(daemon, settings.remote), os.environ)
        if known_hosts := _known_hosts(backends_of.unchecked_hosts(found)):
            daemon.end()
            daemon = rclone_daemon.start(program, environment | known_hosts)
        remote = Remote(daemon, backends_of.label(settings.remote), found, version)
        remote.check()
        yield remote
    finally:
        daemon.end()


class Remote:
    """One remote and what it can do; its methods may be called from any thread and raise RemoteError."""

    def __init__(
        self, daemon: Daemon, label: str, backends: Sequence[backends_of.RemoteBackend], version: str
    ) -> None:
        """`label` names the remote in messages and in the journal."""
        self._daemon = daemon
        self.label = label
        self.version = version
        self.backends = tuple(backends)
        info = self._call("operations/fsinfo", fs=_FS)
        features = info.get("Features") or {}
        self.can_move = bool(features.get("Move"))
        offered = set(info.get("Hashes") or ())
        self.own_hash = next((each for each in backends_of.own_hashes(self.backends) if each in offered), "")
        """The best hash that the server makes of whole objects; empty if copies must be read back."""

    @property
    def pid(self) -> int:
        """The process id of its rclone."""
        return self._daemon.pid

    def check(self) -> None:
        """Refuse a remote that can't be reached, or whose bucket or folder is missing."""
        try:
            self._call("operations/list", fs=_FS, remote="", opt={"dirsOnly": True, "noModTime": True})
        except RemoteError as error:
            if error.kind is not RemoteErrorKind.MISSING:
                raise
            raise RemoteError(
                RemoteErrorKind.NO_BUCKET,
                f"{self.label}: this bucket or folder does not exist",
                hint=f"if the name is right, make it: rclone mkdir {self.label}",
            ) from error

    def upload(self, source: BinaryIO, name: str) -> None:
        """Upload an open file under this name; what has the name is replaced."""
        # By its descriptor: rclone must read the file that was opened, whatever its path leads to by now.
        self._call(
            "operations/copyfile",
            srcFs=f":local,copy_links:/proc/{os.getpid()}/fd",
            srcRemote=str(source.fileno()),
            dstFs=_FS,
            dstRemote=name,
        )

    def move(self, name: str, target: str) -> None:
        """Give an object another name; what has that name is replaced."""
        self._call(
            "operations/movefile",
            srcFs=_FS,
            srcRemote=name,
            dstFs=_FS,
            dstRemote=target,
            _config={"NoCheckDest": False},
        )

    def stat(self, name: str, *hashes: str) -> RemoteObject | None:
        """What the remote says of an object; None if it is not there."""
        wanted: dict[str, Any] = {"filesOnly": True, "noModTime": True, "noMimeType": True}
        if hashes:
            wanted |= {"showHash": True, "hashTypes": list(hashes)}
        try:
            item = self._call("operations/stat", fs=_FS, remote=name, opt=wanted).get("item")
        except RemoteError as error:
            if error.kind is RemoteErrorKind.MISSING:
                return None
            raise
        return _object(item) if isinstance(item, dict) else None

    def read(self, name: str, take: Callable[[bytes], object], *, first: int | None = None) -> int:
        """Read an object whole, or its `first` bytes; `take` gets it in pieces. The number of these bytes.

        Raises RemoteError, of kind MISSING if there is no such object.
        """
        path = quote(f"/[{_FS}]/{name}")
        count = 0
        try:
            with self._daemon.get(path, first=first) as response:
                if response.status not in (200, 206):
                    said = _error_in(response.read(4096))
                    raise self._not_read(
                        name, remote_error(self.label, f"{name}: {said}", status=response.status)
                    )
                length = response.length
                while block := response.read(_BLOCK):
                    count += len(block)
                    take(block)
        except TimeoutError as error:
            raise _stalled(self.label, name) from error
        except OSError as error:
            raise RemoteError(
                RemoteErrorKind.GONE, f"{self.label}: {name} could not be read: {cause(error)}"
            ) from error
        if length is not None and count != length:
            raise RemoteError(
                RemoteErrorKind.CUT, f"{self.label}: only {count} of {length} bytes of {name} arrived"
            )
        return count

    def _not_read(self, name: str, error: RemoteError) -> RemoteError:
        """The error of an object that can't be read: rclone also says "not found" if the line broke."""
        if error.kind is not RemoteErrorKind.MISSING or self.stat(name) is None:
            return error
        return RemoteError(RemoteErrorKind.UNREADABLE, f"{self.label}: {name} is there and could not be read")

    def delete(self, name: str) -> None:
        """Delete an object; it is no error if there is none."""
        try:
            self._call("operations/deletefile", fs=_FS, remote=name)
        except RemoteError as error:
            if error.kind is not RemoteErrorKind.MISSING:
                raise

    def listing(self, folder: str, *, recursive: bool = False) -> tuple[RemoteObject, ...]:
        """The objects in a folder; none if there is no such folder."""
        wanted = {"filesOnly": True, "noModTime": True, "noMimeType": True, "recurse": recursive}
        try:
            found = self._call("operations/list", fs=_FS, remote=folder, opt=wanted).get("list")
        except RemoteError as error:
            if error.kind is RemoteErrorKind.MISSING:
                return ()
            raise
        return tuple(_object(each) for each in found or () if isinstance(each, dict))

    def space(self) -> RemoteSpace | None:
        """The room at the remote; None if it does not say."""
        try:
            found = self._call("operations/about", fs=_FS)
        except RemoteError:
            return None
        return RemoteSpace(_count(found.get("free")), _count(found.get("total")))

    def versioning(self) -> str | None:
        """Whether the bucket keeps old versions: Enabled, Suspended, Unversioned; None if it is unknown.

        Where it is enabled, a deleted object is hidden and its bytes stay.
        """
        if backends_of.hides_deleted(self.backends):
            return "Enabled"
        if not any(each.kind == "s3" for each in self.backends[-1:]):
            return None
        try:
            found = self._call("backend/command", command="versioning", fs=_FS).get("result")
        except RemoteError:
            return None
        return found if isinstance(found, str) and found else None

    def lock_of(self, name: str) -> str:
        """Until when the remote refuses to delete an object, in its own words; empty if it is unknown."""
        wanted = {"filesOnly": True, "metadata": True}
        try:
            item = self._call("operations/stat", fs=_FS, remote=name, opt=wanted).get("item")
        except RemoteError:
            return ""
        found = item.get("Metadata") if isinstance(item, dict) else None
        if not isinstance(found, dict):
            return ""
        until, hold = found.get("object-lock-retain-until-date"), found.get("object-lock-legal-hold-status")
        words = f"{found.get('object-lock-mode', '')} until {until}" if until else ""
        return "; ".join(filter(None, (words, "legal hold" if hold == "ON" else "")))

    def transferred(self) -> int:
        """Bytes that were sent so far, also of uploads that are going on."""
        return _count(self._call("core/stats").get("bytes")) or 0

    def end(self) -> None:
        """End its rclone: what waits for the remote fails at once."""
        self._daemon.end()

    def _call(self, command: str, /, **fields: Any) -> dict[str, Any]:
        try:
            status, answer = self._daemon.call(command, fields)
        except rclone_daemon.NoProgress as error:
            raise _stalled(self.label, command) from error
        except OSError as error:
            raise _daemon_ended(self.label, error) from error
        if status != 200:
            raise remote_error(self.label, str(answer.get("error", f"status {status}")), status=status)
        return answer


def _environment(settings: RcloneSettings) -> dict[str, str]:
    found = dict(_ALWAYS)
    found |= {name: value for name, value in _BY_DEFAULT.items() if name not in os.environ}
    found |= {
        f"RCLONE_CONFIG_{_ALIAS}_TYPE": "alias",
        f"RCLONE_CONFIG_{_ALIAS}_REMOTE": settings.remote,
    }
    if settings.bandwidth:
        found["RCLONE_BWLIMIT"] = settings.bandwidth
    return found


def _config_of(daemon: Daemon, remote: str) -> backends_of.Settings:
    """The remotes of rclone's config file. Raises RemoteError if it can't be read, or lacks this one."""
    label = backends_of.label(remote)
    try:
        status, dumped = daemon.call("config/dump", {})
        if status != 200:
            raise _config_error(label, str(dumped.get("error", f"status {status}")))
        config = {name: values for name, values in dumped.items() if isinstance(values, dict)}
        if (name := backends_of.unknown_name(remote, config, os.environ)) is not None:
            file = daemon.config_file()
            raise RemoteError(
                RemoteErrorKind.NOT_CONFIGURED,
                f"{label}: rclone has no such remote: {name} is not in {file or 'its config file'}",
            )
    except OSError as error:
        raise _daemon_ended(label, error) from error
    return config


def _config_error(label: str, message: str) -> RemoteError:
    """The error for a config file that rclone can't read; it is encrypted, or another fault."""
    kind = kind_of(message)
    why = re.sub(r".*[Ff]ailed to load config file ", "", message, flags=re.DOTALL)
    return error_of(kind if kind in CONFIG_FILE else RemoteErrorKind.BROKEN_CONFIG, label, why)


def _stalled(label: str, what: str) -> RemoteError:
    """The error for a server that answers nothing, although rclone waits for it."""
    minutes = rclone_daemon.STALL_SECONDS / 60
    words = f"{what}: nothing came and no byte was transferred for {minutes:.0f} minutes"
    return error_of(RemoteErrorKind.SLOW, label, words)


def _daemon_ended(label: str, error: OSError) -> RemoteError:
    """The error for an rclone that ended; one before 1.70 does so if it can't read its config file."""
    if kind_of(str(error)) in CONFIG_FILE:
        return _config_error(label, str(error))
    return RemoteError(RemoteErrorKind.GONE, f"{label}: {cause(error)}")


def _known_hosts(unchecked: Sequence[backends_of.RemoteBackend]) -> dict[str, str]:
    """Variables that make rclone check the keys of SFTP servers, which it does not do by default.

    Raises ConfigError if there is nothing to compare them with.
    """
    if not unchecked:
        return {}
    file = home() / KNOWN_HOSTS
    if not file.is_file():
        name = unchecked[0].name or "the remote"
        raise ConfigError(
            f"{name}: the key of this SFTP server can't be checked: there is no {file}",
            hint="compare the key with the server's own, then: ssh-keyscan -p PORT HOST >> "
            "~/.ssh/known_hosts; or set known_hosts_file with rclone config",
        )
    return {backends_of.variable(each, "known_hosts_file"): os.fspath(file) for each in unchecked}


def _object(item: Mapping[str, Any]) -> RemoteObject:
    hashes = item.get("Hashes")
    size = item.get("Size")
    return RemoteObject(
        str(item.get("Path", "")),
        size if isinstance(size, int) else -1,
        {str(kind): str(value).lower() for kind, value in hashes.items()} if isinstance(hashes, dict) else {},
    )


def _error_in(body: bytes) -> str:
    """What rclone answers instead of an object: JSON since 1.61, plain text before."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(text)["error"])
    return text


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
