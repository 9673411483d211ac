"""What the suite is pointed at: the upstream of this folder, alone or behind weirs."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from suite import Toolbox

from rig import READY_TIMEOUT, Process, Trouble, free_port, get, wait_until  # of tests/interop, see suite.py


def start_upstream(tools: Toolbox, era: str, folder: Path, cleanup: ExitStack) -> str:
    """Starts upstream/server.mjs and gives back its URL."""
    process = Process(f"upstream-{era}", [*tools.script("upstream/server.mjs"), "0", era], folder)
    cleanup.callback(process.stop, signal.SIGKILL)

    def ready() -> str | None:
        lines = process.log.read_text(errors="replace").splitlines()
        return next((line.split()[1] for line in lines if line.startswith("ready ")), None)

    wait_until(lambda: ready() is not None or not process.running, READY_TIMEOUT)
    url = ready()
    if url is None:
        raise Trouble(f"the upstream did not start:\n{process.log.read_text(errors='replace')[-2000:]}")
    return url


def start_weir(binary: Path, name: str, upstream: str, folder: Path, cleanup: ExitStack) -> str:
    """Starts a weir with one upstream, whose names it leaves as they are; gives back its URL when it is ready."""
    port = free_port()
    config = folder / f"{name}.yaml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "listen": {"address": f"127.0.0.1:{port}"},
                "upstreams": {"conformance": {"url": upstream, "namespace": ""}},
            },
            indent=2,
        )
    )
    process = Process(name, [str(binary), "serve", "-c", str(config)], folder)
    cleanup.callback(process.stop, signal.SIGTERM)
    began = time.monotonic()
    while get(f"http://127.0.0.1:{port}/readyz")[0] != 200:
        if not process.running or time.monotonic() - began > READY_TIMEOUT:
            raise Trouble(f"{name} did not become ready:\n{process.log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
    return f"http://127.0.0.1:{port}/mcp"


def start_all(tools: Toolbox, binary: Path | None, folder: Path, cleanup: ExitStack) -> dict[str, str]:
    """The URL of each rig."""
    upstream = start_upstream(tools, "both", folder, cleanup)
    urls = {"direct": upstream}
    if binary is not None:
        urls["weir"] = start_weir(binary, "weir", upstream, folder, cleanup)
        url = upstream
        for name in ("chain-1", "chain-2", "chain-3"):
            url = start_weir(binary, name, url, folder, cleanup)
        urls["chain"] = url
        url = start_upstream(tools, "legacy", folder, cleanup)
        urls["over legacy"] = start_weir(binary, "over-legacy", url, folder, cleanup)
    return urls


def between() -> int:
    """`rigs.py WEIR FOLDER COMMAND... URL`: the command, with the URL of a new weir whose upstream is that URL."""
    binary, folder, *command, url = sys.argv[1:]
    with ExitStack() as cleanup:
        weir = start_weir(Path(binary), "weir", url, Path(folder), cleanup)
        client = Process("client", [*command, weir], Path(folder))
        cleanup.callback(client.stop, signal.SIGKILL)
        code = client.popen.wait()
        print(client.log.read_text(errors="replace"), file=sys.stderr)
    return code


if __name__ == "__main__":
    try:
        sys.exit(between())
    except Trouble as trouble:
        sys.exit(f"rigs.py: {trouble}")
