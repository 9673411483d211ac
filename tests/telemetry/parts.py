"""The receiver, upstreams and weirs of the checks, and what their traces look like."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rig import Process, Trouble, free_port, get, wait_for_port, wait_until

HERE = Path(__file__).resolve().parent
Span = dict[str, Any]


def post(url: str, body: Any = None) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else b"", method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read()


class Receiver:
    """receiver.py in a process of its own."""

    def __init__(self, python: Path, folder: Path, cleanup: ExitStack, name: str = "receiver") -> None:
        self.python, self.folder, self.name, self.cleanup = python, folder, name, cleanup
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [str(self.python), "-B", str(HERE / "receiver.py"), str(self.port)]
        self.process = Process(self.name, command, self.folder)
        self.cleanup.callback(self.process.stop, signal.SIGKILL)
        wait_for_port(self.process, self.port)

    def stop(self) -> None:
        self.process.stop(signal.SIGKILL)

    def received(self) -> dict[str, list[Any]]:
        return json.loads(get(f"{self.url}/received")[1])

    def spans(self) -> list[Span]:
        return self.received()["spans"]

    def forget(self) -> None:
        post(f"{self.url}/forget")

    def behave(self, **how: Any) -> None:
        post(f"{self.url}/behave", how)

    def wait_for(self, enough: Callable[[list[Span]], Any], seconds: float = 8) -> list[Span]:
        """The spans, as soon as they are enough."""
        wait_until(lambda: enough(self.spans()), seconds)
        return self.spans()


class Upstream:
    """upstream.py in a process of its own."""

    def __init__(self, folder: Path, cleanup: ExitStack, era: str, python: str) -> None:
        self.folder, self.era, self.python, self.cleanup = folder, era, python, cleanup
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.log = folder / f"upstream-{era}.jsonl"
        self.log.touch()
        self.start()

    def start(self) -> None:
        command = [self.python, "-B", str(HERE / "upstream.py"), str(self.port), str(self.log), self.era]
        self.process = Process(f"upstream-{self.era}", command, self.folder)
        self.cleanup.callback(self.process.stop, signal.SIGKILL)
        wait_for_port(self.process, self.port)

    def stop(self) -> None:
        self.process.stop(signal.SIGKILL)

    def last(self, method: str) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["method"] == method][-1]


class Weir:
    """A weir with its config."""

    def __init__(self, binary: Path, folder: Path, cleanup: ExitStack, name: str, upstreams: dict[str, Any], telemetry: Any,
                 env: dict[str, str] | None = None, **top: Any) -> None:
        self.binary, self.folder, self.name, self.env = binary, folder, name, env or {}
        self.port, self.admin_port = free_port(), free_port()
        self.url, self.admin = f"http://127.0.0.1:{self.port}/mcp", f"http://127.0.0.1:{self.admin_port}"
        self.file = folder / f"{name}.yaml"  # JSON is YAML
        self.config = {
            "version": 1,
            "listen": {"address": f"127.0.0.1:{self.port}", "drain": "2s"},
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "instance": name,
            "upstreams": upstreams,
            **({"telemetry": telemetry} if telemetry is not None else {}),
            **top,
        }
        self.write()
        self.process = Process(name, [str(binary), "serve", "-c", str(self.file)], folder, self.env)
        cleanup.callback(self.process.stop, signal.SIGKILL)
        if not wait_until(lambda: get(f"http://127.0.0.1:{self.port}/readyz")[0] == 200, 40):
            raise Trouble(f"weir is not ready:\n{self.log()[-2000:]}")

    def write(self) -> None:
        self.file.write_text(json.dumps(self.config))

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()

    def metric(self, series: str) -> float:
        lines = get(self.admin + "/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))

    def resident(self) -> float:
        return self.metric("process_resident_memory_bytes")

    def reload(self) -> None:
        """Has the config read again, and waits until it is in force."""
        before = self.metric("weir_config_reloads_total")
        self.process.popen.send_signal(signal.SIGHUP)
        if not until(lambda: self.metric("weir_config_reloads_total") > before, 10):
            raise Trouble(f"weir does not reload:\n{self.log()[-2000:]}")


def of(spans: list[Span], kind: str, name: str) -> list[Span]:
    return [span for span in spans if span["kind"] == kind and span["name"] == name]


def in_trace(spans: list[Span], trace: str) -> list[Span]:
    return [span for span in spans if span["trace"] == trace]


# The parts that differ from run to run.
UNSTEADY = [
    (re.compile(r"^(server\.port): .*"), r"\1: <port>"),
    (re.compile(r"^(weir\.request_id): .*"), r"\1: <id>"),
    (re.compile(r"^(mcp\.session\.id): .*"), r"\1: <session>"),
    (re.compile(r"^(weir\.generation): .*"), r"\1: <generation>"),
]


def draw(spans: list[Span]) -> str:
    """The trace as text: spans below their parents, with what does not differ from run to run."""
    known = {span["span"] for span in spans}
    lines: list[str] = []

    def attributes(span: Span) -> list[str]:
        texts = []
        for key, value in sorted(span["attributes"].items()):
            if span["kind"] == "CLIENT" and key == "jsonrpc.request.id":
                value = "<number>"
            text = f"{key}: {json.dumps(value)}"
            for pattern, steady in UNSTEADY:
                text = pattern.sub(steady, text)
            texts.append(text)
        return texts

    def walk(span: Span, depth: int) -> None:
        indent = "    " * depth
        said = f" ({span['status']['message']})" if span["status"]["message"] else ""
        failed = f" ERROR{said}" if span["status"]["code"] == 2 else ""
        links = f" links {len(span['links'])}" if span["links"] else ""
        lines.append(f"{indent}{span['kind']} {span['name']}{failed}{links}")
        lines.extend(f"{indent}  {text}" for text in attributes(span))
        lines.extend(f"{indent}  event {event['name']}" for event in span["events"])
        below = sorted((other for other in spans if other["parent"] == span["span"]), key=lambda other: other["start"])
        for other in below:
            walk(other, depth + 1)

    for root in sorted((span for span in spans if span["parent"] not in known), key=lambda span: span["start"]):
        walk(root, 0)
    return "\n".join(lines)


def until(condition: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())
