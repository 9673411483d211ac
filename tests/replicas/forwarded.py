"""Calls that wait for an answer, behind an nginx that leads every request to the next weir."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from asking import LEGACY, MODERN, AskingServers
from balancer import Edge, find_nginx
from rig import Weir, wait_until

META = "io.modelcontextprotocol/"
YES = {"action": "accept", "content": {"n": 1}}
ROUNDS = 20


class Pair:
    """Two weirs that forward to each other, without a store, and an nginx that knows nothing of sessions."""

    def __init__(self, binary: Path, folder: Path, cleanup: ExitStack) -> None:
        folder.mkdir()
        self.servers = AskingServers()
        upstreams = {name: {"url": f"{self.servers.url}/{name}"} for name in ("old", "new")}
        key = {"value": "the key of both replicas, of at least 32 bytes"}
        top: dict[str, Any] = {"sealing_key": key, "instance": "pair", "replicas": {"peers": []}}
        self.weirs = [Weir(binary, folder, upstreams, cleanup, f"weir-{at}", **top) for at in "ab"]
        peers = [f"http://127.0.0.1:{weir.port}" for weir in self.weirs]
        for weir in self.weirs:
            config = json.loads(weir.config.read_text())
            config["replicas"]["peers"] = peers
            weir.config.write_text(json.dumps(config))
            weir.start()
        a, b = (weir.port for weir in self.weirs)
        self.edge = Edge(find_nginx() or "", (a, b), 0, folder, cleanup, affinity=False)
        self.folder = folder

    def homes(self) -> list[str]:
        """The weir that each modern request went to, if it was answered. Those of a session, and of callers that
        left, may be logged after later ones."""
        rows = map(json.loads, (self.folder / "nginx-rows.log").read_text().splitlines())
        modern = [row for row in rows if row["status"] == 200 and not row["session"]]
        return [row["to"].split(", ")[-1].rpartition(":")[2] for row in modern]


def post(port: int, message: dict[str, Any], headers: dict[str, str]) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    common = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", **message}), {**common, **headers})
    return connection


def messages(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The messages of an answer, as they come."""
    if not answer.getheader("content-type", "").startswith("text/event-stream"):
        text = answer.read()
        if text:
            yield json.loads(text)
        return
    for line in answer:
        # An event without data only says where to read on.
        if line.startswith(b"data:") and line[5:].strip():
            yield json.loads(line[5:])


def modern_request(tool: str, more: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    capabilities = {"elicitation": {"form": {}}}
    client = {"name": "caller", "version": "1"}
    own = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": capabilities, f"{META}clientInfo": client}
    params = {"name": tool, "arguments": {}, **(more or {}), "_meta": own}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    return {"id": 1, "method": "tools/call", "params": params}, headers


def call_modern(port: int, tool: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    connection = post(port, *modern_request(tool, more))
    try:
        return list(messages(connection.getresponse()))[-1]
    finally:
        connection.close()


def answers_to(question: dict[str, Any]) -> dict[str, Any]:
    result = question["result"]
    return {"requestState": result["requestState"], "inputResponses": {key: YES for key in result["inputRequests"]}}


def texts(answer: dict[str, Any]) -> list[Any]:
    return [json.loads(part["text"]) for part in answer.get("result", {}).get("content", [])]


class LegacySession:
    def __init__(self, port: int) -> None:
        self.port = port
        self.headers: dict[str, str] = {}
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "caller", "version": "1"},
        }
        connection = post(port, {"id": 0, "method": "initialize", "params": params}, {})
        answer = connection.getresponse()
        answer.read()
        self.headers = {"Mcp-Session-Id": answer.getheader("mcp-session-id", ""), "MCP-Protocol-Version": LEGACY}
        self.say({"method": "notifications/initialized"})

    def say(self, message: dict[str, Any]) -> int:
        connection = post(self.port, message, self.headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def call(self, tool: str) -> dict[str, Any]:
        """Calls a tool and answers all that it asks, each on a connection of its own."""
        request = {"id": "mine", "method": "tools/call", "params": {"name": tool, "arguments": {}}}
        connection = post(self.port, request, self.headers)
        for message in messages(connection.getresponse()):
            if "method" in message:
                self.say({"id": message["id"], "result": YES})
            else:
                return message
        return {}


def run_forwarded(run: Any) -> None:
    """Questions of servers of either era, without affinity."""
    print("answers that come to the other weir", flush=True)
    with ExitStack() as cleanup:
        pair = Pair(run.binary, run.folder / "forwarded", cleanup)
        port, servers = pair.edge.port, pair.servers

        for tool, count in (("old__ask", 1), ("old__three", 3), ("new__three", 3)):
            before, calls = len(pair.homes()), len(servers.calls)
            good = 0
            for _ in range(ROUNDS):
                question = call_modern(port, tool)
                good += texts(call_modern(port, tool, answers_to(question))) == [YES] * count
            wait_until(lambda: len(pair.homes()) >= before + 2 * ROUNDS, 5)
            homes = pair.homes()[before:]
            apart = sum(first != then for first, then in zip(homes[::2], homes[1::2]))
            run.check(f"modern callers of {tool}: all are answered", good == ROUNDS, f"{good} of {ROUNDS}")
            run.check("each by the other weir", apart == ROUNDS, apart)
            ran = len(servers.calls) - calls
            run.check("nothing ran twice", ran == ROUNDS * (2 if tool.startswith("new") else 1), ran)

        session = LegacySession(port)
        for tool in ("old__ask", "old__three", "new__three"):
            calls = len(servers.calls)
            good = 0
            for _ in range(ROUNDS):
                good += texts(session.call(tool)) == [YES] * (1 if tool == "old__ask" else 3)
            run.check(f"a legacy caller of {tool}: all are answered", good == ROUNDS, f"{good} of {ROUNDS}")
            ran = len(servers.calls) - calls
            run.check("nothing ran twice", ran == ROUNDS * (2 if tool.startswith("new") else 1), ran)

        question = call_modern(port, "old__slow")
        leaving = post(port, *modern_request("old__slow", answers_to(question)))
        wait_until(lambda: not servers.answers, 10)
        leaving.close()
        run.check("a modern caller that leaves cancels", wait_until(lambda: len(servers.cancelled) == 1, 10))

        request = {"id": "slow", "method": "tools/call", "params": {"name": "old__slow", "arguments": {}}}
        slow = post(port, request, session.headers)
        stream = messages(slow.getresponse())
        session.say({"id": next(stream)["id"], "result": YES})
        cancel = {"method": "notifications/cancelled", "params": {"requestId": "slow"}}
        session.say(cancel)
        session.say({"method": "notifications/roots/list_changed"})
        run.check("a legacy caller cancels at either weir", wait_until(lambda: len(servers.cancelled) == 2, 10))
        slow.close()

        before = len(pair.homes())
        question = call_modern(port, "old__ask")
        wait_until(lambda: len(pair.homes()) > before, 5)
        home = pair.homes()[-1]
        owner = next(weir for weir in pair.weirs if str(weir.port) == home)
        assert owner.process is not None
        owner.process.stop(signal.SIGKILL)
        calls = len(servers.calls)
        answer = call_modern(port, "old__ask", answers_to(question))
        error = answer.get("error", {})
        said = (error.get("code"), error.get("data", {}).get("reason"))
        run.check("without its weir a call is over", said == (-32602, "exchange_over"), answer)
        run.check("and runs nowhere else", len(servers.calls) == calls, servers.calls[calls:])
