"""The pinned suite: installed once, and run; what came of every check."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "interop"))

from install import NPM, Skip, fresh, install, stamp  # noqa: E402
from rig import Trouble  # noqa: E402

NODE_MAJOR = 22
PATIENCE = 240  # seconds; a run takes a few
RESULT = re.compile(r"(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True)
class Toolbox:
    """Where the installed things are."""

    node: str
    folder: Path

    def script(self, name: str) -> list[str]:
        return [self.node, str(self.folder / name)]

    @property
    def suite(self) -> list[str]:
        return self.script("node_modules/@modelcontextprotocol/conformance/dist/index.js")


def prepare(cache: Path, here: Path = HERE, who: str = "conformance") -> Toolbox:
    """Checks the tools of this machine and installs in `cache` what is missing of the packages that `here` pins."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Skip("node and npm are not on the PATH")
    folder = cache / "npm"
    pins = [here / "package.json", here / "package-lock.json"]
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs share one cache
        own = new_enough(shutil.which("node"))
        node = own or packaged(folder)
        if not fresh(folder, pins) or node is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for pin in pins:
                shutil.copy(pin, folder)
            # The optional packages are Node itself, 120 MB of it, for the platforms that have one.
            command = [npm, "ci", *NPM, *(["--omit=optional"] if own else [])]
            install("the npm packages", command, folder, who=who)
            node = own or packaged(folder)
            if node is None:
                raise Skip(
                    f"node >= {NODE_MAJOR} is needed: the one on the PATH is older, and npm has none for this platform"
                )
            stamp(folder, pins)
        for script in [*here.glob("*.mjs"), *here.glob("upstream/*.mjs")]:  # node looks for packages beside the script
            place = folder / script.relative_to(here)
            place.parent.mkdir(exist_ok=True)
            shutil.copy(script, place)
    return Toolbox(node, folder)


def packaged(folder: Path) -> str | None:
    found = (new_enough(str(node)) for node in sorted(folder.glob("node_modules/node-*/bin/node")))
    return next(filter(None, found), None)


def new_enough(node: str) -> str | None:
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    except OSError:
        return None  # for another platform
    major = re.match(r"v(\d+)", version)
    return os.path.realpath(node) if major and int(major[1]) >= NODE_MAJOR else None


@dataclass(frozen=True, order=True)
class Key:
    """One check: its scenario, its id, its name where many share the id, and which of them it is."""

    scenario: str
    check: str
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.scenario}: {self.check}" + (f" ({self.nth + 1})" if self.nth else "")


@dataclass
class Outcome:
    """The checks of one run of the suite."""

    checks: dict[Key, dict] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        return sum(check["status"] == status for check in self.checks.values())

    def add_pause(self) -> None:
        """How long the answer took once its reader was back on a stream that the server had paused. The suite waits
        for many seconds; the server asks for five, and has its answer after a tenth of one."""
        polling = {str(key): check for key, check in self.checks.items() if key.scenario == "server-sse-polling"}
        back = polling.get("server-sse-polling: outgoing-request (2)")
        answer = polling.get("server-sse-polling: incoming-sse-event (2)")
        if back is None:
            return
        times = [datetime.fromisoformat(check["timestamp"].rstrip("Z")) for check in (back, answer) if check]
        took = (times[1] - times[0]).total_seconds() if len(times) == 2 else None
        check: dict = {"status": "SUCCESS", "description": "The answer comes to a reader who is back at once"}
        if took is None or took > 2.5:
            check |= {"status": "FAILURE", "errorMessage": f"after {took} s" if took else "there was none"}
        self.checks[Key("server-sse-polling", "answer-after-pause", "", 0)] = check

    def add_exit(self, scenario: str, log: Path) -> None:
        """The suite only warns of a client that failed, which may be because what it called never answered."""
        said = log.read_text(errors="replace")
        ended = re.search(r"Client exited with code \d+|CLIENT TIMED OUT", said)
        check: dict = {"status": "FAILURE" if ended else "SUCCESS", "description": "The client got what it asked for"}
        if ended:
            check |= {
                "errorMessage": ended[0],
                "details": "\n".join(re.findall(r"^.*Error: .*", said, re.MULTILINE)[:5]),
            }
        self.checks[Key(scenario, "client-exit", "", 0)] = check


def execute(command: Iterable[str], out: Path, log: Path, env: dict[str, str] | None = None) -> None:
    """Runs the suite once; its results go to folders in `out`. That checks fail is no trouble here."""
    out.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as to:
        try:
            popen = subprocess.run(
                [*command, "-o", str(out)],
                stdin=subprocess.DEVNULL, stdout=to, stderr=to, timeout=PATIENCE, env={**os.environ, **(env or {})},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Trouble(f"the suite did not end within {PATIENCE} s: {log}") from None
    if popen.returncode not in (0, 1):  # 1: a check failed
        raise Trouble(f"the suite ended with exit code {popen.returncode}: {log}")


def read(out: Path) -> Outcome:
    """All results in `out`."""
    outcome = Outcome()
    for file in sorted(out.rglob("checks.json")):
        place = str(file.parent.relative_to(out))  # some scenarios have a `/` in their name
        name = RESULT.fullmatch(place)
        scenario = (name[1] if name else place).removeprefix("server-")
        seen: Counter[tuple[str, str]] = Counter()
        for check in json.loads(file.read_text()):
            which = (check["id"], check["name"])
            outcome.checks[Key(scenario, *which, seen[which])] = check
            seen[which] += 1
    return outcome
