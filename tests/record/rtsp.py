"""A loopback RTSP camera that misbehaves as real ones do."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from msgspec import Struct
from msgspec.structs import replace

_PAYLOAD_BYTES = 1300
"""Larger units are sent in fragments (RFC 6184 section 5.8, RFC 7798 section 4.4.3)."""
_NTP_EPOCH = 2208988800
_VIDEO_CLOCK = 90000
_PARAMETERS = {"h264": (7, 8), "hevc": (32, 33, 34), "mjpeg": ()}
_PAYLOAD_TYPES = {"h264": 96, "hevc": 96, "mjpeg": 26}


class Faults(Struct, frozen=True):
    """What is wrong with a camera. Times are seconds after PLAY, unless they say otherwise."""

    hang_up: float | None = None
    """Closes the connection."""
    until: threading.Event | None = None
    """Closes the connection once this is set, however long a busy machine takes until then."""
    stall: float | None = None
    """Sends nothing more, and keeps the connection."""
    parameters_in_sdp: bool = True
    parameters_in_stream: bool = True
    parameters_twice: int = 0
    """Every so many keyframes have their parameter sets twice."""
    keyframes_late: float = 0.0
    """No keyframe until then."""
    video_late: float = 0.0
    audio_late: float = 0.0
    sound: bool = True
    clock: float = 1.0
    """The clock of the pictures runs so much faster than time."""
    same_time: bool = False
    """Every picture has one timestamp."""
    jump: tuple[float, float] | None = None
    """When the timestamps of pictures and sound step, and by how much."""
    audio_jump: tuple[float, float] | None = None
    """The same of the sound alone."""
    audio_offset: float = 0.0
    """Seconds by which the sound's wall clock in sender reports is wrong."""
    reports: float = 5.0
    """Seconds between sender reports; 0 for none."""
    first_report: float = 0.0
    """No sender report until then."""
    burst: float = 0.0
    """Seconds of the past that are sent at once, from a keyframe on."""
    from_keyframe: bool = True
    """Begins with a keyframe."""
    other: Path | None = None
    """Its pictures are sent from `other_at` on, with a keyframe and parameter sets of their own."""
    other_at: float = 0.0
    login: str = ""
    """`USER:PASSWORD`, asked for by the digest scheme."""
    basic: bool = False
    """The login is asked for by the basic scheme."""
    codec_name: str = ""
    """Stands in the SDP in place of the video's."""
    sessions: int = 0
    """So many at most; one without TEARDOWN is held for half a minute."""
    displaces: bool = False
    """A session ends the one before."""
    keepalive: int = 0
    """Seconds without a request after which it hangs up, as it says in the session; 0 never."""
    redirect: bool = False
    """The address only says where the camera is."""
    rtp_info: bool = False
    """PLAY is answered with timestamps that begin with 0, which they do not."""
    first_stamp: int | None = None
    """The first timestamp; they wrap at 2 to the power of 32."""
    wall_step: tuple[float, float] | None = None
    """When the wall clock in sender reports steps, and by how much."""
    metadata: bool = False
    """It has a track of ONVIF metadata, too."""
    markers: bool = True
    """A picture's last packet is marked."""
    lost_video: tuple[int, ...] = ()
    """Numbers of packets of pictures that are not sent."""
    broken_video: tuple[int, ...] = ()
    """Numbers of packets of pictures some of whose bytes are wrong."""
    refreshes: int = 0
    """Pictures from one that begins a gradual refresh to the next; HEVC, whose encoders announce none."""
    udp_only: bool = False
    """Sends nothing within the connection."""
    broken_sound: tuple[int, ...] = ()
    """Numbers of sound packets that hold nonsense."""
    lost_sound: tuple[int, ...] = ()
    """Numbers of sound packets that are not sent."""
    twice_sound: tuple[int, ...] = ()
    """Numbers of sound packets that are sent twice."""


class _Unit(Struct, frozen=True):
    """One picture or one frame of sound."""

    order: float
    at: float
    video: bool
    key: bool
    parts: tuple[bytes, ...]
    """NAL units, or the sound's bytes."""
    number: int
    """Pictures sent before it."""


class _Scene(Struct, frozen=True):
    """What a clip holds, ready to be sent over and over."""

    codec: str
    parameters: tuple[bytes, ...]
    units: tuple[_Unit, ...]
    length: float
    sound: str
    rate: int
    channels: int
    sound_header: bytes


def _scene(path: Path) -> _Scene:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        codec = video.codec_context.codec.canonical_name
        annex_b = BitStreamFilterContext(f"{codec}_mp4toannexb" if _PARAMETERS[codec] else "null", video)
        units: list[_Unit] = []
        pictures = 0
        length = 0.0
        parameters: dict[bytes, None] = {}
        for packet in container.demux([one for one in (video, audio) if one]):
            if not packet.size:
                continue
            at, order = (float((moment or 0) * packet.time_base) for moment in (packet.pts, packet.dts))
            key, is_video = packet.is_keyframe, packet.stream is video
            parts = (bytes(packet),)
            if is_video and _PARAMETERS[codec]:
                parts = tuple(part for one in annex_b.filter(packet) for part in _nal_units(bytes(one)))
                found = [part for part in parts if _kind(part, codec) in _PARAMETERS[codec]]
                parameters.update(dict.fromkeys(found))
                parts = tuple(part for part in parts if part not in parameters)
            if not is_video:
                # sound is sent once it was recorded; the last packet may be cut
                length = max(length, float((packet.duration or 0) * packet.time_base))
                order = at + length
            units.append(_Unit(order, at, is_video, key, parts, pictures))
            pictures += is_video
        # and so are pictures, though some are shown after those that are sent later
        early = max(unit.at - unit.order for unit in units if unit.video)
        units = [replace(unit, order=unit.order + early) if unit.video else unit for unit in units]
        frames = sum(unit.video for unit in units)
        length = frames / float(video.average_rate or 15)
        context = audio.codec_context if audio else None
        return _Scene(
            codec,
            tuple(parameters),
            tuple(sorted(units, key=lambda unit: unit.order)),
            length,
            context.codec.canonical_name if context else "",
            context.sample_rate if context else 0,
            context.layout.nb_channels if context else 0,
            (context.extradata or b"")[:2] if context else b"",
        )


def _nal_units(data: bytes) -> tuple[bytes, ...]:
    return tuple(part for part in re.split(rb"\x00*\x00\x00\x01", data) if part)


def _kind(unit: bytes, codec: str) -> int:
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def _fragments(unit: bytes, codec: str) -> Iterator[bytes]:
    if codec == "mjpeg":
        yield from _parts_of_jpeg(unit)
        return
    if len(unit) <= _PAYLOAD_BYTES:
        yield unit
        return
    if codec == "h264":
        kind, body = unit[0] & 31, unit[1:]
        head = bytes([unit[0] & 0xE0 | 28])
    else:
        kind, body = unit[0] >> 1 & 63, unit[2:]
        head = bytes([unit[0] & 0x81 | 49 << 1, unit[1]])
    for place in range(0, len(body), _PAYLOAD_BYTES):
        first = 0x80 if place == 0 else 0
        last = 0x40 if place + _PAYLOAD_BYTES >= len(body) else 0
        yield head + bytes([first | last | kind]) + body[place : place + _PAYLOAD_BYTES]


def _parts_of_jpeg(picture: bytes) -> Iterator[bytes]:
    """A JPEG with 4:2:0 pixels and the usual Huffman tables, without its headers (RFC 2435)."""
    place, tables, width, height = 2, b"", 0, 0
    while picture[place + 1] != 0xDA:
        kind, size = picture[place + 1], int.from_bytes(picture[place + 2 : place + 4])
        body = picture[place + 4 : place + 2 + size]
        if kind == 0xDB:
            tables += b"".join(body[at + 1 : at + 65] for at in range(0, len(body), 65))
        if kind == 0xC0:
            height, width = struct.unpack_from(">HH", body, 1)
        place += 2 + size
    scan = picture[place + 2 + int.from_bytes(picture[place + 2 : place + 4]) : -2]
    tables = (tables * 2)[:128]
    for offset in range(0, len(scan), _PAYLOAD_BYTES):
        head = struct.pack(">IBBBB", offset, 1, 255, width // 8, height // 8)
        more = struct.pack(">BBH", 0, 0, len(tables)) + tables if not offset else b""
        yield head + more + scan[offset : offset + _PAYLOAD_BYTES]


def _recovery_point(pictures: int) -> bytes:
    """A unit of HEVC that says how many pictures follow until one is whole (H.265 section D.2.8)."""
    number = bin(2 * pictures)[2:]
    bits = "0" * (len(number) - 1) + number + "10" + "1"
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8)
    return bytes([39 << 1, 1, 6, len(body)]) + body + b"\x80"


class RtspServer:
    """The camera; it answers until it is closed, and shows everyone the same scene."""

    def __init__(self, clip: Path, faults: Faults | None = None, *, port: int = 0, since: float = 0) -> None:
        """`since` is when the scene began, in seconds of the monotonic clock; 0 begins it with each PLAY."""
        self.faults = faults or Faults()
        """May be replaced while it runs; who is connected keeps what was."""
        self.scene = _scene(clip)
        self.since = since
        self.requests: list[str] = []
        """The methods that were asked for."""
        self.held: dict[str, float] = {}
        """When each session ends, in seconds of the monotonic clock."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(20)
        self.port = int(self._listener.getsockname()[1])
        self._clients: list[_Client] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="rtsp server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, without a login."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch it off; whoever is connected is cut off."""
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for client in self._clients:
            client.hang_up()
            client.join()

    def end_others(self, newest: _Client) -> None:
        """Hang up on everybody else."""
        for client in self._clients:
            if client is not newest:
                client.hang_up()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._clients = [client for client in self._clients if client.is_alive()]
            self._clients.append(_Client(self, connection))
            self._clients[-1].start()


class _Client(threading.Thread):
    """One connection, and the player that it started."""

    def __init__(self, server: RtspServer, connection: socket.socket) -> None:
        super().__init__(daemon=True)
        self._server, self._connection = server, connection
        self._faults, self._scene = server.faults, server.scene
        self._session = secrets.token_hex(4)
        self._nonce = secrets.token_hex(8)
        self._channels: dict[str, int] = {}
        """Of each track, the channel within the connection or the port, with the next one for reports."""
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._asked = time.monotonic()
        """The last request, in seconds of the monotonic clock."""
        self._player: threading.Thread | None = None

    def hang_up(self) -> None:
        self._over.set()
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def run(self) -> None:
        try:
            self._serve()
        except OSError:
            pass
        finally:
            self.hang_up()
            if self._player is not None:
                self._player.join()
            self._connection.close()
            self._datagrams.close()

    def _serve(self) -> None:
        waiting = b""
        while more := self._connection.recv(65536):
            waiting += more
            while waiting:
                if waiting[:1] == b"$":
                    size = 4 + int.from_bytes(waiting[2:4])
                    if len(waiting) < size:
                        break
                    waiting = waiting[size:]
                    continue
                head, end, rest = waiting.partition(b"\r\n\r\n")
                if not end:
                    break
                waiting = rest
                self._answer(head.decode())

    def _answer(self, head: str) -> None:
        method, url, _ = head.split("\r\n")[0].split(" ", 2)
        fields = {
            name.lower(): text.strip()
            for name, _, text in (line.partition(":") for line in head.split("\r\n"))
        }
        self._server.requests.append(method)
        self._asked = time.monotonic()
        sequence = fields["cseq"]
        session = f"Session: {self._session}"
        if method == "OPTIONS":
            self._reply(sequence, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif not self._knows(method, fields.get("authorization", "")):
            scheme = (
                'Basic realm="cam"' if self._faults.basic else f'Digest realm="cam", nonce="{self._nonce}"'
            )
            self._reply(sequence, f"WWW-Authenticate: {scheme}", status="401 Unauthorized")
        elif method == "DESCRIBE" and self._faults.redirect and "/moved" not in url:
            self._reply(sequence, f"Location: {self._server.url}/moved", status="302 Moved Temporarily")
        elif method == "DESCRIBE":
            self._reply(sequence, f"Content-Base: {url}/", body=self._sdp())
        elif method == "SETUP":
            self._set_up(sequence, url, fields["transport"])
        elif method == "PLAY":
            stamps = ",".join(f"url={url.rstrip('/')}/{track};seq=0;rtptime=0" for track in self._channels)
            self._reply(sequence, session, *([f"RTP-Info: {stamps}"] if self._faults.rtp_info else []))
            self._player = threading.Thread(target=self._play, daemon=True)
            self._player.start()
        elif method == "TEARDOWN":
            self._over.set()
            self._server.held.pop(self._session, None)
            self._reply(sequence, session)
        else:
            self._reply(sequence, session)

    def _set_up(self, sequence: str, url: str, transport: str) -> None:
        now = time.monotonic()
        held = [name for name, end in self._server.held.items() if name != self._session and end > now]
        asked = re.search(
            r"client_port=(\d+)-" if self._faults.udp_only else r"interleaved=(\d+)-", transport
        )
        if self._faults.displaces:
            self._server.end_others(self)
        if self._faults.sessions and len(held) >= self._faults.sessions:
            self._reply(sequence, status="453 Not Enough Bandwidth")
        elif asked is None:
            self._reply(sequence, status="461 Unsupported Transport")
        else:
            self._server.held[self._session] = now + 30
            self._channels[url.rsplit("/", 1)[1]] = int(asked[1])
            port = ";server_port=9000-9001" if self._faults.udp_only else ""
            self._reply(
                sequence,
                f"Transport: {transport}{port}",
                f"Session: {self._session};timeout={self._faults.keepalive or 60}",
            )

    def _knows(self, method: str, answer: str) -> bool:
        if not self._faults.login:
            return True
        if self._faults.basic:
            return base64.b64decode(answer.removeprefix("Basic ")).decode() == self._faults.login
        user, _, password = self._faults.login.partition(":")
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', answer))
        secret, asked = (
            hashlib.md5(text.encode()).hexdigest()
            for text in (f"{user}:cam:{password}", f"{method}:{said.get('uri', '')}")
        )
        return said.get("response") == hashlib.md5(f"{secret}:{self._nonce}:{asked}".encode()).hexdigest()

    def _reply(self, sequence: str, *fields: str, status: str = "200 OK", body: str = "") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {sequence}", *fields]
        if body:
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        self._send(
            "\r\n".join([*lines, "", body]).encode() if body else "\r\n".join([*lines, "", ""]).encode()
        )

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._connection.sendall(data)

    def _sdp(self) -> str:
        scene, faults = self._scene, self._faults
        name = faults.codec_name or {"h264": "H264", "hevc": "H265", "mjpeg": "JPEG"}[scene.codec]
        kind = _PAYLOAD_TYPES[scene.codec]
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "t=0 0", "a=control:*"]
        lines += [f"m=video 0 RTP/AVP {kind}", f"a=rtpmap:{kind} {name}/{_VIDEO_CLOCK}"]
        sets = [base64.b64encode(one).decode() for one in scene.parameters]
        if scene.codec == "h264":
            told = f";sprop-parameter-sets={','.join(sets)}" if faults.parameters_in_sdp else ""
            lines.append(f"a=fmtp:96 packetization-mode=1{told}")
        elif faults.parameters_in_sdp and sets:
            names = ("sprop-vps", "sprop-sps", "sprop-pps")
            lines.append("a=fmtp:96 " + ";".join(map("=".join, zip(names, sets, strict=False))))
        lines.append("a=control:video")
        if scene.sound and faults.sound:
            lines += self._sound_lines()
        if faults.metadata:
            lines += ["m=application 0 RTP/AVP 107", "a=rtpmap:107 vnd.onvif.metadata/90000"]
            lines += ["a=control:metadata"]
        return "\r\n".join(lines) + "\r\n"

    def _sound_lines(self) -> list[str]:
        scene = self._scene
        described = {
            "aac": (
                f"a=rtpmap:97 mpeg4-generic/{scene.rate}/{scene.channels}",
                "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;"
                f"indexdeltalength=3;config={scene.sound_header.hex()}",
            ),
            "opus": ("a=rtpmap:97 opus/48000/2",),
            "pcm_alaw": ("a=rtpmap:97 PCMA/8000",),
            "pcm_mulaw": ("a=rtpmap:97 PCMU/8000",),
            "mp3": ("a=rtpmap:97 MPA/90000",),
        }
        return ["m=audio 0 RTP/AVP 97", *described[scene.sound], "a=control:audio"]

    def _play(self) -> None:
        try:
            Player(self._faults, self._scene, self._server.since, self._over, self._packet).run()
        except OSError:
            return
        if not self._over.is_set():
            self.hang_up()

    def _packet(self, track: str, data: bytes, *, control: bool = False) -> None:
        if self._faults.keepalive and time.monotonic() - self._asked > self._faults.keepalive:
            raise ConnectionAbortedError
        if track in self._channels and self._faults.udp_only:
            self._datagrams.sendto(data, ("127.0.0.1", self._channels[track] + control))
        elif track in self._channels:
            self._send(struct.pack(">cBH", b"$", self._channels[track] + control, len(data)) + data)


class Player:
    """Sends the scene in real time, with every fault."""

    def __init__(
        self, faults: Faults, scene: _Scene, since: float, over: threading.Event, packet: Any
    ) -> None:
        self._faults, self._scene, self._over, self._packet = faults, scene, over, packet
        self._began = time.monotonic()
        self._since = since or self._began + faults.burst
        self._other = _scene(faults.other) if faults.other else None
        self._shown = scene
        self._numbers = dict.fromkeys(("video", "audio", "metadata"), 0)
        self._sources = {track: secrets.randbits(32) for track in self._numbers}
        self._offsets = {
            track: secrets.randbits(32) if faults.first_stamp is None else faults.first_stamp
            for track in self._numbers
        }
        self._reported = dict.fromkeys(self._numbers, float("-inf"))
        self._wall = 0.0
        """The wall time of the first unit, in seconds since 1970."""
        self._keys = self._sounds = self._video_packets = 0
        self._withheld = False

    def run(self) -> None:
        """Until the camera hangs up or nobody listens any more."""
        faults = self._faults
        first = self._begin()
        base: float | None = None
        for order, unit in self._units(first):
            if self._over.wait(max(0.0, self._since + order - time.monotonic())):
                return
            passed = time.monotonic() - self._began
            if faults.hang_up is not None and passed > faults.hang_up:
                return
            if faults.until is not None and faults.until.is_set():
                return
            if faults.stall is not None and passed > faults.stall:
                self._over.wait()
                return
            if base is None:
                base = order
                self._wall = time.time() - time.monotonic() + self._since + base
            if not self._is_withheld(unit, passed):
                self._unit(unit, order - base + unit.at - unit.order, passed)

    def _begin(self) -> float:
        """The moment of the scene with which it begins, in seconds."""
        now = time.monotonic() - self._since
        if not self._faults.from_keyframe:
            return now
        keys = [
            loop * self._scene.length + unit.order
            for loop in range(int(now // self._scene.length) - 1, int(now // self._scene.length) + 2)
            for unit in self._scene.units
            if unit.key and unit.video
        ]
        # a burst reaches from the last keyframe before it to now; otherwise the next keyframe is waited for
        if self._faults.burst:
            return max(key for key in keys if key <= now + 0.001)
        return min(key for key in keys if key >= now - 0.001)

    def _units(self, first: float) -> Iterator[tuple[float, _Unit]]:
        length = self._scene.length
        for loop in itertools.count(int(first // length)):
            for unit in self._scene.units:
                order = loop * length + unit.order
                if order >= first - 1e-6:
                    yield order, unit

    def _is_withheld(self, unit: _Unit, passed: float) -> bool:
        faults = self._faults
        if not unit.video:
            return not faults.sound or passed < faults.audio_late
        if unit.key:
            self._withheld = passed < faults.keyframes_late
        return passed < faults.video_late or (unit.key and self._withheld)

    def _unit(self, unit: _Unit, at: float, passed: float) -> None:
        faults = self._faults
        track, clock = ("video", _VIDEO_CLOCK) if unit.video else ("audio", self._sound_clock())
        jumps = (faults.jump, None if unit.video else faults.audio_jump)
        shown = at + sum(jump[1] for jump in jumps if jump is not None and passed > jump[0])
        if unit.video:
            shown = 0.0 if faults.same_time else shown * faults.clock
        stamp = (self._offsets[track] + round(shown * clock)) & 0xFFFFFFFF
        self._report(track, stamp, at)
        if unit.video:
            parts = [
                part for one in self._pictures(unit, passed) for part in _fragments(one, self._shown.codec)
            ]
            for number, part in enumerate(parts):
                is_last = number == len(parts) - 1
                kind = _PAYLOAD_TYPES[self._shown.codec]
                self._rtp(track, kind, stamp, part, marker=is_last and faults.markers)
            if faults.metadata and unit.key:
                self._rtp("metadata", 107, stamp, b"<tt:MetadataStream/>", marker=True)
        else:
            self._sound(unit.parts[0], stamp)

    def _pictures(self, unit: _Unit, passed: float) -> tuple[bytes, ...]:
        changed = False
        if self._other is not None and self._shown is not self._other and passed > self._faults.other_at:
            changed = self._alike(self._other, unit).key
            self._shown = self._other if changed else self._shown
        shown = unit if self._shown is self._scene else self._alike(self._shown, unit)
        refreshes = self._faults.refreshes
        if refreshes and not shown.key and shown.number % refreshes == 0:
            return (*self._shown.parameters, _recovery_point(refreshes), *shown.parts)
        if not shown.key or not (self._faults.parameters_in_stream or changed):
            return shown.parts
        self._keys += 1
        twice = self._faults.parameters_twice
        times = 2 if twice and self._keys % twice == 0 else 1
        return (*self._shown.parameters * times, *shown.parts)

    @staticmethod
    def _alike(scene: _Scene, unit: _Unit) -> _Unit:
        """The picture of another scene at that moment."""
        pictures = [one for one in scene.units if one.video]
        return next((one for one in pictures if one.order >= unit.order - 1e-3), pictures[-1])

    def _sound(self, data: bytes, stamp: int) -> None:
        self._sounds += 1
        if self._sounds in self._faults.lost_sound:
            return
        if self._sounds in self._faults.broken_sound:
            data = b"\xff" * len(data)
        heads = {"aac": struct.pack(">HH", 16, len(data) << 3 & 0xFFFF), "mp3": bytes(4)}
        for _ in range(2 if self._sounds in self._faults.twice_sound else 1):
            self._rtp("audio", 97, stamp, heads.get(self._scene.sound, b"") + data, marker=True)

    def _sound_clock(self) -> int:
        return {"mp3": 90000, "opus": 48000}.get(self._scene.sound, self._scene.rate)

    def _rtp(self, track: str, kind: int, stamp: int, payload: bytes, *, marker: bool) -> None:
        self._numbers[track] = self._numbers[track] + 1 & 0xFFFF
        self._video_packets += track == "video"
        if track == "video" and self._video_packets in self._faults.lost_video:
            return
        if track == "video" and self._video_packets in self._faults.broken_video:
            middle = len(payload) // 2
            payload = payload[:middle] + bytes(each ^ 0x55 for each in payload[middle:])
        head = (0x80, kind | 0x80 * marker, self._numbers[track], stamp, self._sources[track])
        self._packet(track, struct.pack(">BBHII", *head) + payload)

    def _report(self, track: str, stamp: int, at: float) -> None:
        """A sender report (RFC 3550 section 6.4.1): which wall time belongs to a timestamp."""
        now = time.monotonic()
        if not self._faults.reports or now - self._reported[track] < self._faults.reports:
            return
        if now - self._began < self._faults.first_report:
            return
        self._reported[track] = now
        wall = self._wall + at + (self._faults.audio_offset if track == "audio" else 0.0)
        step = self._faults.wall_step
        wall += step[1] if step is not None and now - self._began > step[0] else 0.0
        seconds, share = divmod(Fraction(wall), 1)
        words = (_NTP_EPOCH + int(seconds), int(share * (1 << 32)), stamp, 0, 0)
        self._packet(
            track, struct.pack(">BBHIIIIII", 0x80, 200, 6, self._sources[track], *words), control=True
        )
