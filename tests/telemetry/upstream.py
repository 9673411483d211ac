#!/usr/bin/env python3
"""An MCP server over HTTP that writes down the trace context of every request; standard library only.

    upstream.py PORT LOG legacy|modern

A line of LOG is `{"method", "name", "header", "meta"}`: the `traceparent` of each.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT, LOG, ERA = int(sys.argv[1]), sys.argv[2], sys.argv[3]
MODERN = ERA == "modern"
TOOLS = ["echo", "fails", "refuses", "slow", "flaky"]
HINTS = {"idempotentHint": True, "readOnlyHint": False}
lock = threading.Lock()
flaked = 0


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class HungUp(Exception):
    pass


def call(name: str) -> dict[str, Any]:
    global flaked
    text = [{"type": "text", "text": name}]
    if name == "fails":
        return {"content": text, "isError": True}
    if name == "refuses":
        raise Refused(-32050, "no more paper")
    if name == "slow":
        time.sleep(5)
    if name == "flaky":
        flaked += 1
        if flaked % 2 == 1:
            raise HungUp
    if name not in TOOLS:
        raise Refused(-32602, "unknown tool")
    return {"content": text}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    stamp = {"resultType": "complete", "ttlMs": 600000, "cacheScope": "public"} if MODERN else {}
    capabilities = {"tools": {}, "prompts": {}, "resources": {}}
    if method == "server/discover" and MODERN:
        return {**stamp, "supportedVersions": ["2026-07-28"], "capabilities": capabilities}
    if method == "initialize" and not MODERN:
        return {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "far", "version": "1"}}
    if method == "ping":
        return {}
    if method == "tools/list":
        # Two pages.
        here = TOOLS[3:] if params.get("cursor") else TOOLS[:3]
        tools = [{"name": name, "inputSchema": {"type": "object"}, "annotations": HINTS} for name in here]
        more = {} if params.get("cursor") else {"nextCursor": "more"}
        return {**stamp, "tools": tools, **more}
    if method == "prompts/list":
        return {**stamp, "prompts": [{"name": "greet"}]}
    if method == "resources/list":
        return {**stamp, "resources": [{"uri": "file:///a.txt", "name": "a"}]}
    if method == "resources/templates/list":
        return {**stamp, "resourceTemplates": []}
    complete = {"resultType": "complete"} if MODERN else {}
    if method == "tools/call":
        return {**complete, **call(params["name"])}
    if method == "prompts/get":
        return {**complete, "messages": []}
    if method == "resources/read":
        return {**stamp, "contents": [{"uri": params["uri"], "text": "a"}]}
    raise Refused(-32601, "method not found")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, status: int, message: Any = None) -> None:
        body = b"" if message is None else json.dumps(message).encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply(405)

    def do_DELETE(self) -> None:
        self.reply(405)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in message or "method" not in message:
            return self.reply(202)
        params = message.get("params") or {}
        line = {
            "method": message["method"],
            "name": params.get("name"),
            "header": self.headers.get("traceparent"),
            "meta": (params.get("_meta") or {}).get("traceparent"),
        }
        with lock, open(LOG, "a") as log:
            log.write(json.dumps(line) + "\n")
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            said["result"] = answer(message["method"], params)
        except Refused as refused:
            said["error"] = {"code": refused.code, "message": str(refused)}
        except HungUp:
            self.close_connection = True
            return None
        return self.reply(200, said)


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
