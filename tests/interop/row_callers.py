"""Callers of both eras made by hand, for what no SDK's client lets one do: answer late, twice, wrongly or not at all."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from rig import Trouble
from scenario import LEGACY, MODERN

Json = dict[str, Any]
META = "io.modelcontextprotocol/"
ABLE: Json = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
PATIENCE = 12  # seconds
ANSWERS: dict[str, Json] = {
    "accept": {"action": "accept", "content": {"colour": "blue"}},
    "decline": {"action": "decline"},
    "cancel": {"action": "cancel"},
}


def person(asked: Json) -> Json:
    """What everybody here answers, SDKs and hand-made callers alike: the message says it, in brackets."""
    method, params = asked["method"], asked.get("params") or {}
    said = json.dumps(params)
    if "[error]" in said:
        return {"error": {"code": -1, "message": "the person said no"}}
    if method == "roots/list":
        return {"result": {"roots": [{"uri": "file:///srv", "name": "srv"}]}}
    if method == "sampling/createMessage":
        content = {"type": "text", "text": "hello"}
        return {"result": {"role": "assistant", "content": content, "model": "m", "stopReason": "endTurn"}}
    if params.get("mode") == "url":
        return {"result": {"action": "accept"}}
    word = next((word for word in ANSWERS if f"[{word}]" in said), "cancel")
    return {"result": ANSWERS[word]}


def plain(value: Any) -> Any:
    """A value without what an SDK writes out although it is empty."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None and key not in ("_meta", "resultType")}
    return value


@dataclass
class Reply:
    """What came of one request: its response, and what came before it."""

    status: int
    message: Json
    notes: list[Json] = field(default_factory=list)

    @property
    def result(self) -> Json:
        return self.message.get("result") or {}

    @property
    def error(self) -> Json:
        return self.message.get("error") or {}

    @property
    def code(self) -> int | None:
        return self.error.get("code")

    @property
    def is_error(self) -> bool:
        return bool(self.result.get("isError"))

    @property
    def text(self) -> str:
        return "\n".join(block.get("text", "") for block in self.result.get("content", []))

    @property
    def asks(self) -> dict[str, Json]:
        """What is asked of a modern caller, by key."""
        return self.result.get("inputRequests") or {}

    @property
    def state(self) -> str | None:
        return self.result.get("requestState")

    @property
    def told(self) -> str:
        """For the report."""
        return f"status {self.status} {json.dumps(self.message)}"

    def of(self, method: str) -> list[Json]:
        return [note.get("params") or {} for note in self.notes if note.get("method") == method]


class Exchange:
    """One HTTP request, whose answer is read as it comes."""

    def __init__(self, url: str, method: str, message: Json | None, headers: dict[str, str]) -> None:
        where = urlsplit(url)
        self.id = (message or {}).get("id")
        self.status, self.session, self.last_event = 0, "", ""
        self.came: queue.Queue[Json | None] = queue.Queue()
        self.notes: list[Json] = []
        connection = HTTPConnection(where.hostname or "", where.port, timeout=60)
        body = None if message is None else json.dumps(message)
        accept = {"Accept": "application/json, text/event-stream"}
        kind = {"Content-Type": "application/json"} if body else {}
        connection.request(method, where.path, body, {**accept, **kind, **headers})
        self.sock: socket.socket = connection.sock
        threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: HTTPConnection) -> None:
        try:
            response = connection.getresponse()
            self.status = response.status
            self.session = response.getheader("Mcp-Session-Id") or ""
            if (response.getheader("Content-Type") or "").startswith("text/event-stream"):
                for message in self._events(response):
                    self.came.put(message)
            elif text := response.read().strip():
                self.came.put(json.loads(text))
        except (OSError, HTTPException, ValueError, AttributeError):
            pass  # closed, by whomever; the end of the queue tells it
        finally:
            self.came.put(None)
            with suppress(OSError):
                connection.close()

    def _events(self, response: HTTPResponse) -> Iterator[Json]:
        data = b""
        while line := response.readline():
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            if name == b"id":
                self.last_event = value.strip().decode()
            elif name == b"data":
                data += value.strip()
            elif not line.strip() and data:
                yield json.loads(data)
                data = b""

    def next(self, patience: float = PATIENCE) -> Json | None:
        """The next message; None at the end."""
        try:
            return self.came.get(timeout=patience)
        except queue.Empty:
            raise Trouble(f"nothing more came within {patience} s") from None

    def asked(self, patience: float = PATIENCE) -> Json:
        """The next request of weir's; notifications before it are kept."""
        while (message := self.next(patience)) is not None:
            if "method" in message and "id" in message:
                return message
            if "method" not in message:
                raise Trouble(f"answered before it was asked: {json.dumps(message)}")
            self.notes.append(message)
        raise Trouble("ended before it was asked")

    def end(self, patience: float = PATIENCE) -> Reply:
        """Waits for the response."""
        while (message := self.next(patience)) is not None:
            if "method" not in message and message.get("id") == self.id:
                return Reply(self.status, message, self.notes)
            self.notes.append(message)
        return Reply(self.status, {}, self.notes)

    def close(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class ModernCaller:
    url: str
    capabilities: Json = field(default_factory=lambda: dict(ABLE))
    last: int = 0

    def start(self, method: str, params: Json, **meta: Any) -> Exchange:
        self.last += 1
        own = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": self.capabilities}
        own[f"{META}clientInfo"] = {"name": "weir-interop-asks", "version": "1.0.0"}
        message = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": {**params, "_meta": {**own, **meta}}}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if name := params.get("name", params.get("uri")):
            headers["Mcp-Name"] = name
        return Exchange(self.url, "POST", message, headers)

    def request(self, method: str, params: Json, **meta: Any) -> Reply:
        return self.start(method, params, **meta).end()

    def call(self, tool: str, arguments: Json | None = None, **meta: Any) -> Reply:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **meta)

    def back(self, method: str, params: Json, reply: Reply, answers: Json | None = None, **meta: Any) -> Exchange:
        """The same request again, with what a person answers, or these answers."""
        if answers is None:
            answers = {key: person(asked)["result"] for key, asked in reply.asks.items()}
        params = {**params, "inputResponses": answers}
        if reply.state is not None:
            params["requestState"] = reply.state
        return self.start(method, params, **meta)

    def again(self, tool: str, reply: Reply, answers: Json | None = None, arguments: Json | None = None) -> Reply:
        return self.back("tools/call", {"name": tool, "arguments": arguments or {}}, reply, answers).end()

    def drive(self, method: str, params: Json) -> tuple[Reply, list[Reply]]:
        """Answers until there is a result; and all rounds."""
        rounds: list[Reply] = []
        reply = self.request(method, params)
        while reply.result.get("resultType") == "input_required":
            rounds.append(reply)
            if len(rounds) > 20:
                raise Trouble("the rounds do not end")
            reply = self.back(method, params, reply).end()
        return reply, rounds


class LegacyCaller:
    def __init__(self, url: str, capabilities: Json | None = None, version: str = LEGACY) -> None:
        self.url, self.headers, self.last = url, {}, 0
        about = {"name": "weir-interop-asks", "version": "1.0.0"}
        able = ABLE if capabilities is None else capabilities
        opened = self.start("initialize", {"protocolVersion": version, "capabilities": able, "clientInfo": about})
        reply = opened.end()
        if reply.result.get("protocolVersion") != version:
            raise Trouble(f"initialize: {reply.told}")
        self.headers = {"MCP-Protocol-Version": version, "Mcp-Session-Id": opened.session}
        self.send({"method": "notifications/initialized"})

    def start(self, method: str, params: Json, **meta: Any) -> Exchange:
        self.last += 1
        params = {**params, "_meta": meta} if meta else params
        message = {"jsonrpc": "2.0", "id": f"mine-{self.last}", "method": method, "params": params}
        return Exchange(self.url, "POST", message, self.headers)

    def request(self, method: str, params: Json, **meta: Any) -> Reply:
        return self.start(method, params, **meta).end()

    def call(self, tool: str, arguments: Json | None = None, **meta: Any) -> Reply:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **meta)

    def started(self, tool: str, arguments: Json | None = None, **meta: Any) -> Exchange:
        return self.start("tools/call", {"name": tool, "arguments": arguments or {}}, **meta)

    def send(self, message: Json) -> int:
        """A notification, or an answer; the status."""
        sent = Exchange(self.url, "POST", {"jsonrpc": "2.0", **message}, self.headers)
        while sent.next() is not None:
            pass
        return sent.status

    def answer(self, asked: Json, answer: Json | None = None) -> int:
        return self.send({"id": asked["id"], **(person(asked) if answer is None else answer)})

    def listen(self, last_event: str = "") -> Exchange:
        more = {"Last-Event-ID": last_event} if last_event else {}
        return Exchange(self.url, "GET", None, {**self.headers, **more})

    def close(self) -> None:
        ended = Exchange(self.url, "DELETE", None, self.headers)
        while ended.next() is not None:
            pass

    def drive(
        self, method: str, params: Json, answer: Callable[[Json], Json] = person, **meta: Any
    ) -> tuple[Reply, list[Json]]:
        """Answers what is asked on the stream of the request; and all that was asked."""
        exchange, asks = self.start(method, params, **meta), []
        while (message := exchange.next()) is not None:
            if "method" in message and "id" in message:
                asks.append(message)
                self.answer(message, answer(message))
            elif "method" in message:
                exchange.notes.append(message)
            elif message.get("id") == exchange.id:
                return Reply(exchange.status, message, exchange.notes), asks
        return Reply(exchange.status, {}, exchange.notes), asks
