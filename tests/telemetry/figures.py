"""Figures: Debian's Prometheus scrapes weir, and answers what the dashboard and the rules ask."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from caller import Caller
from install import Skip
from parts import Upstream, Weir, until
from rig import Process, free_port, get

PROJECT = Path(__file__).resolve().parents[2]
DASHBOARD = PROJECT / "deploy" / "grafana" / "weir.json"
RULES = PROJECT / "deploy" / "prometheus"
# Prefixes of metrics of weir, and of its process.
METRIC = re.compile(r"\b(?:weir|process)_[a-z0-9_]+")
# The query of docs/src/metrics.md for percentiles of what weir adds, by tool.
ADDED = 'histogram_quantile({quantile}, sum by (upstream, tool, le) (rate(weir_call_added_seconds_bucket[5m])))'


def check_figures(run: Any, folder: Path, cleanup: ExitStack) -> None:
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if prometheus is None or promtool is None:
        raise Skip("prometheus and promtool are not on the PATH (Debian: apt install prometheus)")
    tool(run, [promtool, "check", "rules", str(RULES / "rules.yaml")])
    tool(run, [promtool, "test", "rules", str(RULES / "rules_test.yaml")])
    upstream = Upstream(folder, cleanup, "legacy", sys.executable)
    shop = {"legacy": {"url": upstream.url, "resync": "2s", "timeouts": {"call": "300ms"}}}
    # Nobody is there: spans are made, and dropped.
    nowhere = {"endpoint": f"http://127.0.0.1:{free_port()}", "sample": 1}
    weir = Weir(run.binary, folder, cleanup, "figures", shop, nowhere)
    caller = Caller(weir.url, "legacy")
    caller.call("legacy__echo")
    metrics = get(weir.admin + "/metrics")[1]
    tool(run, [promtool, "check", "metrics"], metrics)
    known = set(re.findall(r"^# TYPE (\S+)", metrics, re.M))
    check_names(run, known)
    port = free_port()
    start_prometheus(folder, prometheus, port, weir, cleanup)
    stop = threading.Event()
    calling = threading.Thread(target=lambda: keep_calling(weir, stop), daemon=True)
    calling.start()
    cleanup.callback(stop.set)

    def ask(query: str) -> list[Any]:
        said = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}")[1] or "{}")
        assert said.get("status") == "success", (query, said)
        return said["data"]["result"]

    ready = f"http://127.0.0.1:{port}/-/ready"
    run.check("Prometheus starts", until(lambda: get(ready)[0] == 200, 30))
    run.check("and scrapes weir", until(lambda: ask("up == 1"), 20))
    run.check("and has rates of it", until(lambda: ask("rate(weir_calls_total[10s]) > 0"), 20))
    run.check("and finds the trace of a call in a bucket", until(lambda: exemplars(port), 20), get(weir.admin + "/metrics")[1][:2000])
    for quantile in ("0.95", "0.99"):
        by_tool = {one["metric"]["tool"]: float(one["value"][1]) for one in ask(ADDED.format(quantile=quantile))}
        run.check(f"p{quantile[2:]} of what weir adds, by tool, out of one query", 0 < by_tool.get("legacy__echo", 0) < 0.5, by_tool)
    docs = (PROJECT / "docs" / "src" / "metrics.md").read_text()
    run.check("which is that of docs/src/metrics.md", ADDED.format(quantile="0.99") in docs)
    check_dashboard(run, ask)
    rules = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules")[1])["data"]["groups"][0]["rules"]
    until(lambda: all(rule["health"] == "ok" for rule in json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules")[1])["data"]["groups"][0]["rules"]), 10)
    unwell = [rule["name"] for rule in json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules")[1])["data"]["groups"][0]["rules"] if rule["health"] != "ok"]
    run.check(f"all {len(rules)} rules are evaluated", not unwell, unwell)
    stop.set()


def exemplars(port: int) -> list[str]:
    """The ids of traces that Prometheus has beside buckets."""
    now = time.time()
    query = f"query=weir_call_duration_seconds_bucket&start={now - 300}&end={now + 60}"
    said = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query_exemplars?{query}")[1] or "{}")
    found = [one["labels"].get("trace_id", "") for series in said.get("data") or [] for one in series["exemplars"]]
    return [trace for trace in found if re.fullmatch("[0-9a-f]{32}", trace)]


def tool(run: Any, command: list[str], text: str | None = None) -> None:
    said = subprocess.run(command, input=text, capture_output=True, text=True)
    run.check(f"{' '.join(Path(part).name for part in command)}", said.returncode == 0 and not said.stderr.strip(), said.stdout + said.stderr)


def keep_calling(weir: Weir, stop: threading.Event) -> None:
    caller = Caller(weir.url, "legacy")
    while not stop.is_set():
        for name in ["legacy__echo", "legacy__echo", "legacy__refuses", "legacy__slow", "legacy__echo"]:
            with suppress(OSError, HTTPException):  # at the end weir is gone
                caller.call(name)


def start_prometheus(folder: Path, prometheus: str, port: int, weir: Weir, cleanup: ExitStack) -> None:
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "1s"},
                "rule_files": [str(RULES / "rules.yaml")],
                "scrape_configs": [{"job_name": "weir", "static_configs": [{"targets": [f"127.0.0.1:{weir.admin_port}"]}]}],
            }
        )
    )
    command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    process = Process("prometheus", command, folder)
    cleanup.callback(process.stop, signal.SIGKILL)


def queries() -> list[tuple[str, str]]:
    """The queries of the dashboard with the titles of their panels, and variables put in."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [(f"annotation {one['name']}", one["expr"]) for one in dashboard["annotations"]["list"]]
    put = {"$__rate_interval": "10s", "$instance": ".*", "$upstream": ".*", "$tool": ".*"}

    def with_values(query: str) -> str:
        for name, value in put.items():
            query = query.replace(name, value)
        return query

    return [(title, with_values(query)) for title, query in found]


def check_names(run: Any, known: set[str]) -> None:
    """Every metric that is asked for is one that weir has."""
    texts = [query for _, query in queries()] + [(RULES / "rules.yaml").read_text()]
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for text in texts for name in METRIC.findall(text)}
    asked -= {"weir_accept"}
    run.check("dashboard and rules ask for metrics that there are", asked <= known, asked - known)


def check_dashboard(run: Any, ask: Any) -> None:
    """Every query of a panel has an answer, but for what has not happened."""
    rare = {"annotation Catalog", "annotation Reload"}
    empty = [(title, query) for title, query in queries() if title not in rare and not ask(query)]
    run.check("every panel of the dashboard shows something", not empty, empty)
    for title, query in queries():
        if title in rare:
            ask(query)
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    run.check("panels have ids of their own", len(ids) == len(set(ids)))
    sources = [panel.get("datasource", {}).get("uid") for panel in dashboard["panels"] if panel["type"] != "row"]
    run.check("and the source that is chosen", set(sources) == {"${DS_PROMETHEUS}"}, set(sources))
