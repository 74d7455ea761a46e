"""Off-site copies against real servers on loopback, each with its own faults."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.offsite import servers
from tests.offsite.proxy import Proxy, ProxyFault, Trouble
from tests.offsite.servers import Kind, Rclone, Server

pytestmark = pytest.mark.timeout(120)

Serve = Callable[[Kind], Server]
Proxied = Callable[[Server], Proxy]

DATA = bytes(range(256)) * 1000


class TestServers:
    """What the other tests and the sweep take for granted of the servers."""

    @pytest.mark.parametrize(
        "kind", [each for each in servers.EVERY if each.name != "seaweedfs"], ids=lambda kind: kind.name
    )
    def test_objects_come_and_go(self, serve: Serve, tmp_path: Path, kind: Kind) -> None:
        server = serve(kind)
        rclone = Rclone.of(tmp_path, {"r": server.settings()})
        rclone.write(server.path("r", "a/b.mp4"), DATA)
        assert rclone.objects(server.path("r")) == {"a/b.mp4": len(DATA)}
        assert not kind.is_plain or (server.data / "a/b.mp4").read_bytes() == DATA
        rclone.delete(server.path("r", "a/b.mp4"))
        assert rclone.objects(server.path("r")) == {}

    def test_the_honest_server_keeps_what_it_got(self, seaweedfs: Server, tmp_path: Path) -> None:
        rclone = Rclone.of(tmp_path, {"r": seaweedfs.settings()})
        rclone.write(seaweedfs.path("r", "own/b.mp4"), DATA)
        assert rclone.read(seaweedfs.path("r", "own/b.mp4")) == DATA

    def test_a_killed_server_comes_back_with_its_objects(self, serve: Serve, tmp_path: Path) -> None:
        server = serve(servers.WEBDAV)
        rclone = Rclone.of(tmp_path, {"r": server.settings()})
        rclone.write(server.path("r", "b.mp4"), DATA)
        server.kill()
        assert rclone.run(
            "cat", server.path("r", "b.mp4"), "--low-level-retries", "1", check=False
        ).returncode
        server.start()
        assert rclone.read(server.path("r", "b.mp4")) == DATA


class TestProxy:
    """A connection meets the fault that was asked for, at its byte."""

    def _through(self, proxy: Proxy, data: bytes, listener: socket.socket) -> bytes:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                arrived = bytearray()
                while block := server.recv(65536):
                    arrived += block
                return bytes(arrived)

    def test_it_passes_on_what_it_gets(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            assert self._through(proxy, DATA, listener) == DATA

    def test_it_flips_one_bit_once(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.FLIP, 70000))
            arrived = self._through(proxy, DATA, listener)
            assert [
                place for place, pair in enumerate(zip(arrived, DATA, strict=True)) if pair[0] != pair[1]
            ] == [70000]
            assert self._through(proxy, DATA, listener) == DATA

    def test_it_cuts(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.CUT, 70000))
            with pytest.raises(OSError):
                self._through(proxy, DATA, listener)
            assert proxy.met == 1

    def test_it_stalls_until_the_fault_ends(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.STALL, 0))
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
                server, _ = listener.accept()
                with server:
                    server.settimeout(0.5)
                    client.sendall(b"x")
                    with pytest.raises(TimeoutError):
                        server.recv(1)
                    server.settimeout(5)
                    proxy.fail(None)
                    assert server.recv(1) == b"x"

    def test_it_slows_down(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, Proxy(listener.getsockname()[1]) as proxy:
            proxy.fail(ProxyFault(Trouble.SLOW, 0, times=-1, rate=len(DATA) * 2))
            began = time.monotonic()
            assert self._through(proxy, DATA, listener) == DATA
            assert time.monotonic() - began > 0.4
