"""Processes, ports, and weir itself."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from install import HERE, Toolbox

READY_TIMEOUT = 30
GIVEN: set[int] = set()  # ports of `free_port`


class Trouble(Exception):
    """The rig itself does not work: not a failed check, but the end of the run."""


class Process:
    """One program that we started, with its output in a file."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={**os.environ, **(env or {})}
            )

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def stop(self, how: int = signal.SIGTERM, patience: float = 10) -> int | None:
        """Sends a signal and gives back the exit code, or None if it had to be killed in the end."""
        if self.running:
            self.popen.send_signal(how)
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            return None


class PythonServer:
    """server.py on one of the SDKs; can be killed and started again on the same port."""

    def __init__(self, name: str, python: Path, folder: Path, cleanup: ExitStack) -> None:
        self.name, self.python, self.folder = name, python, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        cleanup.callback(self.kill)
        self.start()

    def start(self) -> None:
        command = [str(self.python), "-B", str(HERE / "server.py"), self.name, str(self.port)]
        self.process = Process(self.name, command, self.folder)
        wait_for_port(self.process, self.port)

    def kill(self) -> None:
        self.process.stop(signal.SIGKILL)


class EverythingServer:
    """The everything server over Streamable HTTP: without weir, and as a replica behind nginx."""

    def __init__(self, tools: Toolbox, folder: Path, cleanup: ExitStack, name: str = "everything") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        command = [tools.node, tools.server("everything"), "streamableHttp"]
        process = Process(name, command, folder, {"PORT": str(self.port)})
        cleanup.callback(process.stop, signal.SIGKILL)
        wait_for_port(process, self.port)


def one_of_each(tools: Toolbox, folder: Path, known_file: Path, urls: dict[str, str]) -> dict[str, Any]:
    """The upstreams that all clients walk through: a child of each npm server, and the URLs."""
    # In a folder of its own: what is made later beside a config with a secret in it, processes cannot read.
    (folder / "memory").mkdir()
    memory_file = {"MEMORY_FILE_PATH": {"value": str(folder / "memory" / "memory.jsonl")}}

    def child(server: str, *args: str, **rest: Any) -> dict[str, Any]:
        return {"command": tools.node, "args": [tools.server(server), *args], **rest}

    return {
        "everything": child("everything"),
        "files": child("filesystem", str(known_file.parent)),
        "memory": child("memory", env=memory_file),
        **{name: {"url": url} for name, url in urls.items()},
    }


def extra_settings() -> dict[str, Any]:
    """Settings at the top level that everything has to work with too: JSON, in WEIR_TEST_SETTINGS."""
    return json.loads(os.environ.get("WEIR_TEST_SETTINGS", "{}"))


class Weir:
    """A config with these upstreams, and the weir that runs with it."""

    def __init__(
        self, binary: Path, folder: Path, upstreams: dict[str, Any], cleanup: ExitStack, name: str = "weir", **top: Any
    ) -> None:
        self.binary, self.folder, self.name = binary, folder, name
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.config = folder / f"{name}.yaml"  # JSON is YAML
        config = {
            "version": 1,
            # Small pages, so that every client has to walk them.
            "listen": {"address": f"127.0.0.1:{self.port}", "page_size": 10},
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "state": {"dir": str(folder / f"{name}.state")},
            **top,
            **extra_settings(),
            "upstreams": upstreams,
        }
        self.config.write_text(json.dumps(config, indent=2))
        self.process: Process | None = None
        self.lives = 0
        cleanup.callback(self.kill)

    def start(self) -> float:
        """Starts weir and waits until it is ready; gives back how long that took."""
        began = time.monotonic()
        self.lives += 1
        command = [str(self.binary), "serve", "-c", str(self.config)]
        self.process = Process(f"{self.name}-{self.lives}", command, self.folder)
        ready = f"http://127.0.0.1:{self.port}/readyz"
        while get(ready)[0] != 200:
            if not self.process.running:
                raise Trouble(f"weir ended with exit code {self.process.popen.returncode} before it was ready")
            if time.monotonic() - began > READY_TIMEOUT:
                raise Trouble(f"weir is not ready after {READY_TIMEOUT} s; GET /readyz gives {get(ready)}")
            time.sleep(0.05)
        return time.monotonic() - began

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def upstreams(self) -> dict[str, dict[str, Any]]:
        """What weir says of each upstream, by name."""
        status, body = get(self.admin + "/upstreams")
        if status != 200:
            raise Trouble(f"GET /upstreams gives {status} {body:.300}")
        return {entry["name"]: entry for entry in json.loads(body)["upstreams"]}

    def kill(self) -> None:
        """Leaves nothing behind, whatever weir does."""
        if self.process is not None:
            children = self.children()
            self.process.stop(signal.SIGKILL)
            end(children)

    def children(self) -> dict[int, str]:
        return descendants(self.process.popen.pid) if self.process else {}

    def explain(self) -> str:
        """What helps to understand a failure: what weir says now, and the end of its log."""
        said = f"--- GET /upstreams on the admin listener\n{get(self.admin + '/upstreams')[1][:4000]}\n"
        if self.process is not None:
            lines = self.process.log.read_text(errors="replace").splitlines()[-60:]
            said += f"--- the end of {self.process.log}\n" + "\n".join(lines)
        return said


def free_port() -> int:
    """A port that stays free between being let go and being bound again. It is below the range that the system gives to
    outgoing connections and to port 0, and is given once."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in GIVEN:
                GIVEN.add(port)
                return port


def wait_for_port(process: Process, port: int) -> None:
    def open_or_dead() -> bool:
        if not process.running:
            return True
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    if not wait_until(open_or_dead, READY_TIMEOUT) or not process.running:
        raise Trouble(f"the server {process.name} did not start:\n{process.log.read_text(errors='replace')[-2000:]}")


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def get(url: str) -> tuple[int, str]:
    """The status and body of a GET; status 0 when nobody answers."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def processes() -> dict[int, tuple[int, str, str]]:
    """Every process: its parent, its state and its command."""
    if not Path("/proc/self/stat").exists():
        command = ["ps", "-Ao", "pid=,ppid=,stat=,args="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = (line.split(None, 3) for line in listed.splitlines())
        return {int(row[0]): (int(row[1]), row[2], row[3] if len(row) > 3 else "") for row in rows}
    table = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            args = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has just ended
        table[int(folder.name)] = (int(parent), state, args)
    return table


def descendants(pid: int) -> dict[int, str]:
    """Children, and theirs, with their commands."""
    table = processes()
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        below = {p: row for p, row in table.items() if row[0] in parents and p not in found}
        found |= {p: row[2] for p, row in below.items() if not row[1].startswith("Z")}
        parents = set(below)
    return found


def survivors(pids: dict[int, str]) -> dict[int, str]:
    """Those that still run; a zombie that nobody has collected does not count."""
    table = processes()
    return {
        p: args for p, args in pids.items() if p in table and not table[p][1].startswith("Z") and table[p][2] == args
    }


def end(children: dict[int, str], patience: float = 3) -> dict[int, str]:
    """Waits for these processes to end; kills those that do not, and gives them back."""
    wait_until(lambda: not survivors(children), patience)
    left = survivors(children)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left
