"""Serves a site until a signal; checks first that nobody can read it who should not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from camarchiver.domain.clip import Trees
from camarchiver.errors import EncoderError, StorageError, UsageError, explained, signal_code
from camarchiver.page.server import SHORTEST_TOKEN, Address, SiteServer
from camarchiver.runtime import signals
from camarchiver.runtime.extras import install_extra

if TYPE_CHECKING:
    import uvicorn

_WAIT = 0.2
"""Seconds between two looks whether the server has begun, or has ended by itself."""


class ServeOptions(Struct, frozen=True):
    """Where a site is served, and to whom."""

    address: Address
    allow_remote: bool
    token_file: Path | None

    def check(self) -> str:
        """The token, or an empty text if none is needed. Raises UsageError, StorageError, EncoderError."""
        if find_spec("starlette") is None or find_spec("uvicorn") is None:
            raise EncoderError(
                "page --serve needs Starlette and uvicorn, which are not installed",
                hint=install_extra("page"),
            )
        token = _token_in(self.token_file) if self.token_file is not None else ""
        if not self.address.is_local and not self.allow_remote:
            raise UsageError(
                f"{self.address.host} can be reached from other machines",
                hint="serve at 127.0.0.1 behind a web server that asks for a password, or add --allow-remote"
                " and --token-file",
            )
        if not self.address.is_local and not token:
            raise UsageError(
                "--allow-remote needs a password that others can't guess",
                hint="write one into a file and add --token-file FILE",
            )
        return token


def _token_in(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = explained(error) if isinstance(error, OSError) else "is no text"
        raise StorageError(f"{path}: {words}", hint="name a file with a password") from error
    if len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"{path}: the password is too short", hint=f"use at least {SHORTEST_TOKEN} characters"
        )
    return token


def serve(
    options: ServeOptions, token: str, site: Path, trees: Trees, announce: Callable[[str], object]
) -> int:
    """Serve until a signal, and return the exit code. Raises StorageError if the address can't be used."""
    import uvicorn

    config = uvicorn.Config(
        SiteServer(site, trees, token),
        host=options.address.host,
        port=options.address.port,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    with signals.on_signals() as stop:
        # In a thread, because uvicorn takes over the signals of the main one.
        thread = threading.Thread(target=_run, args=(server,), daemon=True)
        thread.start()
        while thread.is_alive() and not server.started and not stop:
            stop.event.wait(_WAIT)
        if server.started:
            announce(f"serving {options.address.url} until Ctrl-C")
        while thread.is_alive() and not stop:
            stop.event.wait(_WAIT)
        server.should_exit = True
        thread.join()
        if stop.signal is None:
            raise StorageError(
                f"{options.address.url} can't be served", hint="another program may use that port"
            )
        return signal_code(stop.signal)


def _run(server: uvicorn.Server) -> None:
    # uvicorn prints why it could not begin, and leaves by an exception that would end a program.
    with contextlib.suppress(SystemExit):
        server.run()
