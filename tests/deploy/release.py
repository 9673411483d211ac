"""deploy/release and the workflow that runs it: everything but the long builds and what leaves this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tools import HERE, Toolbox

PROJECT = HERE.parents[1]
TRIPLE = "x86_64-unknown-linux-gnu"
# The words that deploy/release reads.
READ = ["Cargo.toml", "Cargo.lock", "CHANGELOG.md", "README.md", "LICENSE", "deploy/release", "deploy/npm", "deploy/kubernetes/weir"]


class Release:
    """A copy of what the script reads, which a test may change."""

    def __init__(self, folder: Path, helm: Path | None) -> None:
        self.root, self.files = folder, folder / "target" / "release-files"
        for name in READ:
            source, target = PROJECT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        path = f"{helm.parent}:{os.environ['PATH']}" if helm else os.environ["PATH"]
        self.environment = {**os.environ, "PATH": path, "SOURCE_DATE_EPOCH": "1764460800", "WEIR_COMMIT": "0" * 40}
        for name in ("CARGO_TARGET_DIR", "GITHUB_REPOSITORY", "GITHUB_SERVER_URL"):
            self.environment.pop(name, None)
        self.version = self.table("package")["version"]

    def table(self, name: str) -> dict[str, str]:
        """The texts of a table of Cargo.toml."""
        body = (self.root / "Cargo.toml").read_text().partition(f"\n[{name}]\n" if name != "package" else "[package]\n")[2]
        return dict(re.findall(r'^([\w-]+) = "(.*)"$', body.partition("\n[")[0], re.M))

    def run(self, *arguments: str) -> tuple[int, str]:
        command = [str(self.root / "deploy" / "release"), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment)
        return done.returncode, done.stdout

    def change(self, name: str, old: str, new: str) -> str:
        """Replaces a text that has to be there, and returns the file's text of before."""
        before = (self.root / name).read_text()
        changed = re.sub(old, new, before, count=1, flags=re.M)
        assert changed != before, (name, old)
        (self.root / name).write_text(changed)
        return before


def check_release(run: Any, tools: Toolbox, folder: Path) -> None:
    release = Release(folder / "release", tools.helm)
    check_tag(run, release)
    check_files(run, release)
    check_chart(run, release, tools)
    check_finish(run, release)
    check_workflow(run)


def check_tag(run: Any, release: Release) -> None:
    """A tag is refused until the version is the same wherever it is written."""
    version, changelog = re.escape(release.version), (release.root / "CHANGELOG.md").read_text()
    if "not released yet" in changelog:
        code, said = release.run("check", f"v{release.version}")
        run.check("a version without a date is not released", code == 1 and "write the date" in said, said)
        release.change("CHANGELOG.md", r"not released yet", "2026-12-01")
    if "\nrepository = " not in (release.root / "Cargo.toml").read_text():
        code, said = release.run("check", f"v{release.version}")
        run.check("nor one that binaries cannot be found of", code == 1 and "`repository`" in said, said)
        code, said = release.run("repository", "github.com/example/weir")
        run.check("the address of the project is one of https", code == 1 and "is no address" in said, said)
        code, said = release.run("repository", "https://github.com/example/weir/")
        run.check("it is written into Cargo.toml", code == 0 and release.table("package").get("repository") == "https://github.com/example/weir", said)
    code, said = release.run("check", f"v{release.version}")
    run.check("a tag that is the version may be released", code == 0 and "is ready" in said, said)
    release.environment["GITHUB_REPOSITORY"] = "somebody/else"
    code, said = release.run("check", f"v{release.version}")
    run.check("but only in the project that binaries are looked for in", code == 1 and "made in somebody/else" in said, said)
    del release.environment["GITHUB_REPOSITORY"]
    code, said = release.run("check", "v99.0.0")
    run.check("another tag is refused", code == 1 and f"has to be v{release.version}" in said, said)
    chart, lock = "deploy/kubernetes/weir/Chart.yaml", rf'(name = "mcp-weir"\nversion = ")({version})'
    for name, old, new, message in (
        (chart, rf"^version: {version}$", "version: 99.0.0", "Chart.yaml: `version`"),
        (chart, rf"^appVersion: {version}$", "appVersion: 99.0.0", "Chart.yaml: `appVersion`"),
        ("CHANGELOG.md", rf"^## {version}\b", "## 99.0.0", "CHANGELOG.md has no heading"),
        ("Cargo.lock", lock, r"\g<1>99.0.0", "Cargo.lock has another version"),
    ):
        before = release.change(name, old, new)
        code, said = release.run("check", f"v{release.version}")
        run.check(f"refused: {message}", code == 1 and message in said, said)
        (release.root / name).write_text(before)


def check_files(run: Any, release: Release) -> None:
    """The packed binary is where cargo binstall looks for it, and the same every time."""
    binary = release.root / "weir"
    binary.write_text("#!/bin/sh\n")
    code, said = release.run("pack", str(binary), TRIPLE)
    expanded = release.table("package.metadata.binstall")
    words = {"repo": "REPO", "version": release.version, "target": TRIPLE, "bin": "weir", "binary-ext": ""}
    for word, value in words.items():
        expanded = {key: text.replace(f"{{ {word} }}", value) for key, text in expanded.items()}
    run.check("binstall's names have no word that is not known", not any("{" in text for text in expanded.values()), expanded)
    base, _, name = expanded["pkg-url"].rpartition("/")
    run.check("binstall looks in the release of the tag", base == f"REPO/releases/download/v{release.version}", base)
    packed = release.files / name
    run.check("and finds the file there", code == 0 and packed.exists() and expanded["pkg-fmt"] == "tgz", (said, name))
    with tarfile.open(packed) as tar:
        names, modes = tar.getnames(), {member.name: member.mode for member in tar}
    run.check("with the program in it", modes.get(expanded["bin-dir"]) == 0o755, modes)
    folder = f"weir-v{release.version}-{TRIPLE}"
    wanted = [folder, *(f"{folder}/{name}" for name in ("CHANGELOG.md", "LICENSE", "README.md", "weir"))]
    run.check("its licence, and no more", sorted(names) == sorted(wanted), names)
    first = packed.read_bytes()
    os.utime(binary, (1, 1))
    release.run("pack", str(binary), TRIPLE)
    run.check("packed again, it is the same file", packed.read_bytes() == first)


def check_chart(run: Any, release: Release, tools: Toolbox) -> None:
    if tools.helm is None:
        print(f"  left out: the chart of a release: {tools.no_helm}", flush=True)
        return
    code, said = release.run("chart", "ghcr.io/example/weir")
    packed = release.files / f"weir-v{release.version}-chart.tgz"
    run.check("the chart is packed", code == 0 and packed.exists(), said)
    command = [str(tools.helm), "template", "edge", str(packed), "--set", "config.listen.auth=none"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run.check("and takes the image of the release", f"image: \"ghcr.io/example/weir:{release.version}\"" in done.stdout or f"image: ghcr.io/example/weir:{release.version}" in done.stdout, done.stdout)


def check_finish(run: Any, release: Release) -> None:
    code, said = release.run("finish")
    sums = (release.files / "SHA256SUMS").read_text()
    files = sorted(path.name for path in release.files.iterdir() if path.name != "SHA256SUMS")
    run.check("each file has its checksum", code == 0 and sorted(line.split()[-1] for line in sums.splitlines()) == files, sums)
    notes = (release.root / "target" / "release-notes.md").read_text()
    headings = re.findall(r"^## (\S+)", notes, re.M)
    run.check("the notes are about this version only", [h.strip(",") for h in headings] == [release.version], headings)


def check_workflow(run: Any) -> None:
    """The workflow runs steps that there are, and knows every file that they make."""
    text = (PROJECT / ".github" / "workflows" / "release.yml").read_text()
    script = (PROJECT / "deploy" / "release").read_text()
    steps = set(re.findall(r"deploy/release (\w+)", re.sub(r"(?m)^\s*#.*$", "", text)))
    known = set(re.findall(r"^(\w+)\(\) \{", script, re.M))
    run.check("the workflow runs all steps of deploy/release", steps == {"check", "binary", "sbom", "chart", "crate", "npm_packages", "finish"} and steps <= known, steps)
    arguments = set(re.findall(r"^ARG (\w+)$", (PROJECT / "Dockerfile").read_text(), re.M))
    run.check("and tells the image its commit and date", arguments == {"COMMIT", "SOURCE_DATE_EPOCH"} and all(f"{name}=" in text for name in arguments), arguments)
    needs = re.search(r"(?m)^  release:\n(?:.*\n)*?    needs: \[(.*)\]", text)
    run.check("nothing is published before all is built", needs is not None and set(needs[1].split(", ")) == {"check", "binaries", "npm", "sbom", "image-of-both", "chart"}, needs)
