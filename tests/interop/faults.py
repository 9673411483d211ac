"""A second weir, whose upstreams are not as they should be: behind an nginx that does much by itself, and
with prompts that cannot be listed."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

from edge import Edge, find_nginx
from nulls import check_preset
from report import Client, Group, Run
from rig import PythonServer, Weir, wait_until
from scenario import behind_nginx, broken_prompts

PATIENCE = 20  # seconds, until all upstreams have listed their tools
AT_ONCE = ("ts1", "py1", "ts2 auto", "py2 pinned")
SKIPPED = "there is no nginx (Debian: apt install nginx-light)"


def run_faults(run: Run, binary: Path, py1: PythonServer, py2: PythonServer) -> None:
    whole = {"url": py2.url, "tools": {"override": {"echo": {"set_args": {"text": "set by the operator"}}}}}
    broken = {
        f"{server.name}-{how}": {"url": f"{server.url}?prompts={how}"}
        for server in (py1, py2)
        for how in ("error", "500", "hang")
    }
    for name, upstream in broken.items():
        if name.endswith("-hang"):
            upstream["timeouts"] = {"list": "2s"}
    with ExitStack() as cleanup:
        nginx = find_nginx()
        edge = Edge(nginx, run.tools, run.folder, cleanup) if nginx else None
        upstreams = {**({"edge": {"url": edge.url}} if edge else {}), "whole": whole, **broken}
        weir = Weir(binary, run.folder, upstreams, cleanup, name="faults")
        before = len(run.report.failures)
        try:
            weir.start()
            group = run.report.group("faults")
            check_listed(run, weir, group, list(upstreams), list(broken))
            ok, detail = check_preset(weir.url, "whole__echo")
            run.report.check(group, "whole__echo, arguments: null where the operator presets some", ok, detail)
            run_clients(run, weir, list(broken), edge)
        finally:
            if len(run.report.failures) > before or not weir.running:
                print(weir.explain(), flush=True)


def check_listed(run: Run, weir: Weir, group: Group, all_of_them: list[str], broken: list[str]) -> None:
    began = time.monotonic()
    wait_until(lambda: all(entry["tools"] for entry in weir.upstreams().values()), PATIENCE)
    said = weir.upstreams()
    for name in all_of_them:
        entry = said[name]
        detail = f"{entry['tools']} of them, {entry['state']}: {entry['reason']}"
        run.report.check(group, f"{name} has its tools", bool(entry["tools"]), detail)
    for name in broken:
        entry = json.dumps(said[name])
        run.report.check(group, f"/upstreams says what {name} does not list", "prompts/list" in entry, entry)
    group.seconds = time.monotonic() - began


def run_clients(run: Run, weir: Weir, broken: list[str], edge: Edge | None) -> None:
    kinds = [kind for kind in run.kinds if kind.label in AT_ONCE] or run.kinds
    for kind in (kinds[0], kinds[-1]):
        Client(run, f"{kind.label} broken prompts", kind, weir.url, broken_prompts(broken)).until_pause()
    if edge is None:
        return
    clients = [Client(run, f"{kind.label} nginx", kind, weir.url, behind_nginx(kind)) for kind in kinds]
    for client in clients:  # all of them run at once
        client.until_pause()
    edge.judge(run.report, run.report.group("nginx"))
