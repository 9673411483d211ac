"""What a run has found so far, and the clients whose checks it is made of."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from install import Toolbox
from scenario import ClientKind

CLIENT_TIMEOUT = 60  # one takes about 5 s


@dataclass
class Group:
    """The checks of one client, or of one part of the run."""

    name: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""


class Report:
    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.groups: list[Group] = []

    def group(self, name: str) -> Group:
        self.groups.append(Group(name))
        return self.groups[-1]

    def check(self, group: Group, check: str, ok: bool, detail: str = "") -> bool:
        if ok:
            group.passed += 1
        else:
            group.failed.append(f"{check}: {detail}")
        if self.verbose or not ok:
            print(f"  {'ok  ' if ok else 'FAIL'} {group.name:12} {check}  {detail:.600}", flush=True)
        return ok

    @property
    def failures(self) -> list[str]:
        return [line for group in self.groups for line in group.failed]

    @property
    def failed(self) -> bool:
        return bool(self.failures)

    def table(self) -> None:
        width = max(len(group.name) for group in self.groups)
        print(f"\n{'':{width}}  passed  failed  seconds")
        for group in self.groups:
            print(f"{group.name:{width}}  {group.passed:6}  {len(group.failed):6}  {group.seconds:7.1f}  {group.note}")
        for group in self.groups:
            for line in group.failed:
                print(f"FAIL {group.name}: {line}")
        failed = sum(len(group.failed) for group in self.groups)
        print(f"\ninterop: {sum(group.passed for group in self.groups)} passed, {failed} failed", flush=True)


@dataclass
class Run:
    """What all parts of a run share."""

    tools: Toolbox
    kinds: list[ClientKind]
    folder: Path
    report: Report

    @property
    def known_file(self) -> Path:
        return self.folder / "files" / "hello.txt"


class Client:
    """One client process; its checks go to a group of the report."""

    def __init__(
        self,
        run: Run,
        name: str,
        kind: ClientKind,
        url: str,
        steps: list[dict],
        version: str = "",
        person: bool = False,
    ) -> None:
        self.report, self.group = run.report, run.report.group(name)
        version = version or kind.version
        plan = {"url": url, "mode": kind.mode, "version": version, "person": person, "steps": steps}
        slug = name.replace(" ", "_")
        plan_file = run.folder / f"{slug}.plan.json"
        plan_file.write_text(json.dumps(plan, indent=1))
        self.stderr = run.folder / f"{slug}.stderr"
        self.began = time.monotonic()
        with open(self.stderr, "wb") as stderr:
            command = [*run.tools.client(kind.script), str(plan_file)]
            self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        self.watchdog = threading.Timer(CLIENT_TIMEOUT, self.popen.kill)
        self.watchdog.start()

    def until_pause(self) -> bool:
        """Reads checks until the client waits for `go_on` (True) or has ended (False)."""
        for raw in self.popen.stdout:  # bytes: a text line may hold U+2028
            try:
                line = json.loads(raw)
            except ValueError:
                continue  # a library that prints
            if "pause" in line:
                return True
            took = f"  [{line['ms']} ms]" if "ms" in line else ""
            self.report.check(self.group, line["check"], line["ok"], f"{line['detail']}{took}")
            if line["check"] == "connect":
                self.group.note = line["detail"].partition(",")[0]
        self.finish()
        return False

    def go_on(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # `until_pause` tells when it is dead
            self.popen.stdin.write(b"\n")
            self.popen.stdin.flush()

    def finish(self) -> None:
        code = self.popen.wait()
        self.watchdog.cancel()
        self.group.seconds = time.monotonic() - self.began
        said = self.stderr.read_text(errors="replace").strip()[-1500:]
        ended = code == 0
        detail = f"killed after {CLIENT_TIMEOUT} s" if code == -signal.SIGKILL else f"exit code {code}"
        self.report.check(self.group, "the client ended well", ended, "" if ended else detail)
        if self.group.failed and said:
            print(f"  stderr of {self.group.name}:\n    " + said.replace("\n", "\n    "), flush=True)
