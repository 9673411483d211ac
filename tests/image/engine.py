"""Buildah and Podman, with a storage of their own, and images made from this machine's distribution."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "interop"))

from install import Skip

# Program, and the Debian package that it is in.
NEEDED = {"buildah": "buildah", "podman": "podman", "mmdebstrap": "mmdebstrap", "runc": "runc"}
BASE, RUST, IMAGE = "localhost/weir-base", "localhost/weir-rust", "localhost/weir"
# Stands for cargo in the build stage: weir is built already. It says what the stage would have built, and
# that all of it came into the stage.
CARGO = """#!/bin/sh
set -eu
profile=release
for word; do
    [ "${before-}" = --profile ] && profile=$word
    before=$word
done
for file in Cargo.toml Cargo.lock build.rs src/main.rs tests/it/main.rs benches/pure/main.rs benches/load/main.rs; do
    [ -f "$file" ] || { echo "the context has no $file" >&2; exit 1; }
done
for other in .git target/debug rust-toolchain.toml; do
    [ ! -e "$other" ] || { echo "the context has $other" >&2; exit 1; }
done
mkdir -p "target/$profile"
cp /prebuilt/weir "target/$profile/weir"
echo "cargo $*; commit ${WEIR_COMMIT:-unknown}, date ${SOURCE_DATE_EPOCH:-unknown}"
"""


class Failed(Exception):
    """A command that has to work did not."""


def find_tools() -> None:
    """Skips unless everything is here that images need."""
    if sys.platform != "linux":
        raise Skip("images are built and run on Linux")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        raise Skip(f"there is no {', '.join(missing)} (Debian: apt-get install {' '.join(missing)})")
    if os.geteuid() != 0:
        raise Skip("images need root: mounts, and users other than one's own")


class Engine:
    """Commands of buildah and podman for one architecture."""

    def __init__(self, cache: Path, arch: str, cleanup: ExitStack) -> None:
        self.cache, self.arch = cache, arch
        # Sockets of containers are in the second folder: its path has to be short, and the same every time.
        self.storage = cache / "storage"
        self.runtime = Path("/run") / f"weir-image-{hashlib.sha256(str(cache).encode()).hexdigest()[:8]}"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        cleanup.callback(shutil.rmtree, self.runtime, ignore_errors=True)
        (cache / "tmp").mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, "TMPDIR": str(cache / "tmp"), "BUILDAH_ISOLATION": "chroot"}
        self.base = BASE
        # A driver that works inside of containers too.
        self.where = ["--root", str(self.storage), "--runroot", str(self.runtime / "run"), "--storage-driver", "vfs"]

    def command(self, program: str, *arguments: str) -> list[str]:
        if program != "podman":
            return [program, *self.where, *arguments]
        runtime = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--tmpdir", str(self.runtime / "tmp")]
        return [program, *self.where, *runtime, *arguments]

    def run(self, program: str, *arguments: str, timeout: float = 600) -> tuple[int, str]:
        """The exit code of a command, and all that it printed."""
        done = subprocess.run(
            self.command(program, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=self.environment, timeout=timeout,
        )  # fmt: skip
        return done.returncode, done.stdout

    def must(self, program: str, *arguments: str) -> str:
        code, said = self.run(program, *arguments)
        if code != 0:
            raise Failed(f"{program} {' '.join(arguments)} ends with {code}:\n{said[-3000:]}")
        return said.strip()

    def start(self, name: str, *arguments: str) -> None:
        """Starts a container as a careful operator does: read-only, without rights. The user is the image's."""
        self.must("podman", "run", "--detach", "--name", name, *self.confined(), *arguments)

    def confined(self) -> list[str]:
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        rights = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        # Podman has systemd ask for the health; the tests ask by themselves.
        return [*limits, *rights, "--no-healthcheck", "--pull", "never", "--arch", self.arch]

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        return json.loads(self.must("podman", kind, "inspect", name))[0]

    # --- images

    def from_scratch(self, *steps: tuple[str, ...], name: str, parent: str = "scratch") -> None:
        """Commits an image: each step is a command of buildah, whose `{}` is the container."""
        container = self.must("buildah", "from", "--pull-never", "--arch", self.arch, parent).splitlines()[-1]
        for step in steps:
            self.must("buildah", *(word.replace("{}", container) for word in step))
        self.must("buildah", "commit", "--rm", container, name)

    def make_base(self) -> None:
        """This machine's distribution, as small as it gets: a binary that was linked here runs there."""
        sources = sources_of_apt()
        stamp = hashlib.sha256("\0".join([self.arch, codename(), *(path.read_text() for path in sources)]).encode()).hexdigest()[:12]
        self.base = f"{BASE}:{stamp}"
        if self.run("podman", "image", "exists", self.base)[0] == 0:
            return
        tar = self.cache / "tmp" / "base.tar"
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--architectures={self.arch}", "--quiet", "--format=tar"]
        done = subprocess.run([*command, codename(), str(tar), *map(str, sources)], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise Skip(f"mmdebstrap cannot make a base image: {' '.join(done.stderr.split())[-600:]}")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        config = ("config", "--arch", self.arch, "--env", path, "--cmd", "bash", "{}")
        self.from_scratch(("add", "--quiet", "{}", str(tar), "/"), config, name=self.base)
        tar.unlink()

    def make_rust(self, weir: Path) -> None:
        """Stands for the image of Rust: the base, the binary, and a `cargo` that copies it."""
        with tempfile.TemporaryDirectory(dir=self.cache / "tmp") as folder:
            cargo, binary = Path(folder) / "cargo", Path(folder) / "weir"
            cargo.write_text(CARGO)
            shutil.copy(weir, binary)
            # A binary with all of its debugging information has hundreds of MB.
            subprocess.run([f"{TRIPLES[self.arch]}-strip", "--strip-debug", str(binary)], check=False, capture_output=True)
            add = [("add", "--quiet", "--chmod", "755", "{}", str(path), to) for path, to in ((cargo, "/usr/local/bin/cargo"), (binary, "/prebuilt/weir"))]
            self.from_scratch(*add, name=RUST, parent=self.base)

    def build(self, commit: str, date: str) -> str:
        """Executes the Dockerfile as it is, and returns what it printed."""
        stands = ["--build-arg", f"RUST={RUST}", "--build-arg", f"DEBIAN={self.base}"]
        told = ["--build-arg", f"COMMIT={commit}", "--build-arg", f"SOURCE_DATE_EPOCH={date}"]
        # The format of Docker: that of OCI knows no HEALTHCHECK.
        how = ["--isolation", "chroot", "--pull-never", "--format", "docker", "--arch", self.arch, "--no-cache"]
        code, said = self.run("buildah", "bud", *how, *stands, *told, "--tag", IMAGE, "--file", str(PROJECT / "Dockerfile"), str(PROJECT))
        if code != 0 and re.search(r"Failed to fetch|Temporary failure resolving|Unable to locate package", said):
            raise Skip("the Dockerfile installs packages, and their server cannot be reached")
        if code != 0:
            raise Failed(f"the Dockerfile cannot be built:\n{said[-3000:]}")
        return said

    def remove(self) -> None:
        """Removes everything but base images, for the next run."""
        self.run("podman", "rm", "--all", "--force", "--volumes")
        self.run("podman", "volume", "prune", "--force")
        self.run("buildah", "rm", "--all")
        self.run("buildah", "rmi", "--force", IMAGE, RUST)
        self.run("buildah", "rmi", "--prune")


TRIPLES = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


def codename() -> str:
    found = re.search(r"^VERSION_CODENAME=\"?([\w-]+)\"?$", Path("/etc/os-release").read_text(), re.M)
    if found is None:
        raise Skip("this is neither Debian nor Ubuntu, from which the base image is made")
    return found[1]


def sources_of_apt() -> list[Path]:
    """Where this machine gets its packages from; nothing means the distribution's own servers."""
    folder = Path("/etc/apt")
    found = [folder / "sources.list", folder / "sources.list.d" / "debian.sources", folder / "sources.list.d" / "ubuntu.sources"]
    is_source = re.compile(r"^(deb |Types:)", re.M)
    return [path for path in found if path.is_file() and is_source.search(path.read_text())]
