"""Exporting: receivers that are gone, slow or busy, reloads, the end, and the standard variables."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from caller import Caller
from parts import Receiver, Upstream, Weir, of, until
from rig import get

NAME = "tools/call legacy__echo"


def storm(weir: Weir, calls: int, callers: int = 8) -> float:
    """Calls from several callers; the seconds that they took. Each has to be answered."""
    wrong: list[Any] = []

    def some() -> None:
        caller = Caller(weir.url, "legacy")
        for _ in range(calls // callers):
            said = caller.call("legacy__echo")
            if not said or "result" not in said:
                wrong.append(said)

    began = time.monotonic()
    threads = [threading.Thread(target=some) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    return time.monotonic() - began


def check_exporting(run: Any, folder: Path, cleanup: ExitStack) -> None:
    receiver = Receiver(run.python, folder, cleanup)
    upstream = Upstream(folder, cleanup, "legacy", sys.executable)
    shop = {"legacy": {"url": upstream.url, "resync": "1h"}}
    weir = Weir(run.binary, folder, cleanup, "exports", shop, {"endpoint": receiver.url, "logs": True})
    check_batches(run, receiver, weir)
    check_busy(run, receiver, weir)
    check_gone(run, receiver, weir)
    check_reload(run, receiver, weir, folder, cleanup)
    check_end(run, receiver, weir)
    check_variables(run, receiver, folder, shop, cleanup)
    check_compressed(run, receiver, folder, shop, cleanup)
    check_metrics(run, receiver, folder, shop, cleanup)
    check_copies(run, receiver, folder, shop, cleanup)


def check_batches(run: Any, receiver: Receiver, weir: Weir) -> None:
    receiver.forget()
    storm(weir, 800)
    spans = receiver.wait_for(lambda spans: len(of(spans, "SERVER", NAME)) >= 800)
    run.check("no span is lost", len(of(spans, "SERVER", NAME)) == 800, len(of(spans, "SERVER", NAME)))
    received = receiver.received()
    posts = [request for request in received["requests"] if request["path"] == "/v1/traces"]
    run.check("spans go in batches", len(posts) <= 30 and not any("error" in post for post in posts), posts)
    logs = [log for log in received["logs"] if log["attributes"].get("gen_ai.tool.name") == "legacy__echo"]
    run.check("a log record for each request", len(logs) == 800 and {log["event"] for log in logs} == {"weir.call"}, len(logs))
    known = {span["span"]: span for span in of(spans, "SERVER", NAME)}
    run.check("each with its span", all(known[log["span"]]["trace"] == log["trace"] for log in logs))
    Caller(weir.url, "legacy").call("nobody__knows")
    until(lambda: any(log["severity"] == "WARN" for log in receiver.received()["logs"]), 5)
    warned = [log["attributes"] for log in receiver.received()["logs"] if log["severity"] == "WARN"]
    run.check("what fails is a warning", [log.get("weir.outcome") for log in warned] == ["failed"], warned)
    run.check("nothing is dropped", weir.metric("weir_telemetry_dropped_total") == 0)


def check_busy(run: Any, receiver: Receiver, weir: Weir) -> None:
    receiver.forget()
    receiver.behave(status=429, retry_after=2, times=2)
    Caller(weir.url, "legacy").call("legacy__echo")
    spans = receiver.wait_for(lambda spans: of(spans, "SERVER", NAME), 12)
    requests = [request for request in receiver.received()["requests"] if request["path"] == "/v1/traces"]
    refused = [request for request in requests if request["status"] == 429]
    run.check("a busy receiver gets it again", of(spans, "SERVER", NAME) and refused, requests)
    if refused:
        after = [request["at"] for request in requests if request["at"] > refused[0]["at"]]
        run.check("after the time that it asked for", after and after[0] - refused[0]["at"] >= 1.9, requests)
    receiver.behave(reject=3, times=1)
    until(lambda: (Caller(weir.url, "legacy").call("legacy__echo"), "took a part of the telemetry" in weir.log())[1], 8)
    run.check("what it takes in part is said", "some were too old" in weir.log(), weir.log()[-800:])
    dropped = weir.metric("weir_telemetry_dropped_total")
    run.check("and counted", dropped == 3, dropped)
    receiver.behave(status=400, times=1)
    until(lambda: (Caller(weir.url, "legacy").call("legacy__echo"), weir.metric("weir_telemetry_dropped_total") > 3)[1], 8)
    run.check("what it never takes is dropped and counted", weir.metric("weir_telemetry_dropped_total") > 3)
    receiver.behave()


def check_gone(run: Any, receiver: Receiver, weir: Weir) -> None:
    """Thousands of calls while nobody takes anything."""
    calm = storm(weir, 1000)
    receiver.stop()
    before, said = weir.resident(), weir.log().count("telemetry is not taken")
    gone = storm(weir, 8_000)
    grown = weir.resident() - before
    run.check("calls do not wait for a receiver that is gone", gone / 8 < 1.5 * calm + 2, (calm, gone / 8))
    run.check("nothing grows beyond the buffer", grown < 24 << 20, grown)
    run.check("what finds no room is dropped and counted", weir.metric('weir_telemetry_dropped_total{signal="traces"}') > 500, weir.metric("weir_telemetry_dropped_total"))
    said = weir.log().count("telemetry is not taken") - said
    run.check("and said once for each signal", 1 <= said <= 2, said)
    receiver.start()
    run.check("a receiver that comes back gets spans again", receiver.wait_for(lambda spans: (Caller(weir.url, "legacy").call("legacy__echo"), of(spans, "SERVER", NAME))[1], 45))
    receiver.behave(delay=3)
    slow = storm(weir, 1000)
    run.check("calls do not wait for a slow receiver", slow < 1.5 * calm + 2, (calm, slow))
    receiver.behave()


def check_reload(run: Any, receiver: Receiver, weir: Weir, folder: Path, cleanup: ExitStack) -> None:
    other = Receiver(run.python, folder, cleanup, "other")
    weir.config["telemetry"] = {"endpoint": other.url}
    weir.write()
    weir.reload()
    Caller(weir.url, "legacy").call("legacy__echo")
    run.check("a reload sends elsewhere", of(other.wait_for(lambda spans: of(spans, "SERVER", NAME)), "SERVER", NAME))
    other.forget()
    del weir.config["telemetry"]
    weir.write()
    weir.reload()
    Caller(weir.url, "legacy").call("legacy__echo")
    time.sleep(1.5)
    run.check("a reload sends nothing any more", not of(other.spans(), "SERVER", NAME), other.spans())
    weir.config["telemetry"] = {"endpoint": receiver.url}
    weir.write()
    weir.reload()


def check_end(run: Any, receiver: Receiver, weir: Weir) -> None:
    receiver.forget()
    storm(weir, 80)
    began = time.monotonic()
    code = weir.process.stop(signal.SIGTERM, 20)
    took = time.monotonic() - began
    spans = of(receiver.spans(), "SERVER", NAME)
    run.check("at the end what waits is sent", len(spans) == 80, len(spans))
    run.check("within two seconds", code == 0 and took < 4, (code, took))


def check_variables(run: Any, receiver: Receiver, folder: Path, shop: Any, cleanup: ExitStack) -> None:
    receiver.forget()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=tea%20m",
        "OTEL_SERVICE_NAME": "edge",
        "OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=no",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    weir = Weir(run.binary, folder, cleanup, "variables", shop, None, env)
    Caller(weir.url, "legacy").call("legacy__echo")
    spans = of(receiver.wait_for(lambda spans: of(spans, "SERVER", NAME)), "SERVER", NAME)
    run.check("the standard variables are enough", spans and spans[0]["resource"]["service.name"] == "edge" and spans[0]["resource"]["a"] == "b", spans)
    headers = [request["headers"].get("x-team") for request in receiver.received()["requests"]]
    run.check("their headers are sent", set(headers) == {"tea m"}, headers)
    began = time.monotonic()
    receiver.behave(delay=30)
    Caller(weir.url, "legacy").call("legacy__echo")
    time.sleep(1.2)
    code = weir.process.stop(signal.SIGTERM, 20)
    took = time.monotonic() - began
    run.check("a receiver that hangs holds up the end for two seconds at most", code == 0 and took < 6, (code, took))
    receiver.behave()


def check_compressed(run: Any, receiver: Receiver, folder: Path, shop: Any, cleanup: ExitStack) -> None:
    receiver.forget()
    telemetry = {"traces_endpoint": f"{receiver.url}/v1/traces", "compression": "gzip", "headers": {"authorization": {"value": "Bearer planted-secret"}}}
    weir = Weir(run.binary, folder, cleanup, "compressed", shop, telemetry)
    Caller(weir.url, "legacy").call("legacy__echo")
    spans = of(receiver.wait_for(lambda spans: of(spans, "SERVER", NAME)), "SERVER", NAME)
    requests = receiver.received()["requests"]
    run.check("gzip is taken", spans and all(request["headers"].get("content-encoding") == "gzip" for request in requests), requests)
    run.check("with its credential", all(request["headers"]["authorization"] == "Bearer planted-secret" for request in requests))
    receiver.behave(status=401)
    Caller(weir.url, "legacy").call("legacy__echo")
    until(lambda: "telemetry is not taken" in weir.log(), 5)
    run.check("which is in no log", "planted-secret" not in weir.log() and "telemetry is not taken" in weir.log(), weir.log()[-600:])
    receiver.behave()
    weir.process.stop(signal.SIGTERM)


def check_metrics(run: Any, receiver: Receiver, folder: Path, shop: Any, cleanup: ExitStack) -> None:
    """All metrics are sent, with the values that a scrape has."""
    receiver.forget()
    telemetry = {"metrics_endpoint": f"{receiver.url}/v1/metrics", "metrics_interval": "1s"}
    weir = Weir(run.binary, folder, cleanup, "metrics", shop, telemetry)
    storm(weir, 80)
    calls = {"upstream": "legacy", "method": "tools/call", "tool": "legacy__echo"}

    def points(name: str, **labels: str) -> list[Any]:
        found = (point for point in receiver.received()["metrics"] if point["name"] == name)
        return [point for point in found if labels.items() <= point["labels"].items()]

    until(lambda: [point["value"] for point in points("weir_calls_total", outcome="ok", **calls)] == [80], 5)
    counted = points("weir_calls_total", outcome="ok", **calls)
    run.check("metrics: calls are counted", [point["value"] for point in counted] == [80], counted)
    added = points("weir_call_added_seconds", **calls)
    run.check("metrics: a histogram of what weir adds", [point["count"] for point in added] == [80] and added[0]["bounds"][0] == 0.000025 and added[0]["unit"] == "s", added)
    lines = [line for line in get(weir.admin + "/metrics")[1].splitlines() if not line.startswith("#")]
    families = {line.split("{")[0].split(" ")[0] for line in lines}
    scraped = {name for name in families if not name.endswith(("_bucket", "_sum", "_count"))}
    scraped |= {name.removesuffix("_bucket") for name in families if name.endswith("_bucket")}
    sent = {point["name"] for point in receiver.received()["metrics"]}
    run.check("metrics: all that a scrape has", scraped == sent, scraped ^ sent)
    requests = receiver.received()["requests"]
    run.check("metrics: nothing else is sent", {request["path"] for request in requests} == {"/v1/metrics"} and not any("error" in request for request in requests), requests)
    Caller(weir.url, "legacy").call("legacy__echo")
    weir.process.stop(signal.SIGTERM)
    last = points("weir_calls_total", outcome="ok", **calls)
    run.check("metrics: once more at the end", [point["value"] for point in last] == [81], last)


def check_copies(run: Any, receiver: Receiver, folder: Path, shop: Any, cleanup: ExitStack) -> None:
    """The lines of the record file, as log records: the copy is as good as the file."""
    receiver.forget()
    file = folder / "records.jsonl"
    telemetry = {"endpoint": receiver.url, "audit": True}
    weir = Weir(run.binary, folder, cleanup, "copies", shop, telemetry, audit={"file": str(file)})
    caller = Caller(weir.url, "legacy")
    caller.call("legacy__echo", meta={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    caller.call("nobody__knows")

    def copies() -> list[Any]:
        return [log for log in receiver.received()["logs"] if log["event"] == "weir.audit"]

    def of_tool(tool: str) -> list[Any]:
        return [log for log in copies() if log["attributes"].get("tool_name") == tool]

    until(lambda: of_tool("legacy__echo") and of_tool("nobody__knows"), 5)
    echo, unknown = of_tool("legacy__echo"), of_tool("nobody__knows")
    run.check("copies: a line for each request", len(echo) == len(unknown) == 1, copies())
    said = echo[0]["attributes"]
    run.check("copies: members are attributes", said["result_status"] == "ok" and said["upstream_status"] == "result" and said["latency_ms"] > 0 and len(said["pre_transform_hash"]) > 30, said)
    run.check("copies: with the trace", echo[0]["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736", echo)
    run.check("copies: what is refused is a warning", echo[0]["severity"] == "INFO" and unknown[0]["severity"] == "WARN", unknown)
    run.check("copies: no log record for each request besides", not any(log["event"] == "weir.call" for log in receiver.received()["logs"]))
    weir.process.stop(signal.SIGTERM)
    sent, written = [log["body"] for log in copies()], file.read_text().splitlines()
    missing = [line for line in written if line not in sent]
    # The last lines are written when nothing is sent any more.
    run.check("copies: letter by letter", set(sent) <= set(written) and len(missing) <= 2, missing)
