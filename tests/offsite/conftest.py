"""Fixtures of the tests of off-site copies."""

from __future__ import annotations

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
