"""The script for AgentCore Runtime: a weir, and the cases, which the venv's Python runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools import HERE, Toolbox

from rig import Process, free_port, get, wait_until

# An upstream with one tool, so that a list has something to show.
UPSTREAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        tool = {"name": "demo_tool", "inputSchema": {"type": "object"}}
        info = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": info | {"tools": [tool]}}), flush=True)
"""


def check_agentcore(run: Any, tools: Toolbox, binary: Path, folder: Path) -> None:
    with ExitStack() as cleanup:
        here = folder / "agentcore"
        here.mkdir()
        port = free_port()
        child = {"command": sys.executable, "args": ["-c", UPSTREAM], "namespace": ""}
        config = {"version": 1, "listen": {"address": f"127.0.0.1:{port}"}, "upstreams": {"x": child}}
        (here / "weir.json").write_text(json.dumps(config))
        weir = Process("weir", [str(binary), "serve", "-c", str(here / "weir.json")], here)
        cleanup.callback(weir.stop, signal.SIGKILL)
        if not wait_until(lambda: get(f"http://127.0.0.1:{port}/readyz")[0] == 200, 30):
            raise AssertionError(weir.log.read_text())
        command = [str(tools.python), "-B", str(HERE / "agentcore_cases.py"), f"http://127.0.0.1:{port}"]
        environment = {**os.environ, "WEIR": str(binary), "NO_PROXY": "127.0.0.1"}
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as cases:
            assert cases.stdout
            other = ""
            for line in cases.stdout:
                if line.startswith(("  ok   ", "  FAIL ")):
                    print(line, end="", flush=True)
                    run.passed, run.failed = run.passed + line.startswith("  ok"), run.failed + line.startswith("  FAIL")
                else:
                    other += line
        run.check("the cases run to their end", cases.returncode == 0, other)
