"""Serves a site and the clips that it links to over HTTP, to be read only.

The address of a file is its path on disk, because the pages have relative links that lead out of the site.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from camarchiver.domain.clip import Trees
from camarchiver.errors import CamarchiverError, UsageError
from camarchiver.naming.formats import is_clip_name
from camarchiver.storage import anchored

if TYPE_CHECKING:
    from starlette.responses import Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SHORTEST_TOKEN = 16
"""Characters."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
}
"""The files of a site that are served."""
_CLIP_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mkv": "video/x-matroska", ".webm": "video/webm"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-cache",
}


class Address(Struct, frozen=True):
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`. Raises UsageError."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
            raise UsageError(f"{text!r} is no address to serve at", hint="write for example 127.0.0.1:8080")
        return cls(host, int(port))

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can reach it."""
        return is_local_name(self.host)

    @property
    def url(self) -> str:
        """For a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


def is_local_name(host: str) -> bool:
    """Whether a name or number always means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class SiteServer:
    """An ASGI application: GET and HEAD for files of the site and for clips, and nothing else.

    Without a token it answers only requests for a local name, so that no website can reach it through a name
    of its own that leads here (DNS rebinding).
    """

    def __init__(self, site: Path, trees: Trees, token: str = "") -> None:
        self._site = site
        self._roots = (trees.archive, trees.trash, trees.source)
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            status, words, more = refusal
            response: Response = PlainTextResponse(words, status, {**_HEADERS, **more})
            await response(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    def _refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str, Mapping[str, str]] | None:
        """Status, words and headers for a request that is not answered."""
        if self._token:
            if not self._knows_token(headers.get("authorization", "")):
                return 401, "a password is needed", {"www-authenticate": 'Basic realm="camarchiver"'}
        elif not is_local_name(_host_of(headers.get("host", ""))):
            return 403, "only for local names", {}
        if method not in ("GET", "HEAD"):
            return 405, "only to be read", {"allow": "GET, HEAD"}
        return None

    def _knows_token(self, authorization: str) -> bool:
        """Whether the password of HTTP's basic authentication is the token; the user's name is not used."""
        kind, _, value = authorization.partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            password = base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(password, self._token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        from anyio.to_thread import run_sync
        from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse

        path = os.fsdecode(unquote_to_bytes(scope.get("raw_path", b"/").partition(b"?")[0]))
        if path == "/":
            index = quote(os.fsencode(self._site / "index.html"))
            await RedirectResponse(index, 307, _HEADERS)(scope, receive, send)
            return
        found = await run_sync(self._open, path)
        if found is None:
            await PlainTextResponse("not found", 404, _HEADERS)(scope, receive, send)
            return
        stream, kind = found
        with stream:
            # By its descriptor: whatever happens to the path meanwhile, this is the file that was examined.
            status = os.fstat(stream.fileno())
            place = f"/proc/self/fd/{stream.fileno()}"
            await FileResponse(place, 200, _HEADERS, kind, stat_result=status)(scope, receive, send)

    def _open(self, path: str) -> tuple[BufferedReader, str] | None:
        """A file that may be served, and its type. No link is followed below the site and the trees."""
        if "\0" in path:
            return None
        for root, kind_of in ((self._site, _site_type), *((root, _clip_type) for root in self._roots)):
            prefix = f"{root}/"
            if path.startswith(prefix):
                relative = path.removeprefix(prefix)
                kind = kind_of(relative)
                if kind is None:
                    continue
                try:
                    return anchored.open_file(root, relative), kind
                except (OSError, CamarchiverError, ValueError):
                    continue
        return None


def _site_type(relative: str) -> str | None:
    return _TYPES.get(PurePosixPath(relative).suffix) if _is_plain(relative) else None


def _clip_type(relative: str) -> str | None:
    """The type of a clip in a tree; None for every other file, and for all that is hidden."""
    if not _is_plain(relative) or not is_clip_name(relative.rpartition("/")[2]):
        return None
    return _CLIP_TYPES.get(PurePosixPath(relative).suffix.lower(), "application/octet-stream")


def _is_plain(relative: str) -> bool:
    """Whether no part of a path is hidden, empty or leads elsewhere."""
    return all(part and not part.startswith(".") for part in relative.split("/"))


def _host_of(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
