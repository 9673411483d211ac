"""A caller of weir in either era, with the bytes that the checks need."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlparse

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
PREFIX = "io.modelcontextprotocol/"


class Caller:
    """A caller; a legacy one opens its session with the first call."""

    def __init__(self, url: str, era: str) -> None:
        self.url, self.era = urlparse(url), era
        self.session: dict[str, str] = {}
        self.number = 0

    def send(self, method: str, params: dict[str, Any], meta: dict[str, Any] | None = None, headers: dict[str, str] | None = None,
             timeout: float = 30) -> Any:
        """The response; `None` if there is none in time, and the connection is closed then."""
        if self.era == "legacy" and not self.session and method != "initialize":
            self.open()
        self.number += 1
        meta, more = dict(meta or {}), {}
        if self.era == "modern":
            meta |= {PREFIX + "protocolVersion": MODERN, PREFIX + "clientCapabilities": {}}
            more = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            name = params.get("name") or params.get("uri")
            if name:
                more["Mcp-Name"] = name
        if meta:
            params = {**params, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        return self.post(message, {**more, **(headers or {})}, timeout)

    def post(self, message: Any, headers: dict[str, str], timeout: float) -> Any:
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=timeout)
        accept = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        try:
            connection.request("POST", self.url.path, json.dumps(message), {**accept, **self.session, **headers})
            answer = connection.getresponse()
            text = answer.read().decode()
        except TimeoutError:
            return None
        finally:
            connection.close()
        session = answer.getheader("Mcp-Session-Id")
        if session:
            self.session = {"Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY}
        if "text/event-stream" in (answer.getheader("Content-Type") or ""):
            data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
            text = next((line for line in reversed(data) if line), "{}")
        return json.loads(text or "{}")

    def open(self) -> None:
        client = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.send("initialize", client)
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {}, 10)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self.post({"jsonrpc": "2.0", "method": method, "params": params}, {}, 10)

    def call(self, name: str, **rest: Any) -> Any:
        return self.send("tools/call", {"name": name, "arguments": {}}, **rest)
