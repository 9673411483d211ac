"""A client whose JSON writes out what it does not have: `"params": null`, `"_meta": null`, `"arguments": null`.

Many languages do so by themselves. No official SDK does, so it is made by hand: one POST after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from report import Group, Report
from scenario import LEGACY, MODERN

META = "io.modelcontextprotocol/"
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
NOTE = "note://py1/hello"


@dataclass
class Answer:
    status: int
    message: dict[str, Any]
    session: str | None = None

    def wanted(self, tell: Callable[[dict[str, Any]], Any], want: Any) -> tuple[bool, str]:
        """Whether it is a result that `tell` finds `want` in."""
        result = self.message.get("result")
        if not isinstance(result, dict):
            return False, f"status {self.status}: {json.dumps(self.message)}"
        told = tell(result)
        return told == want, f"want {want!r}, got {told!r}"


@dataclass
class NullClient:
    url: str
    version: str
    headers: dict[str, str] = field(default_factory=dict)
    last: int = 0

    def post(self, message: dict[str, Any], headers: dict[str, str]) -> Answer:
        where = urlsplit(self.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=15)
        accept = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        try:
            connection.request("POST", where.path, json.dumps(message), {**accept, **self.headers, **headers})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if (response.getheader("Content-Type") or "").startswith("text/event-stream"):
            data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
            messages = [json.loads(line) for line in data if line]
            found = next((one for one in messages if one.get("id") == message.get("id")), {})
        else:
            found = json.loads(text) if text.strip() else {}
        return Answer(response.status, found, response.getheader("Mcp-Session-Id"))

    def ask(self, method: str, params: Any, bare: bool = False) -> Answer:
        """One request. In the modern era its `_meta` has what the era wants, unless it is to go out `bare`."""
        self.last += 1
        headers = {}
        if self.version == MODERN:
            headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            name = params.get("name", params.get("uri")) if isinstance(params, dict) else None
            headers |= {"Mcp-Name": name} if name else {}
            if not bare:
                nulls = {"progressToken": None, "traceparent": None, f"{META}clientInfo": None, f"{META}logLevel": None}
                meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}, **nulls}
                params = {**(params or {}), "_meta": meta}
        return self.post({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}, headers)

    def initialize(self) -> Answer:
        about = {"name": "weir-interop-nulls", "version": "1.0.0", "title": None}
        params = {"protocolVersion": self.version, "capabilities": {}, "clientInfo": about, "_meta": None}
        answer = self.ask("initialize", params)
        self.headers = {"MCP-Protocol-Version": self.version, "Mcp-Session-Id": answer.session or ""}
        return answer

    def initialized(self) -> Answer:
        return self.post({"jsonrpc": "2.0", "method": "notifications/initialized", "params": None}, {})


def text_of(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


def run_nulls(report: Report, url: str) -> None:
    """Both eras, over the upstreams that `rig.one_of_each` names."""
    for version in (LEGACY, MODERN):
        group = report.group(f"nulls {version}")
        client = NullClient(url, version)

        def check(what: str, ask: Callable[[], tuple[bool, str]], group: Group = group) -> None:
            try:
                ok, detail = ask()
            except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
                ok, detail = False, f"{type(error).__name__}: {error}"
            report.check(group, what, ok, detail)

        if version == LEGACY:
            check_session(client, check)
        else:
            check_envelope(client, check)
        check_lists(client, check)
        check_calls(client, check)


def check_session(client: NullClient, check: Callable) -> None:
    check("initialize, _meta: null", lambda: client.initialize().wanted(lambda r: r["protocolVersion"], client.version))

    def initialized() -> tuple[bool, str]:
        answer = client.initialized()
        return answer.status == 202, f"status {answer.status} {answer.message}"

    check("notifications/initialized, params: null", initialized)
    check("ping, params: null", lambda: client.ask("ping", None).wanted(lambda result: result, {}))


def check_envelope(client: NullClient, check: Callable) -> None:
    """Where the era wants an object, null is as good as nothing: refused, and for that reason."""

    def refused(params: Any) -> tuple[bool, str]:
        answer = client.ask("tools/list", params, bare=True)
        code = answer.message.get("error", {}).get("code")
        return (answer.status, code) == (400, -32602), f"status {answer.status}: {json.dumps(answer.message)}"

    check("tools/list, params: null", lambda: refused(None))
    check("tools/list, _meta: null", lambda: refused({"_meta": None}))
    found = client.ask("server/discover", {})
    check("server/discover, _meta with nulls", lambda: found.wanted(lambda r: MODERN in r["supportedVersions"], True))


def check_lists(client: NullClient, check: Callable) -> None:
    shapes: dict[str, Any] = {"cursor: null": {"cursor": None}}
    if client.version == LEGACY:
        shapes |= {"params: null": None, "_meta: null": {"_meta": None}}
    for method, member in LISTS.items():

        def names(result: dict[str, Any], member: str = member) -> list[str]:
            return [item.get("uri") or item.get("uriTemplate") or item["name"] for item in result[member]]

        full = client.ask(method, {})
        want = names(full.message["result"]) if "result" in full.message else full.message
        for shape, params in shapes.items():
            check(f"{method}, {shape}", lambda m=method, p=params, n=names, w=want: client.ask(m, p).wanted(n, w))


def check_calls(client: NullClient, check: Callable) -> None:
    def served(what: str, method: str, params: dict[str, Any], tell: Callable, want: Any) -> None:
        check(what, lambda: client.ask(method, {"_meta": None, **params}).wanted(tell, want))

    def call(tool: str, tell: Callable, want: Any, **rest: Any) -> None:
        params = {"name": tool, "arguments": None, **rest}
        served(f"{tool}, arguments: null", "tools/call", params, tell, want)

    image = ["text", "image", "text"]
    call("everything__get-tiny-image", lambda result: [block["type"] for block in result["content"]], image)
    call("memory__read_graph", lambda result: "entities" in text_of(result), True)
    call("py1__whoami", text_of, "py1 on mcp 1")
    call("py2__whoami", text_of, "py2 on mcp 2", inputResponses=None, requestState=None)
    prompt = {"name": "everything__simple-prompt", "arguments": None}
    served("prompts/get, arguments: null", "prompts/get", prompt, lambda result: len(result["messages"]), 1)
    served("resources/read", "resources/read", {"uri": NOTE}, lambda r: r["contents"][0]["text"], "hello from py1")
    colours = {
        "ref": {"type": "ref/prompt", "name": "py1__paint"},
        "argument": {"name": "colour", "value": "gr"},
        "context": None,
    }
    values = ["green", "grey"]
    what = "completion/complete, context: null"
    served(what, "completion/complete", colours, lambda result: result["completion"]["values"], values)
    if client.version == LEGACY:
        served("logging/setLevel", "logging/setLevel", {"level": "error"}, lambda result: result, {})


def check_preset(url: str, tool: str) -> tuple[bool, str]:
    """A call without arguments, of a tool whose arguments the operator has set."""
    params = {"name": tool, "arguments": None}
    return NullClient(url, MODERN).ask("tools/call", params).wanted(text_of, "set by the operator")
