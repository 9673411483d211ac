"""Two MCP servers in one process, on the standard library: `open` for everybody, `mine` for who has a token that
lives for three seconds; and the token endpoint for it, which gives each refresh token once and takes it once."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs

from serving import QuietHandler, serve

LIFE = 3


class Servers:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.description = "One."
        self.calls = 0
        self.number = 0
        self.access: dict[str, float] = {}
        self.refresh: set[str] = set()
        self.used: list[str] = []
        servers = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                servers.answer(self, self.path, body)

            def do_GET(self) -> None:
                self.send(405, {})

            def send(self, status: int, value: Any) -> None:
                text = json.dumps(value).encode() if value is not None else b""
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server, self.url = serve(Handler)

    def grant(self) -> dict[str, Any]:
        """Fresh tokens. Call it with the lock."""
        self.number += 1
        access, refresh = f"access-{self.number}", f"refresh-{self.number}"
        self.access[access] = time.time() + LIFE
        self.refresh.add(refresh)
        return {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": LIFE}

    def answer(self, handler: Any, path: str, body: bytes) -> None:
        if path == "/token":
            form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            with self.lock:
                token = form.get("refresh_token", "")
                self.used.append(token)
                if token not in self.refresh:
                    return handler.send(400, {"error": "invalid_grant"})
                self.refresh.remove(token)
                granted = self.grant()
            # Slow enough for others to come meanwhile.
            time.sleep(0.05)
            return handler.send(200, granted)
        if path == "/mine":
            token = handler.headers.get("authorization", "").removeprefix("Bearer ")
            if self.access.get(token, 0) < time.time():
                return handler.send(401, {})
        message = json.loads(body)
        if "id" not in message:
            return handler.send(202, None)
        handler.send(200, {"jsonrpc": "2.0", "id": message["id"], **self.result(message)})

    def result(self, message: dict[str, Any]) -> dict[str, Any]:
        match message["method"]:
            case "initialize":
                info = {"name": "upstream", "version": "1"}
                version = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
                return {"result": version}
            case "tools/list":
                tool = {"name": "echo", "description": self.description, "inputSchema": {"type": "object"}}
                return {"result": {"tools": [tool]}}
            case "tools/call":
                with self.lock:
                    self.calls += 1
                return {"result": {"content": [{"type": "text", "text": "echo"}]}}
            case "ping":
                return {"result": {}}
            case method:
                return {"error": {"code": -32601, "message": f"no {method}"}}
