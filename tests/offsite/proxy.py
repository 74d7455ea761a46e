"""A TCP proxy on loopback that cuts, flips a bit, stalls or slows down after a number of bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

_CHUNK = 16384


class Trouble(StrEnum):
    """What happens to a connection."""

    CUT = "cut"
    """Both of its ends are reset."""
    FLIP = "flip"
    """One bit of one byte is another."""
    STALL = "stall"
    """Nothing more comes through, and the connection stays."""
    SLOW = "slow"
    """What comes through afterwards is limited to `rate`."""


@dataclass(frozen=True)
class ProxyFault:
    """One fault."""

    trouble: Trouble
    after: int
    """Bytes that come through before it, over all connections."""
    upward: bool = True
    """Whether it concerns what the client sends, or else what the server sends."""
    times: int = 1
    """How often it happens, each time after so many bytes; -1 for ever."""
    rate: int = 65536
    """Bytes per second of `SLOW`."""


class Proxy:
    """Listens on a port of its own and passes on to another one."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._fault: ProxyFault | None = None
        self._left = 0
        self._times = 0
        self._sockets: set[socket.socket] = set()
        self._closed = threading.Event()
        self.met = 0
        """How often the fault happened."""
        self.passed = {True: 0, False: 0}
        """Bytes that came through, upward and downward."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fail(self, fault: ProxyFault | None) -> None:
        """From now on there is this fault, or none; connections that stall go on."""
        with self._lock:
            self._fault = fault
            self._left, self._times = (fault.after, fault.times) if fault else (0, 0)
            self.met = 0

    def await_met(self, seconds: float) -> bool:
        """Wait until the fault happened; False if it did not in that time."""
        deadline = time.monotonic() + seconds
        while not self.met and time.monotonic() < deadline:
            time.sleep(0.005)
        return bool(self.met)

    def close(self) -> None:
        """Leave nobody listening, and reset every connection."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets = tuple(self._sockets)
        self._reset(*sockets)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), 5)
                server.settimeout(None)
            except OSError:
                self._reset(client)
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, target, upward in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, upward), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, upward: bool) -> None:
        try:
            while data := source.recv(_CHUNK):
                passed = self._through(data, upward)
                if passed is None:
                    self._reset(source, target)
                    return
                target.sendall(passed)
            with self._lock:
                if source in self._sockets:
                    target.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(source, target)

    def _reset(self, *sockets: socket.socket) -> None:
        """Close without a goodbye, so that the other end sees an error."""
        with self._lock:
            self._sockets.difference_update(sockets)
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # It ends a `recv` of another thread, and sends nothing, as closing both directions would.
                    each.shutdown(socket.SHUT_RD)
                each.close()

    def _through(self, data: bytes, upward: bool) -> bytes | None:
        """What comes through of some bytes; None if the connection is cut."""
        with self._lock:
            self.passed[upward] += len(data)
            fault = self._fault
            if fault is None or fault.upward is not upward or self._times == 0:
                return data
            if len(data) <= self._left:
                self._left -= len(data)
                return data
            place, self.met = self._left, self.met + 1
            if fault.trouble is not Trouble.SLOW:
                self._left, self._times = fault.after, self._times - 1
        match fault.trouble:
            case Trouble.CUT:
                return None
            case Trouble.FLIP:
                changed = bytearray(data)
                changed[place] ^= 1
                return bytes(changed)
            case Trouble.STALL:
                while self._fault is fault and not self._closed.wait(0.05):
                    pass
                return None if self._closed.is_set() else data
            case Trouble.SLOW:
                time.sleep(len(data) / fault.rate)
                return data
