"""An nginx as it stands before many servers, with two replicas of server-everything behind it.

To weir it is one URL that does what HTTP allows and MCP does not mention:

- `/mcp` is redirected (307) to `/everything/`, where the server is;
- answers come in gzip, though nobody asked for it: an outer server asks the inner one on its own;
- a cookie says which of the two replicas goes on with a session. Without it they take turns, and each
  refuses the sessions of the other. As with AWS's balancers, every answer brings a new cookie.
"""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

from install import Toolbox
from report import Group, Report
from rig import EverythingServer, Process, free_port, wait_for_port, wait_until

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    log_format rows escape=json '{{"method":"$request_method","status":$status,"session":"$http_mcp_session_id",'
        '"minted":"$upstream_http_mcp_session_id","cookie":"$cookie_replica","set":"$landed.$request_id",'
        '"replica":"$landed","encoding":"$sent_http_content_encoding","id":"$request_id"}}';
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_read_timeout 1h;

    upstream either {{ server 127.0.0.1:{a}; server 127.0.0.1:{b}; }}
    upstream a {{ server 127.0.0.1:{a}; }}
    upstream b {{ server 127.0.0.1:{b}; }}
    map $cookie_replica $pool {{ ~^a a; ~^b b; default either; }}
    map $upstream_addr $landed {{ 127.0.0.1:{a} a; 127.0.0.1:{b} b; default none; }}

    server {{
        listen 127.0.0.1:{port};
        absolute_redirect off;
        access_log {folder}/nginx-front.log;
        location = /mcp {{ return 307 /everything/; }}
        location = /everything/ {{
            proxy_pass http://127.0.0.1:{inner};
            proxy_set_header Host $http_host;
            proxy_set_header Accept-Encoding gzip;
        }}
    }}
    server {{
        listen 127.0.0.1:{inner};
        access_log {folder}/nginx-rows.log rows;
        gzip on;
        gzip_proxied any;
        gzip_min_length 1;
        gzip_types application/json text/event-stream;
        location / {{
            proxy_pass http://$pool/mcp;
            proxy_set_header Host $http_host;
            add_header Set-Cookie "replica=$landed.$request_id; Path=/; HttpOnly" always;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Its path: Debian puts it where the PATH of many users does not lead."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Edge:
    """The nginx and its replicas. What each replica answered is a row of its log."""

    def __init__(self, nginx: str, tools: Toolbox, folder: Path, cleanup: ExitStack) -> None:
        replicas = [EverythingServer(tools, folder, cleanup, f"replica-{name}") for name in "ab"]
        port, inner = free_port(), free_port()
        a, b = (replica.port for replica in replicas)
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, inner=inner, a=a, b=b))
        process = Process("nginx", [nginx, "-p", str(folder), "-c", str(config)], folder)
        cleanup.callback(process.stop, signal.SIGKILL)
        wait_for_port(process, port)
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}/mcp"

    def rows(self) -> list[dict]:
        """What was asked of the replicas, and how they answered; a stream comes when it has ended."""
        return [json.loads(line) for line in (self.folder / "nginx-rows.log").read_text().splitlines()]

    def redirected(self) -> int:
        return sum(" 307 " in line for line in (self.folder / "nginx-front.log").read_text().splitlines())

    def judge(self, report: Report, group: Group) -> None:
        """What the clients cannot see: that nothing worked by luck."""
        wait_until(lambda: any(row["method"] == "GET" for row in self.rows()), 3)
        rows = self.rows()

        def check(what: str, wrong: list, detail: str = "") -> None:
            report.check(group, what, not wrong, f"{len(wrong)} of {len(rows)}: {wrong[:3]}" if wrong else detail)

        home = {row["minted"]: row["replica"] for row in rows if row["minted"]}
        owner = {row["set"]: row["session"] or row["minted"] for row in rows}
        used = sorted(set(home.values()))
        report.check(group, "both replicas have sessions", used == ["a", "b"], f"{len(home)} sessions on {used}")
        within = [row for row in rows if row["session"]]
        check("every session stays at its replica", [r for r in within if r["replica"] != home.get(r["session"])])
        check("none of a session's requests is refused", [r for r in within if r["status"] >= 400])
        crossed = [r for r in within if owner.get(r["cookie"]) not in (None, "", r["session"])]
        check("no cookie crosses from session to session", crossed)
        plain = [r for r in rows if r["method"] == "POST" and r["status"] == 200 and r["encoding"] != "gzip"]
        check("every answer was in gzip", plain)
        redirected = self.redirected()
        report.check(group, "there were redirects", redirected > 0, f"{redirected} of them, {len(rows)} requests")
