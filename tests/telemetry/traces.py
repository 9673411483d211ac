"""Traces: what a request becomes, in both eras, over HTTP and stdio, well or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from caller import LEGACY, Caller
from parts import Receiver, Span, Upstream, Weir, draw, in_trace, of, until

PROJECT = Path(__file__).resolve().parents[2]
ERAS = ["legacy", "modern"]
META = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = META.split("-")[1]


def parent(span: Span) -> str:
    return f"00-{span['trace']}-{span['span']}-01"


def trace_of(receiver: Receiver, name: str, count: int = 1) -> list[Span]:
    """The spans of the trace that has a SERVER span with this name."""

    def find(spans: list[Span]) -> list[Span]:
        servers = of(spans, "SERVER", name)
        found = in_trace(spans, servers[0]["trace"]) if servers else []
        return found if len(found) >= count else []

    return find(receiver.wait_for(find))


def check_traces(run: Any, folder: Path, cleanup: ExitStack) -> None:
    receiver = Receiver(run.python, folder, cleanup)
    upstreams = {era: Upstream(folder, cleanup, era, sys.executable) for era in ERAS}
    child = [str(PROJECT / "tests" / "it" / "support" / "child.py"), "--log", str(folder / "child.log")]
    shops: dict[str, Any] = {
        era: {"url": upstreams[era].url, "timeouts": {"call": "2s"}, "retry": {"idempotent": True}, "resync": "1h"} for era in ERAS
    }
    config = {**shops, "box": {"command": sys.executable, "args": ["-B", *child]}}
    telemetry = {"endpoint": receiver.url, "resource": {"deployment.environment.name": "test"}}
    weir = Weir(run.binary, folder, cleanup, "w", config, telemetry)
    check_resync(run, receiver)
    for era in ERAS:
        check_calls(run, receiver, upstreams, weir, era)
    check_stdio(run, receiver, folder, config, telemetry, cleanup)
    check_circuit(run, receiver, upstreams["modern"], weir)
    check_chain(run, receiver, folder, upstreams["legacy"], telemetry, cleanup)
    check_verbatim(run, folder, upstreams["legacy"], cleanup)
    check_sampling(run, receiver, folder, upstreams["legacy"], cleanup)


def check_resync(run: Any, receiver: Receiver) -> None:
    def all_there(spans: list[Span]) -> bool:
        return len([span for span in of(spans, "INTERNAL", "weir.resync") if not span["status"]["code"]]) >= 3

    spans = receiver.wait_for(all_there, 15)
    roots = {span["attributes"]["weir.upstream"]: span for span in of(spans, "INTERNAL", "weir.resync")}
    run.check("each listing is a trace of its own", set(roots) == {"legacy", "modern", "box"}, roots)
    run.check("a resync has no parent", all(root["parent"] is None for root in roots.values()))
    listed = in_trace(spans, roots["legacy"]["trace"])
    pages = [span for span in of(listed, "CLIENT", "tools/list")]
    run.check("each page of a list is a span below it", len(pages) == 2 and {page["parent"] for page in pages} == {roots["legacy"]["span"]}, listed)
    run.picture("a resync", draw([roots["legacy"], *pages]))


def check_calls(run: Any, receiver: Receiver, upstreams: dict[str, Upstream], weir: Weir, era: str) -> None:
    """Calls of one era, at the upstreams of both."""
    caller = Caller(weir.url, era)
    for far in ERAS:
        receiver.forget()
        caller.call(f"{far}__echo", meta={"traceparent": META, "tracestate": "a=1"}, headers={"traceparent": HEADER})
        spans = trace_of(receiver, f"tools/call {far}__echo", 2)
        servers, clients = of(spans, "SERVER", f"tools/call {far}__echo"), of(spans, "CLIENT", "tools/call echo")
        what = f"{era} to {far}"
        run.check(f"{what}: one SERVER span and one CLIENT span", len(spans) == 2 and servers and clients, spans)
        if not (servers and clients):
            continue
        server, client = servers[0], clients[0]
        run.check(f"{what}: the trace and the parent are those of `_meta`", (server["trace"], server["parent"]) == (TRACE, META.split("-")[2]), server)
        run.check(f"{what}: the header's context is linked", [link["span"] for link in server["links"]] == [HEADER.split("-")[2]], server)
        run.check(f"{what}: the tracestate goes with it", server["state"] == client["state"] == "a=1")
        run.check(f"{what}: the CLIENT span is below the SERVER span", client["parent"] == server["span"])
        seen = upstreams[far].last("tools/call")
        run.check(f"{what}: the upstream's parent is the CLIENT span, in header and `_meta`", seen["header"] == seen["meta"] == parent(client), seen)
        run.check(f"{what}: times lie within each other", server["start"] <= client["start"] <= client["end"] <= server["end"])
        resource = server["resource"]
        run.check(f"{what}: the resource names weir and what the config says", resource["service.name"] == "weir" and resource["deployment.environment.name"] == "test" and resource["weir.instance"] == "w", resource)
        if far == era:
            run.picture(f"a call, {era}", draw(spans))
    receiver.forget()
    for name, title in [("fails", "a tool that fails"), ("refuses", "a JSON-RPC error"), ("slow", "a timeout"), ("flaky", "a second attempt")]:
        caller.call(f"{era}__{name}")
        spans = trace_of(receiver, f"tools/call {era}__{name}", 3 if name == "flaky" else 2)
        run.picture(f"{title}, {era}", draw(spans))
    check_cancelled(run, receiver, weir, caller, era)
    receiver.forget()
    caller.send("tools/list", {})
    run.picture(f"a list, {era}", draw(trace_of(receiver, "tools/list")))
    caller.call("nobody__knows")
    run.picture(f"an unknown tool, {era}", draw(trace_of(receiver, "tools/call")))
    caller.send("prompts/get", {"name": f"{era}__greet"})
    run.picture(f"a prompt, {era}", draw(trace_of(receiver, f"prompts/get {era}__greet", 2)))
    caller.call("box__echo")
    spans = trace_of(receiver, "tools/call box__echo", 2)
    run.picture(f"a child process, {era}", draw(spans))
    clients = of(spans, "CLIENT", "tools/call echo")
    log = Path(weir.folder / "child.log").read_text()
    run.check(f"{era}: a child process gets the CLIENT span in `_meta`", clients and parent(clients[0]) in log, log[-600:])
    receiver.forget()
    caller.call(f"{era}__echo", headers={"baggage": "session.id=s%2F7,x=y"})
    spans = trace_of(receiver, f"tools/call {era}__echo", 2)
    run.check(f"{era}: the session of the user comes from the baggage", of(spans, "SERVER", f"tools/call {era}__echo")[0]["attributes"].get("session.id") == "s/7", spans)
    receiver.forget()
    amazon = {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}
    caller.call(f"{era}__echo", headers=amazon)
    spans = trace_of(receiver, f"tools/call {era}__echo", 2)
    run.check(f"{era}: a header of X-Ray is a parent", {span["trace"] for span in spans} == {"5759e988bd862e3fe1be46a994272793"}, spans)


def check_cancelled(run: Any, receiver: Receiver, weir: Weir, caller: Caller, era: str) -> None:
    receiver.forget()
    if era == "modern":
        caller.call(f"{era}__slow", timeout=0.4)
    else:
        calling = threading.Thread(target=lambda: caller.call(f"{era}__slow", timeout=10))
        number = caller.number + 1
        calling.start()
        time.sleep(0.5)
        caller.notify("notifications/cancelled", {"requestId": number})
        calling.join()
    spans = trace_of(receiver, f"tools/call {era}__slow", 2)
    run.picture(f"a cancelled call, {era}", draw(spans))


def check_stdio(run: Any, receiver: Receiver, folder: Path, upstreams: Any, telemetry: Any, cleanup: ExitStack) -> None:
    """A caller on stdin: its context is in `_meta`."""
    receiver.forget()
    file = folder / "stdio.yaml"
    file.write_text(json.dumps({"version": 1, "telemetry": telemetry, "upstreams": {"legacy": upstreams["legacy"]}}))
    log = open(folder / "stdio.log", "ab")
    command = [str(run.binary), "serve", "--stdio", "-c", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    cleanup.callback(process.kill)
    assert process.stdin and process.stdout

    def send(message: Any) -> None:
        assert process.stdin
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()

    client = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    send({"id": 1, "method": "initialize", "params": client})
    process.stdout.readline()
    send({"method": "notifications/initialized"})
    send({"id": "two", "method": "tools/call", "params": {"name": "legacy__echo", "arguments": {}, "_meta": {"traceparent": META}}})
    process.stdout.readline()
    spans = trace_of(receiver, "tools/call legacy__echo", 2)
    run.check("stdio: the trace is that of `_meta`", {span["trace"] for span in spans} == {TRACE}, spans)
    run.picture("a call on stdio", draw(spans))
    receiver.forget()
    send({"id": 3, "method": "tools/call", "params": {"name": "legacy__fails", "arguments": {}}})
    process.stdout.readline()
    began = time.monotonic()
    process.stdin.close()
    process.wait(15)
    took = time.monotonic() - began
    run.check("stdio: what waits is sent at the end", of(receiver.spans(), "SERVER", "tools/call legacy__fails"), (took, receiver.spans()))


def check_circuit(run: Any, receiver: Receiver, upstream: Upstream, weir: Weir) -> None:
    """An upstream that is gone: after a few calls the circuit is open."""
    upstream.stop()
    caller = Caller(weir.url, "modern")

    def is_open() -> bool:
        receiver.forget()
        caller.call("modern__echo")
        servers = of(receiver.wait_for(lambda spans: of(spans, "SERVER", "tools/call modern__echo"), 3), "SERVER", "tools/call modern__echo")
        return bool(servers) and servers[0]["attributes"].get("error.type") in ("circuit_open", "not_connected")

    run.check("an open circuit is named", until(is_open, 30), draw(receiver.spans()))
    spans = trace_of(receiver, "tools/call modern__echo")
    run.check("and nothing was sent", not of(spans, "CLIENT", "tools/call echo"), draw(spans))
    upstream.start()


def check_chain(run: Any, receiver: Receiver, folder: Path, upstream: Upstream, telemetry: Any, cleanup: ExitStack) -> None:
    """Three weirs in a row: one trace, each span below the one before."""
    url = upstream.url
    for name in ["third", "second", "first"]:
        weir = Weir(run.binary, folder, cleanup, name, {"x": {"url": url, "namespace": ""}}, {**telemetry, "sample": 0})
        url = weir.url
    receiver.forget()
    caller = Caller(weir.url, "modern")
    caller.call("echo", meta={"traceparent": META})
    name = "tools/call echo"
    spans = in_trace(receiver.wait_for(lambda spans: len(in_trace(spans, TRACE)) >= 6), TRACE)
    run.check("three weirs: six spans of one trace", len(spans) == 6, draw(spans))
    by_id, at, row = {span["span"]: span for span in spans}, None, list[str]()
    # From the upstream's parent upwards.
    at = by_id.get(upstream.last("tools/call")["meta"].split("-")[2])
    while at:
        row.append(f"{at['kind']} {at['resource']['weir.instance']}")
        at = by_id.get(at["parent"])
    expected = [f"{kind} {instance}" for instance in ["third", "second", "first"] for kind in ["CLIENT", "SERVER"]]
    run.check("three weirs: each below the one before", row == expected, row)
    hops = [of(spans, "SERVER", name)[0]["attributes"] for _ in range(1)] and sorted(span["attributes"].get("weir.hops", 0) for span in of(spans, "SERVER", name))
    run.check("three weirs: each knows how many were before it", hops == [0, 1, 2], hops)
    ids = {span["attributes"]["weir.request_id"] for span in spans}
    run.check("three weirs: one request id", len(ids) == 1, ids)
    # Nobody says whether: the first weir decides, the others follow.
    receiver.forget()
    caller.call("echo")
    time.sleep(1.5)
    run.check("three weirs: none records what the first does not", not of(receiver.spans(), "SERVER", name), receiver.spans())
    seen = upstream.last("tools/call")
    run.check("and the upstream is told so", seen["meta"] and seen["meta"].endswith("-00") and seen["meta"] == seen["header"], seen)


def check_verbatim(run: Any, folder: Path, upstream: Upstream, cleanup: ExitStack) -> None:
    """Without telemetry the sender's context goes on as it came."""
    weir = Weir(run.binary, folder, cleanup, "without", {"legacy": {"url": upstream.url}}, None)
    caller = Caller(weir.url, "legacy")
    caller.call("legacy__echo", meta={"traceparent": META})
    seen = upstream.last("tools/call")
    run.check("without telemetry: verbatim, in header and `_meta`", seen["meta"] == seen["header"] == META, seen)
    caller.call("legacy__echo")
    seen = upstream.last("tools/call")
    run.check("without telemetry: none where there was none", seen["meta"] is None and seen["header"] is None, seen)
    weir.process.stop(signal.SIGTERM)


def check_sampling(run: Any, receiver: Receiver, folder: Path, upstream: Upstream, cleanup: ExitStack) -> None:
    weir = Weir(run.binary, folder, cleanup, "sampled", {"legacy": {"url": upstream.url}}, {"endpoint": receiver.url, "sample": 0.3})
    caller = Caller(weir.url, "legacy")
    caller.open()
    receiver.forget()
    unsampled = META.replace("-01", "-00")
    caller.call("legacy__echo", meta={"traceparent": unsampled})
    seen = upstream.last("tools/call")
    run.check("a sender that does not record: its ids go on, flag 00", seen["meta"] == unsampled == seen["header"], seen)
    for _ in range(200):
        caller.call("legacy__echo")
    time.sleep(1.5)
    count = len(of(receiver.spans(), "SERVER", "tools/call legacy__echo"))
    run.check("about the part of all requests that `sample` says is recorded", 25 <= count <= 100, count)
    weir.process.stop(signal.SIGTERM)
