"""Two MCP servers whose tool `ask` asks its client: `old` speaks 2025-11-25 and sends requests on the stream of the
call, `new` speaks 2026-07-28 and answers with `input_required`."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

from serving import QuietHandler, serve

LEGACY, MODERN = "2025-11-25", "2026-07-28"
SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}}
STAMPS = {"resultType": "complete", "ttlMs": 600000, "cacheScope": "private"}


def form(text: str) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {"mode": "form", "message": text, "requestedSchema": SCHEMA}}


class AskingServers:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0
        self.calls: list[str] = []
        self.cancelled: list[Any] = []
        self.answers: dict[str, queue.Queue[dict[str, Any]]] = {}
        servers = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                message = json.loads(body)
                if self.path == "/old":
                    servers.answer_old(self, message)
                else:
                    servers.answer_new(self, message)

            def do_GET(self) -> None:
                self.send(405, None)

            def do_DELETE(self) -> None:
                self.send(200, None)

            def send(self, status: int, value: Any, session: str | None = None) -> None:
                text = json.dumps(value).encode() if value is not None else b""
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                if session:
                    self.send_header("mcp-session-id", session)
                self.end_headers()
                self.wfile.write(text)

            def begin_events(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True

            def event(self, message: dict[str, Any]) -> None:
                self.wfile.write(f"data: {json.dumps({'jsonrpc': '2.0', **message})}\n\n".encode())
                self.wfile.flush()

        self.server, self.url = serve(Handler)

    def next(self) -> int:
        with self.lock:
            self.number += 1
            return self.number

    def called(self, what: str) -> None:
        with self.lock:
            self.calls.append(what)

    def answer_old(self, handler: Any, message: dict[str, Any]) -> None:
        if "method" not in message:
            waiting = self.answers.get(message["id"])
            if waiting is not None:
                waiting.put(message)
            return handler.send(202, None)
        if "id" not in message:
            if message["method"] == "notifications/cancelled":
                with self.lock:
                    self.cancelled.append(message["params"]["requestId"])
            return handler.send(202, None)
        result: dict[str, Any]
        session = None
        match message["method"]:
            case "server/discover":
                return handler.send(400, {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": ""}})
            case "initialize":
                session = f"session-{self.next()}"
                info = {"name": "old", "version": "1"}
                result = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                result = {"tools": [{"name": name, "inputSchema": SCHEMA} for name in ("ask", "three", "slow")]}
            case "tools/call":
                return self.call_old(handler, message)
            case _:
                result = {}
        handler.send(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, session)

    def call_old(self, handler: Any, message: dict[str, Any]) -> None:
        """Asks once, or three questions at once, and says what it was answered. `slow` never ends after that."""
        name = message["params"]["name"]
        self.called(f"old {name}")
        handler.begin_events()
        asked = []
        for number in range(3 if name == "three" else 1):
            key = f"question-{self.next()}"
            self.answers[key] = queue.Queue()
            handler.event({"id": key, **form(f"question {number}")})
            asked.append(key)
        texts = [json.dumps(self.answers[key].get(timeout=60)["result"]) for key in asked]
        for key in asked:
            del self.answers[key]
        if name == "slow":
            # Whoever cancels it closes the stream, too.
            threading.Event().wait(60)
            return
        content = [{"type": "text", "text": text} for text in texts]
        handler.event({"id": message["id"], "result": {"content": content}})

    def answer_new(self, handler: Any, message: dict[str, Any]) -> None:
        if "id" not in message:
            return handler.send(202, None)
        result: dict[str, Any]
        match message["method"]:
            case "server/discover":
                result = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, **STAMPS}
            case "tools/list":
                result = {"tools": [{"name": "three", "inputSchema": SCHEMA}], **STAMPS}
            case "tools/call":
                self.called("new")
                answers = message["params"].get("inputResponses")
                if answers is None:
                    asks = {key: form(key) for key in ("a", "b", "c")}
                    result = {"resultType": "input_required", "inputRequests": asks, "requestState": "exactly this"}
                else:
                    right = message["params"].get("requestState") == "exactly this"
                    content = [{"type": "text", "text": json.dumps(answers[key])} for key in sorted(answers)]
                    result = {"resultType": "complete", "content": content, "isError": not right}
            case "initialize":
                error = {"code": -32022, "message": "", "data": {"supported": [MODERN], "requested": ""}}
                return handler.send(400, {"jsonrpc": "2.0", "id": message["id"], "error": error})
            case _:
                result = {}
        handler.send(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})
