"""What the suite is pointed at: the upstream of this folder, alone or behind weirs."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from suite import Toolbox

from rig import READY_TIMEOUT, Process, Trouble, extra_settings, free_port, get, wait_until  # of tests/interop, see suite.py

TROUBLE = "trouble"  # the file


@dataclass
class Rigs:
    """The URL of each rig, and all that runs for them; their logs are in `folder`."""

    folder: Path
    cleanup: ExitStack
    urls: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def run(self, name: str, command: list[str]) -> Process:
        process = Process(name, command, self.folder)
        self.cleanup.callback(process.stop)
        self.processes.append(process)
        return process

    def upstream(self, tools: Toolbox, era: str) -> str:
        """Starts upstream/server.mjs and gives back its URL."""
        return self.server(f"upstream-{era}", [*tools.script("upstream/server.mjs"), "0", era])

    def server(self, name: str, command: list[str]) -> str:
        process = self.run(name, command)

        def ready() -> list[str]:
            lines = process.log.read_text(errors="replace").splitlines()
            return [line.split()[1] for line in lines if line.startswith("ready ")]

        wait_until(lambda: ready() or not process.running, READY_TIMEOUT)
        return next(iter(ready()), None) or self.give_up(process)

    def weir(self, binary: Path, name: str, upstream: str, more: dict | None = None, top: dict | None = None) -> str:
        """Starts a weir whose one upstream keeps its names, and gives back its URL when it is ready."""
        port = free_port()
        upstreams = {"upstream": {"url": upstream, "namespace": "", **(more or {})}}
        config = self.folder / f"{name}.yaml"  # JSON is YAML
        listen = {"address": f"127.0.0.1:{port}"}
        config.write_text(json.dumps({"version": 1, "listen": listen, **(top or {}), **extra_settings(), "upstreams": upstreams}, indent=2))
        process = self.run(name, [str(binary), "serve", "-c", str(config)])

        def ready() -> bool:
            return get(f"http://127.0.0.1:{port}/readyz")[0] == 200

        answered = wait_until(lambda: ready() or not process.running, READY_TIMEOUT)
        return f"http://127.0.0.1:{port}/mcp" if answered and process.running else self.give_up(process)

    def give_up(self, process: Process) -> NoReturn:
        raise Trouble(f"{process.name} is not ready:\n{process.log.read_text(errors='replace')[-2000:]}")


def start_all(tools: Toolbox, binary: Path | None, folder: Path, cleanup: ExitStack) -> Rigs:
    rigs = Rigs(folder, cleanup)
    upstream = rigs.urls["direct"] = rigs.upstream(tools, "both")
    if binary is not None:
        rigs.urls["weir"] = rigs.weir(binary, "weir", upstream)
        url = upstream
        for name in ("chain-1", "chain-2", "chain-3"):
            url = rigs.weir(binary, name, url)
        rigs.urls["chain"] = url
        for era in ("legacy", "modern"):
            rigs.urls[f"over {era}"] = rigs.weir(binary, f"over-{era}", rigs.upstream(tools, era))
    return rigs


def start_sdk(tools: Toolbox, binary: Path | None, folder: Path, cleanup: ExitStack) -> Rigs:
    """The SDK's own server, twice: what is changed on one rig is not announced on the other."""
    rigs = Rigs(folder, cleanup)
    command = [*tools.script("upstream/sdk.mjs"), "0"]
    rigs.urls["direct"] = rigs.server("sdk-direct", command)
    if binary is not None:
        rigs.urls["weir"] = rigs.weir(binary, "weir-sdk", rigs.server("sdk", command))
    return rigs


@contextmanager
def telling(folder: Path) -> Iterator[None]:
    """Leaves what troubles the rig in `folder`: the suite, which runs the client, says nothing of it."""
    try:
        yield
    except Exception:
        (folder / TROUBLE).write_text(traceback.format_exc())
        sys.exit(1)


def between() -> int:
    """`rigs.py WEIR FOLDER COMMAND... URL`: the command, with the URL of a new weir whose upstream is that URL."""
    binary, folder, *command, url = sys.argv[1:]
    with telling(Path(folder)), ExitStack() as cleanup:
        rigs = Rigs(Path(folder), cleanup)
        client = rigs.run("client", [*command, rigs.weir(Path(binary), "weir", url)])
        code = client.popen.wait()
        print(client.log.read_text(errors="replace"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(between())
