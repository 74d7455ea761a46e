"""Real storage servers on loopback: honest ones, and some that accept or forget what they should not.

Each ends with the thread that started it, even if that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from camarchiver.runtime import processes
from tests import programs

START_SECONDS = 90.0
"""On an idle machine SeaweedFS takes 3 s, and 20 s after it was killed."""
TRIES = 3
"""Between finding a free port and listening on it, another program may take it."""
BUCKET = "cameras"
KEY, SECRET = "key", "not-a-secret"

Settings = dict[str, str]
"""Of one remote in rclone's configuration."""


@dataclass(frozen=True)
class Kind:
    """A server program, how it is started and how rclone reaches it."""

    name: str
    programs: tuple[str, ...]
    command: Callable[[Path, tuple[int, ...]], list[str]]
    """From its folder, where `data` holds what is stored, and its ports; the first one is the clients'."""
    settings: Callable[[Path, int], Settings]
    """rclone's, from its folder and the port."""
    ports: int = 1
    bucket: str = ""
    """The folder that must be made first."""
    prepare: Callable[[Path], None] = lambda folder: None
    is_plain: bool = True
    """Whether each object is a file of its name below `data`."""
    is_absolute: bool = False
    """Whether its paths are those of this machine."""

    @property
    def why_not(self) -> str:
        """Why it can't be started here; empty if it can."""
        return programs.why_not(*self.programs)


@dataclass
class Server:
    """A server that runs on the same port with the same data each time it is started."""

    kind: Kind
    folder: Path
    ports: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    part: str = ""
    """The folder below the bucket to which all of its paths belong; empty for the bucket itself."""

    def part_of(self, name: str) -> Server:
        """The same running server, seen by somebody who uses only this folder of it."""
        return replace(self, part=name)

    @property
    def port(self) -> int:
        """The clients' port."""
        return self.ports[0]

    @property
    def data(self) -> Path:
        """Where a plain server keeps its objects, below the bucket."""
        return self.folder / "data" / self.kind.bucket / self.part

    def path(self, name: str, below: str = "") -> str:
        """What rclone calls a path in it, if the remote has that name."""
        root = str(self.folder / "data") if self.kind.is_absolute else self.kind.bucket
        return f"{name}:" + "/".join(filter(None, (root, self.part, below)))

    def settings(self, port: int | None = None) -> Settings:
        """rclone's configuration of it, or of it behind a proxy."""
        return self.kind.settings(self.folder, port or self.port)

    def start(self) -> None:
        """Start it and wait until it answers; raises AssertionError with its last words if it does not."""
        log = (self.folder / "log").open("ab")
        with log:
            command = self.kind.command(self.folder, self.ports)
            self.process = processes.start(
                command, stdout=log.fileno(), stderr=log.fileno(), environment=_ENVIRONMENT
            )
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            said = (self.folder / "log").read_text(errors="replace")[-1000:]
            assert self.process.poll() is None, f"{self.kind.name} ended: {said}"
            assert time.monotonic() < deadline, f"{self.kind.name} does not answer: {said}"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut ends it."""
        if self.process is not None:
            processes.signal_group(self.process, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "RCLONE_CONFIG": "/notfound"}


@contextlib.contextmanager
def running(kind: Kind, folder: Path) -> Iterator[Server]:
    """A new server with an empty store in `folder`, until the end."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    kind.prepare(folder)
    server = Server(kind, folder)
    for left in reversed(range(TRIES)):
        server.ports = free_ports(kind.ports)
        try:
            server.start()
            break
        except AssertionError:
            server.kill()
            if not left:
                raise
    try:
        if kind.bucket:
            _make_bucket(server)
        yield server
    finally:
        server.kill()


def _make_bucket(server: Server) -> None:
    """A server that listens may still refuse a moment later."""
    rclone = Rclone.of(server.folder, {"bucket": server.settings()})
    for _ in range(20):
        made = rclone.run("mkdir", f"bucket:{server.kind.bucket}", check=False)
        if made.returncode == 0:
            return
        time.sleep(0.5)
    raise AssertionError(f"{server.kind.name} makes no bucket: {made.stderr}")


@dataclass(frozen=True)
class Rclone:
    """rclone as an owner starts it, with a configuration of its own: nothing of camarchiver is in it."""

    config: Path

    @classmethod
    def of(cls, folder: Path, remotes: Mapping[str, Settings]) -> Rclone:
        """Write the configuration of these remotes into `folder`."""
        path = folder / "rclone.conf"
        sections = (
            "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in settings.items())])
            for name, settings in remotes.items()
        )
        path.write_text("\n\n".join(sections) + "\n")
        path.chmod(0o600)
        return cls(path)

    def run(
        self, *words: str | Path, check: bool = True, data: bytes | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        command = [_rclone(), "--config", self.config, "--retries", "1", "--timeout", "10s", *words]
        ran = subprocess.run(
            [os.fspath(word) for word in command],
            input=data,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert not check or ran.returncode == 0, (words, ran.stderr.decode(errors="replace"))
        return ran

    def objects(self, remote: str) -> dict[str, int]:
        """Every object below a path of a remote, with its bytes; none if the path is not there."""
        ran = self.run("lsjson", "-R", "--files-only", remote, check=False)
        return {each["Path"]: each["Size"] for each in json.loads(ran.stdout if not ran.returncode else "[]")}

    def read(self, remote: str) -> bytes:
        """The bytes of an object."""
        return self.run("cat", remote).stdout

    def write(self, remote: str, data: bytes) -> None:
        """Store an object, over any other of that name."""
        self.run("rcat", remote, data=data)

    def delete(self, remote: str) -> None:
        """Remove an object."""
        self.run("deletefile", remote)


def _rclone() -> str:
    path = programs.path_of("rclone")
    assert path is not None
    return path


@cache
def obscured(password: str) -> str:
    """A password as rclone's configuration holds it."""
    done = subprocess.run([_rclone(), "obscure", password], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of loopback on which nothing listens."""
    with contextlib.ExitStack() as open_:
        made = [open_.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(each.getsockname()[1] for each in made)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


# --- the kinds -------------------------------------------------------------------------------------


def _weed(folder: Path, ports: tuple[int, ...]) -> list[str]:
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    named = zip((*names, "filer.port", "filer.port.grpc"), ports, strict=True)
    return [
        str(programs.path_of("weed")),
        *("server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-{name}={port}" for name, port in named),
        *("-filer", "-s3", f"-s3.config={folder}/s3.json", "-s3.iam=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=32", "-volume.max=60"),
        *("-master.telemetry=false", "-volume.preStopSeconds=0"),
    ]


def _prepare_weed(folder: Path) -> None:
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    user = {"name": "owner", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": rights}
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))


def _s3(provider: str) -> Callable[[Path, int], Settings]:
    def settings(_: Path, port: int) -> Settings:
        return {
            "type": "s3",
            "provider": provider,
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "endpoint": f"http://127.0.0.1:{port}",
        }

    return settings


def _moto(folder: Path, ports: tuple[int, ...]) -> list[str]:
    return [str(programs.path_of("moto_server")), "-H", "127.0.0.1", "-p", str(ports[0])]


def serving(protocol: str, *words: str) -> Callable[[Path, tuple[int, ...]], list[str]]:
    """How rclone serves a protocol, without a login unless `words` say one."""

    def command(folder: Path, ports: tuple[int, ...]) -> list[str]:
        start = [_rclone(), "serve", protocol, "--addr", f"127.0.0.1:{ports[0]}"]
        return [*start, *words, str(folder / "data")]

    return command


def _webdav(_: Path, port: int) -> Settings:
    # Of the vendor "rclone" it would get hashes, which hardly another WebDAV server has.
    login = {"user": KEY, "pass": obscured(SECRET)}
    return {"type": "webdav", "vendor": "other", "url": f"http://127.0.0.1:{port}", **login}


def _wsgidav(folder: Path, ports: tuple[int, ...]) -> list[str]:
    where = ("--host", "127.0.0.1", "--port", str(ports[0]), "--root", str(folder / "data"))
    return [str(programs.path_of("wsgidav")), *where, "--auth", "anonymous", "--no-config", "-q"]


def _sshd(folder: Path, ports: tuple[int, ...]) -> list[str]:
    lines = [f"Port {ports[0]}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", "PidFile none"]
    lines += [f"AuthorizedKeysFile {folder}/user.pub", "StrictModes no", "UsePAM no", "MaxStartups 100"]
    lines += ["Subsystem sftp internal-sftp", "ForceCommand internal-sftp"]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    host = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{ports[0]} {host[0]} {host[1]}\n")
    return [str(programs.path_of("sshd")), "-D", "-e", "-f", str(folder / "sshd_config")]


def _prepare_sshd(folder: Path) -> None:
    for key in ("host", "user"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(made, check=True, stdin=subprocess.DEVNULL)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)


def _sftp(folder: Path, port: int) -> Settings:
    # A proxy has another port than the one in known_hosts; the host key is the same.
    known = folder / f"known_hosts.{port}"
    host = (folder / "host.pub").read_text().split()
    known.write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    return {
        "type": "sftp",
        "host": "127.0.0.1",
        "port": str(port),
        "user": _user(),
        "key_file": str(folder / "user"),
        "known_hosts_file": str(known),
        "shell_type": "none",
    }


def _user() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()


SEAWEEDFS = Kind(
    "seaweedfs", ("rclone", "weed"), _weed, _s3("SeaweedFS"), 8, BUCKET, _prepare_weed, is_plain=False
)
"""Honest: it refuses wrong checksums and heeds preconditions."""
MOTO = Kind("moto", ("rclone", "moto_server"), _moto, _s3("Other"), 1, BUCKET, is_plain=False)
"""It accepts wrong checksums."""
RCLONE_S3 = Kind(
    "rclone-s3",
    ("rclone",),
    serving("s3", "--auth-key", f"{KEY},{SECRET}"),
    _s3("Rclone"),
    bucket=BUCKET,
)
"""It ignores preconditions and overwrites."""
WEBDAV = Kind(
    "webdav",
    ("rclone",),
    # What somebody else did to an object must show at once, not after five minutes.
    serving("webdav", "--user", KEY, "--pass", SECRET, "--dir-cache-time", "0s"),
    _webdav,
)
"""It keeps half a file under the final name, and has no hashes."""
WSGIDAV = Kind(
    "wsgidav",
    ("rclone", "wsgidav"),
    _wsgidav,
    lambda _, port: {"type": "webdav", "vendor": "other", "url": f"http://127.0.0.1:{port}"},
)
"""Another WebDAV server, of Python."""
SSHD = Kind("sshd", ("rclone", "sshd"), _sshd, _sftp, prepare=_prepare_sshd, is_absolute=True)
"""OpenSSH's SFTP without a shell, as a NAS offers it."""

EVERY = (SEAWEEDFS, MOTO, RCLONE_S3, WEBDAV, WSGIDAV, SSHD)
