"""The packages for npm: made by deploy/release, and installed by npx from a registry on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import urllib.parse
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from release import Release
from tools import HERE, output

sys.path.insert(0, str(HERE.parent / "interop"))

from install import Skip, find_node

# This machine as Rust and as Node call it.
HOSTS = {
    ("Linux", "x86_64"): ("x86_64-unknown-linux-gnu", "linux-x64"),
    ("Linux", "aarch64"): ("aarch64-unknown-linux-gnu", "linux-arm64"),
    ("Darwin", "arm64"): ("aarch64-apple-darwin", "darwin-arm64"),
    ("Darwin", "x86_64"): ("x86_64-apple-darwin", "darwin-x64"),
}
OTHERS = {"linux-x64": ("aarch64-apple-darwin", "darwin-arm64")}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "npx", "version": "1"}},
}


def manifest(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        inner = tar.extractfile("package/package.json")
        assert inner
        return json.load(inner)


def serve(files: list[Path], cleanup: ExitStack) -> str:
    """A registry that has these packages and no others: its URL."""
    known = {manifest(file)["name"]: file for file in files}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802: the name is the library's
            name = urllib.parse.unquote(self.path.lstrip("/"))
            if name.startswith("files/") and (file := next((file for file in files if file.name == name[6:]), None)):
                self.answer(200, file.read_bytes())
            elif name in known:
                self.answer(200, json.dumps(self.describe(known[name])).encode())
            else:
                self.answer(404, b"{}")

        def describe(self, file: Path) -> dict[str, Any]:
            told, content = manifest(file), file.read_bytes()
            integrity = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
            dist = {"tarball": f"{url}/files/{file.name}", "integrity": integrity}
            version = told["version"]
            return {"name": told["name"], "dist-tags": {"latest": version}, "versions": {version: told | {"dist": dist}}}

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cleanup.callback(server.shutdown)
    return url


def check_npm(run: Any, weir: Path, folder: Path) -> None:
    node, npm = find_node()
    host = HOSTS.get((platform.system(), platform.machine()))
    if host is None:
        raise Skip(f"there are no packages for {platform.system()} on {platform.machine()}")
    release = Release(folder / "npm", None)
    packages = make(run, release, weir, host)
    with ExitStack() as cleanup:
        registry = serve(packages, cleanup)
        home = folder / "npm-home"
        home.mkdir()
        settings = {"npm_config_registry": registry, "npm_config_cache": str(home / "cache"), "HOME": str(home), "npm_config_userconfig": str(home / "npmrc")}
        environment = {key: value for key, value in os.environ.items() if not key.lower().startswith("npm_")} | settings
        check_npx(run, Path(npm).with_name("npx"), weir, release.version, environment, home)
        check_installed(run, (node, npm), release.version, host[1], environment, home)


def make(run: Any, release: Release, weir: Path, host: tuple[str, str]) -> list[Path]:
    """The packages, of the weir that is tested and of one for another machine."""
    target, machine = host
    binary = release.root / "weir"
    code, said = release.run("npm_packages")
    run.check("without a packed binary there is nothing to pack", code != 0, said)
    other, other_machine = OTHERS.get(machine, ("x86_64-unknown-linux-gnu", "linux-x64"))
    binary.write_text("#!/bin/sh\n")
    for each in (target, other):
        release.run("pack", str(binary), each)
    release.run("repository", "https://github.com/example/weir")
    code, said = release.run("npm_packages")
    files = [release.files / f"weir-v{release.version}-npm{name}.tgz" for name in ("", f"-{machine}", f"-{other_machine}")]
    run.check("there is a package for each binary, and one that names them", code == 0 and all(file.exists() for file in files), said)
    main = manifest(files[0])
    wanted = {f"@mcp-weir/{name}": release.version for name in (machine, other_machine)}
    run.check("the one names exactly the others, of its version", main["optionalDependencies"] == wanted and main["version"] == release.version, main)
    run.check("each says where it comes from", all(manifest(file)["repository"]["url"] == "git+https://github.com/example/weir.git" for file in files), main)
    run.check("no script runs at the installation", not any("scripts" in manifest(file) for file in files), main)
    first = [file.read_bytes() for file in files]
    release.run("npm_packages")
    run.check("made again, they are the same files", [file.read_bytes() for file in files] == first)
    # Now with the weir that is tested. With its debugging information it has hundreds of MB.
    shutil.copy(weir, binary)
    subprocess.run(["strip", "-S" if platform.system() == "Darwin" else "--strip-debug", str(binary)], check=False, capture_output=True)
    release.run("pack", str(binary), target)
    code, said = release.run("npm_packages")
    run.check("the binary of this machine is packed", code == 0 and files[1].stat().st_size > 1_000_000, said)
    return files


def check_npx(run: Any, npx: Path, weir: Path, version: str, environment: dict[str, str], home: Path) -> None:
    """What people and clients of MCP write."""
    command = [str(npx), "--yes", f"mcp-weir@{version}"]
    code, said = output([*command, "--version"], env=environment, cwd=home, stdin=subprocess.DEVNULL)
    _, wanted = output([str(weir), "--version"], stdin=subprocess.DEVNULL)
    run.check("npx starts the weir of this machine", code == 0 and said == wanted, said)
    code, said = output([*command, "check", "-c", "/nowhere.yaml"], env=environment, cwd=home, stdin=subprocess.DEVNULL)
    run.check("its exit code is weir's", code == 2, (code, said))
    (home / "weir.yaml").write_text("version: 1\nupstreams: {}\n")
    asked = json.dumps(INITIALIZE) + "\n"
    done = subprocess.run([*command, "serve", "--stdio", "-c", "weir.yaml"], input=asked, capture_output=True, text=True, env=environment, cwd=home, timeout=60)
    lines = done.stdout.splitlines()
    answered = json.loads(lines[0]) if lines else {}
    run.check("a client on stdin is served, and stdout is its own", answered.get("result", {}).get("protocolVersion") == "2025-11-25" and len(lines) == 1, done)
    run.check("weir ends with its client", done.returncode == 0, done)


def check_installed(run: Any, tools: tuple[str, str], version: str, machine: str, environment: dict[str, str], home: Path) -> None:
    """What is installed, and what ends it."""
    node, npm = tools
    at = home / "installed"
    code, said = output([npm, "install", "--prefix", str(at), f"mcp-weir@{version}"], env=environment, cwd=home, stdin=subprocess.DEVNULL)
    installed = sorted(path.name for path in (at / "node_modules" / "@mcp-weir").iterdir()) if code == 0 else []
    run.check("only the binary of this machine is installed", installed == [machine], (code, said, installed))
    script = str(at / "node_modules" / "mcp-weir" / "bin" / "weir.js")
    (home / "open.yaml").write_text('version: 1\nlisten: { address: "127.0.0.1:0" }\nupstreams: {}\n')
    started = subprocess.Popen([node, script, "serve", "-c", "open.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=home, env=environment)
    assert started.stderr
    up = next((line for line in started.stderr if "/mcp" in line), "")
    started.send_signal(signal.SIGTERM)
    # To its end: weir has stderr too, and holds it as long as it lives.
    rest = started.stderr.read()
    run.check("SIGTERM ends weir with it, in order", bool(up) and started.wait(30) == 0, (up, rest, started.returncode))
    without = home / "without"
    output([npm, "install", "--omit=optional", "--prefix", str(without), f"mcp-weir@{version}"], env=environment, cwd=home, stdin=subprocess.DEVNULL)
    code, said = output([node, str(without / "node_modules" / "mcp-weir" / "bin" / "weir.js"), "--version"])
    run.check("without its binary it says what to do", code == 1 and "--omit=optional" in said, said)
