"""An nginx before two weirs: requests of a session go to the same one, all others to either."""

from __future__ import annotations

import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

from rig import Process, free_port, wait_for_port

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    log_format rows escape=json '{{"status":$status,"session":"$http_mcp_session_id","to":"$upstream_addr"}}';
    access_log {folder}/nginx-rows.log rows;

    # A session stays with its weir as long as that runs. What has none goes to any.
    map $http_mcp_session_id $home {{ "" $request_id; default $http_mcp_session_id; }}
    upstream weirs {{
        {hash}
        server 127.0.0.1:{a} max_fails=0;
        server 127.0.0.1:{b} max_fails=0;
        {keepalive}
    }}
    server {{
        listen 127.0.0.1:{port};
        location = /mcp {{
            proxy_pass http://weirs;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1;
            proxy_buffering off;
            proxy_read_timeout 1h;
            # Who is not connected to sends to the other one: nothing of the request has left.
            proxy_next_upstream error timeout;
            proxy_connect_timeout 2s;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Its path: Debian puts it where the PATH of many users does not lead."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def find_redis() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


class Edge:
    """The nginx before two ports."""

    def __init__(
        self,
        nginx: str,
        ports: tuple[int, int],
        keepalive: int,
        folder: Path,
        cleanup: ExitStack,
        affinity: bool = True,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        a, b = ports
        kept = f"keepalive {keepalive};" if keepalive else ""
        hashed = "hash $home consistent;" if affinity else ""
        text = CONFIG.format(folder=folder, port=self.port, a=a, b=b, keepalive=kept, hash=hashed)
        (folder / "nginx.conf").write_text(text)
        self.process = Process("nginx", [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], folder)
        cleanup.callback(self.process.stop, signal.SIGTERM)
        wait_for_port(self.process, self.port)


class Redis:
    """A redis-server without anything on disk."""

    def __init__(self, redis: str, folder: Path, cleanup: ExitStack) -> None:
        self.redis, self.folder = redis, folder
        self.port = free_port()
        cleanup.callback(self.kill)
        self.start()

    def start(self) -> None:
        command = [self.redis, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = Process("redis", command, self.folder)
        wait_for_port(self.process, self.port)

    def kill(self) -> None:
        self.process.stop(signal.SIGKILL)
