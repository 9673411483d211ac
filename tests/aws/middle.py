"""Somebody in the middle, who changes one thing about every request, or nothing."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """A request on its way. Headers keep order and spelling."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str, change: Callable[[str], str]) -> None:
        """Changes the value of a header that has to be there."""
        assert any(key.lower() == name for key, _ in self.headers), self.headers
        self.headers = [(key, change(value) if key.lower() == name else value) for key, value in self.headers]


Change = Callable[[Request], None]


def nothing(request: Request) -> None:
    """Leaves it as it is."""


@dataclass
class Middle:
    """Listens on a port of its own, and passes everything on to the door."""

    door: int
    change: Change = nothing
    port: int = field(init=False)

    def __post_init__(self) -> None:
        middle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(self.command, self.path, list(self.headers.items()), body)
                middle.change(request)
                status, headers, said = middle.send(request)
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST = do_DELETE = handle_any

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        self.server = server
        threading.Thread(target=server.serve_forever, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """As it is written, `Host` included: nothing here may make a request right or wrong by itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.door, timeout=10)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value)
            connection.endheaders(request.body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        self.server.shutdown()
