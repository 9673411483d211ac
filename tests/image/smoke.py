"""What an image has to do: the same list for each architecture."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engine import IMAGE, Engine

from rig import free_port, get, wait_until

MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
TOOL = {"name": "greet", "inputSchema": {"type": "object"}}
TEXT = {"content": [{"type": "text", "text": "good day"}]}


def upstream(cleanup: ExitStack) -> str:
    """An MCP server with one tool, outside of the container: its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802: the name is the library's
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            info = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "u", "version": "1"}}
            answers = {"initialize": info, "tools/list": {"tools": [TOOL]}, "tools/call": TEXT, "ping": {}}
            if "id" not in asked:
                self.answer(202, b"")
            elif asked["method"] in answers:
                self.answer(200, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answers[asked["method"]]}).encode())
            else:
                error = {"code": -32601, "message": "no such method"}
                self.answer(200, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode())

        def do_GET(self) -> None:  # noqa: N802
            self.answer(405, b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cleanup.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}/mcp"


def post(url: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[dict[str, str], Any]:
    """Headers and result of one message."""
    both = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(url, json.dumps({"jsonrpc": "2.0", **body}).encode(), both | headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        text, kept = answer.read().decode(), {name.lower(): value for name, value in answer.headers.items()}
    if "event-stream" in kept.get("content-type", ""):
        text = next(line[5:] for line in text.splitlines() if line.startswith("data:") and '"id"' in line)
    return kept, json.loads(text)["result"] if text else None


def call_legacy(url: str) -> tuple[list[str], Any]:
    """The names of the tools, and what a call gives, in a session."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "smoke", "version": "1"}}
    headers, _ = post(url, {"id": 1, "method": "initialize", "params": hello}, {})
    session = {"MCP-Protocol-Version": "2025-11-25"}
    if given := headers.get("mcp-session-id"):
        session["Mcp-Session-Id"] = given
    post(url, {"method": "notifications/initialized"}, session)
    _, listed = post(url, {"id": 2, "method": "tools/list"}, session)
    _, called = post(url, {"id": 3, "method": "tools/call", "params": {"name": "u__greet", "arguments": {}}}, session)
    return [tool["name"] for tool in listed["tools"]], called


def call_modern(url: str) -> tuple[list[str], Any]:
    """The same without a session: each request stands alone."""
    meta = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientInfo": {"name": "smoke", "version": "1"}, f"{PREFIX}clientCapabilities": {}}

    def ask(method: str, params: dict[str, Any], name: dict[str, str]) -> Any:
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **name}
        return post(url, {"id": 1, "method": method, "params": params | {"_meta": meta}}, headers)[1]

    listed = ask("tools/list", {}, {})
    called = ask("tools/call", {"name": "u__greet", "arguments": {}}, {"Mcp-Name": "u__greet"})
    return [tool["name"] for tool in listed["tools"]], called


def check_config(run: Any, engine: Engine) -> dict[str, Any]:
    """What the image says of itself, and what is not in it."""
    image = engine.inspect("image", IMAGE)
    config = image["Config"]
    run.check(f"it is for {engine.arch}", image["Architecture"] == engine.arch, image["Architecture"])
    run.check("its user is a number, and not root", config["User"] == "10001:10001", config["User"])
    run.check("it serves its own config", config["Entrypoint"] == ["weir"] and config["Cmd"] == ["serve", "--config", "/etc/weir/weir.yaml"], config)
    run.check("it says which port", list(config["ExposedPorts"]) == ["8000/tcp"], config["ExposedPorts"])
    health = image.get("Healthcheck") or config.get("Healthcheck") or {}
    run.check("it has a health check", health.get("Test", [""])[0] == "CMD", health)
    secret = [word for word in config["Env"] if re.search(r"TOKEN|SECRET|PASSWORD|KEY", word)]
    run.check("its environment has no secret", not secret, secret)
    look = "cd /; find / -xdev \\( -path /src -o -name cargo -o -name .git -o -name 'weir.schema.json' -o -path '/usr/local/cargo' \\) -print 2>/dev/null; ls -A /var/lib/apt/lists"
    code, said = engine.run("podman", "run", "--rm", *engine.confined(), "--entrypoint", "bash", "--user", "0:0", IMAGE, "-c", look)
    run.check("nothing of the build is in it", code == 0 and not said.strip(), said)
    print(f"image: {image['Size'] / 1e6:.0f} MB, for {engine.arch}", flush=True)
    return health


def check_commands(run: Any, engine: Engine) -> None:
    """Commands that end by themselves."""
    once = ["run", "--rm", *engine.confined(), "--network", "none"]
    code, said = engine.run("podman", *once, IMAGE, "--version")
    run.check("weir --version", code == 0 and "target:  " in said, said)
    run.check("it is a binary for this image", {"amd64": "x86_64", "arm64": "aarch64"}[engine.arch] in said, said)
    code, said = engine.run("podman", *once, IMAGE, "check", "-c", "/etc/weir/weir.yaml")
    run.check("weir check, of its own config", code == 0, said)
    code, said = engine.run("podman", *once, IMAGE, "check", "-c", "/nowhere.yaml")
    run.check("a config that is not there ends with 2", code == 2, said)
    began = time.monotonic()
    code, said = engine.run("podman", *once, IMAGE, "demo")
    run.check("weir demo, with a read-only root and without a network", code == 0, said)
    print(f"demo: {time.monotonic() - began:.1f} s", flush=True)


def check_default(run: Any, engine: Engine, health: dict[str, Any], cleanup: ExitStack) -> None:
    """The image as it is, without an option: `docker run weir`, read-only, with a volume for its state."""
    name = f"weir-default-{os.getpid()}"
    cleanup.callback(engine.run, "podman", "rm", "--force", "--volumes", name)
    engine.start(name, "--network", "none", "--volume", f"{name}:/var/lib/weir", IMAGE)
    ask = ["exec", name, *health["Test"][1:]]
    run.check("its health check passes", wait_until(lambda: engine.run("podman", *ask)[0] == 0, 60), engine.run("podman", "logs", name))
    pid = engine.inspect("container", name)["State"]["Pid"]
    told = Path(f"/proc/{pid}/status").read_text()
    status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    run.check("it runs as user and group 10001", status["Uid"].split()[0] == status["Gid"].split()[0] == "10001", status["Uid"])
    rights = {status["CapEff"], status["CapPrm"], status["CapBnd"]}
    run.check("without any capability, nor a way to get one", rights == {"0" * 16} and status["NoNewPrivs"] == "1", rights)
    code, said = engine.run("podman", "exec", name, "bash", "-c", "> /etc/weir/new || > /usr/local/bin/weir || > /new")
    run.check("its root is read-only", code != 0 and "Read-only" in said, said)
    code, said = engine.run("podman", "exec", name, "bash", "-c", "stat -c '%u:%g %a' /var/lib/weir /var/lib/weir/sealing.key")
    run.check("its state is its own, on the volume", code == 0 and said.split("\n")[:2] == ["10001:10001 700", "10001:10001 600"], said)
    engine.must("podman", "stop", "--time", "20", name)
    ended = engine.inspect("container", name)["State"]
    run.check("SIGTERM ends it with 0", ended["ExitCode"] == 0, engine.run("podman", "logs", name))


def check_serve(run: Any, engine: Engine, folder: Path, cleanup: ExitStack) -> None:
    """A config of one's own, an upstream, clients of both eras."""
    port, here = free_port(), folder / "config"
    here.mkdir()
    config = {"version": 1, "listen": {"address": f"127.0.0.1:{port}"}, "upstreams": {"u": {"url": upstream(cleanup)}}}
    (here / "weir.yaml").write_text(json.dumps(config))
    for path in (folder, here, here / "weir.yaml"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    name = f"weir-serve-{os.getpid()}"
    cleanup.callback(engine.run, "podman", "rm", "--force", "--volumes", name)
    engine.start(name, "--network", "host", "--volume", f"{here}:/etc/weir:ro", IMAGE)
    origin = f"http://127.0.0.1:{port}"
    up = wait_until(lambda: get(f"{origin}/readyz")[0] == 200, 60)
    run.check("it is ready, with a config of one's own", up, engine.run("podman", "logs", name))
    if not up:
        return
    for era, call in (("legacy", call_legacy), ("modern", call_modern)):
        try:
            names, called = call(f"{origin}/mcp")
        except (OSError, ValueError, KeyError, StopIteration) as error:
            run.check(f"lists and calls, {era}", False, f"{error!r} {engine.run('podman', 'logs', name)}")
            continue
        run.check(f"lists, {era}", names == ["u__greet"], names)
        run.check(f"calls, {era}", called.get("content") == TEXT["content"], called)
    engine.must("podman", "stop", "--time", "20", name)
    run.check("and ends with 0", engine.inspect("container", name)["State"]["ExitCode"] == 0, engine.run("podman", "logs", name))


def check_built(run: Any, said: str, commit: str, date: str) -> None:
    """What the build stage has done."""
    told = f"cargo build --profile release --locked --bin weir; commit {commit}, date {date}"
    run.check("the build stage builds weir, and says of which commit", told in said, said[-2000:])
