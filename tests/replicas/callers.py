"""Callers of both eras, each in a thread of its own, that call without a pause and count."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any

LEGACY, MODERN = "2025-06-18", "2026-07-28"
CLIENT = {"name": "caller", "version": "1"}


class Connection:
    """Requests to one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session: str | None = None
        self.number = 0

    def post(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        if method.startswith("notifications/"):
            del message["id"]
        common = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        # A connection for each request: one that is kept may be closed at the moment at which it is used.
        http_connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            http_connection.request("POST", "/mcp", json.dumps(message), {**common, **headers})
            answer = http_connection.getresponse()
            text = answer.read().decode()
        finally:
            http_connection.close()
        self.session = answer.getheader("mcp-session-id") or self.session
        if answer.getheader("content-type", "").startswith("text/event-stream"):
            lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
            text = next((line for line in lines if '"id"' in line), "{}")
        try:
            return answer.status, json.loads(text) if text else {}
        except ValueError:
            return answer.status, {"text": text[:200]}


def open_legacy(port: int) -> Connection:
    connection = Connection(port)
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    status, answer = connection.post("initialize", params, {})
    if status != 200 or not connection.session:
        raise RuntimeError(f"no session: {status} {answer}")
    headers = {"Mcp-Session-Id": connection.session, "MCP-Protocol-Version": LEGACY}
    connection.post("notifications/initialized", {}, headers)
    return connection


def call(connection: Connection, tool: str) -> tuple[int, dict[str, Any]]:
    """A call in the session of a connection, or a modern one if it has none."""
    params: dict[str, Any] = {"name": tool, "arguments": {}}
    if connection.session:
        headers = {"Mcp-Session-Id": connection.session, "MCP-Protocol-Version": LEGACY}
        return connection.post("tools/call", params, headers)
    meta = "io.modelcontextprotocol/"
    params["_meta"] = {f"{meta}protocolVersion": MODERN, f"{meta}clientCapabilities": {}, f"{meta}clientInfo": CLIENT}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    return connection.post("tools/call", params, headers)


class Callers:
    """So many callers of each era, until they are stopped."""

    def __init__(self, port: int, each: int, tool: str) -> None:
        self.port, self.tool = port, tool
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.passed = {"legacy": 0, "modern": 0}
        self.limited = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self.threads = [
            threading.Thread(target=self.run, args=(era,), daemon=True) for era in self.passed for _ in range(each)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, era: str) -> None:
        connection: Connection | None = None
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = open_legacy(self.port) if era == "legacy" else Connection(self.port)
                status, answer = call(connection, self.tool)
            except Exception as error:
                self.note(era, f"{era}: {error!r}")
                connection = None
                continue
            took = time.monotonic() - began
            if status == 200 and "result" in answer and not answer["result"].get("isError"):
                self.note(era, None, took)
            elif answer.get("error", {}).get("code") == 429:
                with self.lock:
                    self.limited += 1
                time.sleep(0.05)
            else:
                self.note(era, f"{era}: {status} {json.dumps(answer)[:300]}")

    def note(self, era: str, failure: str | None, took: float = 0) -> None:
        with self.lock:
            if failure is None:
                self.passed[era] += 1
                self.slowest = max(self.slowest, took)
            else:
                self.failed.append(failure)

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)

    def __str__(self) -> str:
        passed = f"{self.passed['legacy']} legacy and {self.passed['modern']} modern calls"
        return f"{passed}, {len(self.failed)} failed, {self.limited} over a limit, slowest {self.slowest:.2f} s"
