"""The provider, the upstream, weir and its callers."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "interop"), str(HERE.parent / "conformance")]

from install import Skip  # noqa: E402, F401
from install import Toolbox as ClientTools  # noqa: E402
from install import prepare as prepare_clients  # noqa: E402
from rig import Process, Trouble, free_port, get, wait_for_port, wait_until  # noqa: E402
from suite import Toolbox  # noqa: E402

SECRET = "weir-test-secret/+ with:colon"  # of provider.mjs
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "oauth-test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Server:
    """One of the scripts of this folder; can be killed and started again on the same port."""

    def __init__(self, tools: Toolbox, script: str, folder: Path, cleanup: ExitStack, *args: str) -> None:
        self.tools, self.script, self.folder, self.args = tools, script, folder, args
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        cleanup.callback(self.kill)
        self.start()

    def start(self) -> None:
        command = [*self.tools.script(self.script), str(self.port), *self.args]
        self.process = Process(self.script, command, self.folder)
        wait_for_port(self.process, self.port)

    def kill(self) -> None:
        self.process.stop(signal.SIGKILL)

    def seen(self) -> dict[str, Any]:
        return json.loads(get(f"{self.url}/_seen")[1])

    def do(self, **orders: Any) -> None:
        """What the provider does from now on."""
        request = urllib.request.Request(f"{self.url}/_do", json.dumps(orders).encode())
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5).close()


def provider(tools: Toolbox, folder: Path, cleanup: ExitStack, ttl: int) -> Server:
    return Server(tools, "provider.mjs", folder, cleanup, str(folder / "keys"), str(ttl))


def upstream(tools: Toolbox, folder: Path, cleanup: ExitStack, issuer: Server, *args: str) -> Server:
    return Server(tools, "upstream.mjs", folder, cleanup, issuer.url, *args)


def official_clients(cache: Path) -> ClientTools:
    """The official clients, as tests/interop pins and installs them."""
    tools = prepare_clients(cache)
    shutil.copy(HERE / "client.mjs", tools.npm)  # node looks for packages beside the script
    return tools


class Weir:
    """A weir over upstreams that are given as config. `auth` is how its callers log in."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        cleanup: ExitStack,
        upstreams: dict[str, Any],
        auth: dict[str, Any] | None = None,
        port: int | None = None,
        log: str = "info",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.admin_port = port or free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.settings: dict[str, Any] = {
            "version": 1,
            "listen": {"address": f"127.0.0.1:{self.port}"},
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "state": {"dir": str(folder / "state")},
            "upstreams": upstreams,
        }
        self.config = folder / "weir.yaml"  # JSON is YAML
        self.configure(auth)
        env = {"WEIR_LOG": log}
        self.process = Process("weir", [str(binary), "serve", "-c", str(self.config)], folder, env)
        cleanup.callback(self.process.stop, signal.SIGKILL)
        ready = f"http://127.0.0.1:{self.port}/readyz"
        if not wait_until(lambda: get(ready)[0] == 200 or not self.process.running, 30) or not self.process.running:
            raise Trouble(f"weir is not ready: {self.log[-2000:]}")

    def configure(self, auth: dict[str, Any] | None) -> None:
        """Writes the config, at once as editors do, so that a weir that runs reloads it."""
        if auth is not None:
            self.settings["listen"]["auth"] = auth
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps(self.settings, indent=2))
        new.rename(self.config)

    @property
    def log(self) -> str:
        return self.process.log.read_text(errors="replace")

    def told(self, name: str) -> dict[str, Any]:
        """What GET /upstreams says of one upstream."""
        rows = json.loads(self.page("/upstreams"))["upstreams"]
        return next(row for row in rows if row["name"] == name)

    def page(self, path: str) -> str:
        return get(f"http://127.0.0.1:{self.admin_port}{path}")[1]

    def credentials(self, name: str) -> dict[str, Any]:
        return self.told(name)["credentials"]


class Caller:
    """A caller of weir on a connection of its own."""

    def __init__(self, weir: Weir) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", weir.port, timeout=60)

    def call(self, tool: str) -> str:
        """The text of the answer; `error: …` if it is one."""
        params = {"name": tool, "arguments": {}, "_meta": META}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        self.connection.request("POST", "/mcp", body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        message = json.loads(text) if text.startswith("{") else {}
        content = message.get("result", {}).get("content")
        return content[0]["text"] if content else f"error: {answer.status} {text[:500]}"


class Load:
    """Callers who call again and again, at the same time."""

    def __init__(self, weir: Weir, tool: str, callers: int, pause: float) -> None:
        self.calls, self.failed = 0, []
        self.began = time.monotonic()
        self.lock, self.over = threading.Lock(), threading.Event()
        args = (weir, tool, pause)
        self.threads = [threading.Thread(target=self.run, args=args, daemon=True) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def run(self, weir: Weir, tool: str, pause: float) -> None:
        caller = Caller(weir)
        while not self.over.is_set():
            try:
                said = caller.call(tool)
            except OSError as error:
                said = f"error: {error!r}"
                caller = Caller(weir)
            with self.lock:
                self.calls += 1
                if said.startswith("error:"):
                    self.failed.append(f"after {time.monotonic() - self.began:.1f} s: {said}")
            self.over.wait(pause)

    def stop(self) -> float:
        """Ends it; how long it took."""
        took = time.monotonic() - self.began
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        return took
