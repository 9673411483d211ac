"""The pinned servers and clients: installed once into a cache folder, again only when a pin changes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PIP = ["-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"]
NPM = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1", "--loglevel=error"]


class Skip(Exception):
    """Something that the project cannot install is missing here; the text says what."""


@dataclass(frozen=True)
class Toolbox:
    """Where the installed things are."""

    node: str
    npm: Path
    python1: Path
    python2: Path

    def server(self, name: str) -> str:
        """The script of one of the servers from npm."""
        return str(self.npm / "node_modules" / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js")

    def client(self, script: str) -> list[str]:
        """The command that runs one of the client scripts."""
        if script.endswith(".mjs"):
            return [self.node, str(self.npm / script)]
        python = self.python1 if script == "client_py1.py" else self.python2
        return [str(python), "-B", "-W", "ignore", str(HERE / script)]


def prepare(cache: Path) -> Toolbox:
    """Checks the tools of this machine and installs what is missing in `cache`."""
    node, npm = find_node()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs share one cache
        install_npm(cache / "npm", npm)
        python1 = install_venv(cache / "mcp-1", HERE / "requirements-v1.txt")
        python2 = install_venv(cache / "mcp-2", HERE / "requirements-v2.txt")
    return Toolbox(node, cache / "npm", python1, python2)


def find_node() -> tuple[str, str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Skip("node and npm are not on the PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    major = re.match(r"v(\d+)", version)
    if major is None or int(major[1]) < 20:
        raise Skip(f"node >= 20 is needed, and {node} is {version or 'broken'}")
    return os.path.realpath(node), npm


def install_npm(folder: Path, npm: str) -> None:
    pins = [HERE / "package.json", HERE / "package-lock.json"]
    if not fresh(folder, pins):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for pin in pins:
            shutil.copy(pin, folder)
        install("the npm packages", [npm, "ci", *NPM], folder)
        stamp(folder, pins)
    for script in HERE.glob("*.mjs"):  # node looks for packages beside the script
        shutil.copy(script, folder)


def install_venv(folder: Path, pins: Path) -> Path:
    python = folder / "bin" / "python"
    if not fresh(folder, [pins]):
        shutil.rmtree(folder, ignore_errors=True)
        install(f"a Python venv with pip for {folder.name}", [sys.executable, "-m", "venv", str(folder)], folder.parent)
        install(f"the PyPI packages of {pins.name}", [str(python), *PIP, "install", "--quiet", "-r", str(pins)], folder)
        stamp(folder, [pins])
    return python


def install(what: str, command: list[str], folder: Path, who: str = "interop") -> None:
    print(f"{who}: installing {what}", flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).splitlines()
        errors = [line[:200] for line in lines if "error" in line.lower()] or lines
        raise Skip("\n    ".join([f"{what} cannot be installed:", *errors[:5]]))


def digest(pins: list[Path]) -> str:
    parts = [sys.version.encode(), *(pin.read_bytes() for pin in pins)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def fresh(folder: Path, pins: list[Path]) -> bool:
    stamp_file = folder / ".pins"
    return stamp_file.exists() and stamp_file.read_text() == digest(pins)


def stamp(folder: Path, pins: list[Path]) -> None:
    (folder / ".pins").write_text(digest(pins))
