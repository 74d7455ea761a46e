"""A web server that answers as a test wants."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """A web server on loopback, and what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.answers: list[int] = []
        """Status codes of the next answers; 200 afterwards."""
        self.how = ""
        """`silent` or `trickles` where it does not answer as it should."""
        self.ended = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                web.heard.append((self.path, body.decode()))
                if web.how == "silent":
                    web.ended.wait(60)
                    return
                self.send_response(web.answers.pop(0) if web.answers else 200)
                self.send_header("Content-Length", "100" if web.how == "trickles" else "2")
                self.end_headers()
                while web.how == "trickles" and not web.ended.wait(0.2):
                    self.wfile.write(b"O")
                self.wfile.write(b"OK")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Leave nobody listening on its port."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
