"""The servers that ask, each behind a tap, and the weirs over them."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from install import HERE, Toolbox
from rig import Process, Trouble, Weir, free_port, wait_for_port
from tap import FileJournal, Journal, Tap

ASKS_JSON = HERE / "asks.json"
PLAN = json.loads(ASKS_JSON.read_text(encoding="utf-8"))
PARKED = 6
DEFAULTS = {"asks": {"limits": {"parked": PARKED}}, "quick": {"timeouts": {"ask": "1s"}}}
# What an SDK does not let a server do, or a transport does not have: by the name of a server and a part of a row.
_TYPED = "its SDK refuses to ask what the specification does not know: tests/it, crossing::asked"
_NO_TASKS_1 = "its SDK has no tasks of 2025-11-25"
_NO_TASKS_2 = "its SDK has no tasks of 2026-07-28"
_NO_FOLLOWERS = "its SDK declares resources.subscribe: false"
_NO_LOGGING = "its SDK declares no logging, so that it is told no level"
CANNOT: dict[tuple[str, str], str] = {
    **{(name, "row 27"): _TYPED for name in ("ts2m", "py2m", "py2io", "rsm")},
    **{(name, "row 28"): _NO_TASKS_1 for name in ("ts2l", "py2l", "rsl")},
    ("py1", "row 28"): "tasks are in its SDK as an experiment that its high-level server does not have",
    **{(name, "row 28"): _NO_TASKS_2 for name in ("ts2m", "py2m", "py2io")},
    ("rsl", "row 12"): "its SDK gives a tool no handle on the stream of its call",
    ("ts1io", "row 12"): "over stdio there are no streams to close",
    **{(name, "row 32"): "a child has no address for a caller without weir" for name in ("ts1io", "py2io")},
    **{(name, "row 17"): _NO_FOLLOWERS for name in ("py1", "py2l")},
    **{(name, "setLevel"): _NO_LOGGING for name in ("py2l", "py2m", "py2io")},
    ("py1", "take-back"): "its SDK gives up without telling its client, which answers",
    ("py2l", "completion"): "its SDK's completions cannot ask",
}


@dataclass(frozen=True)
class Kind:
    """A server on one SDK, in one era, on one transport."""

    name: str
    program: str
    era: str
    stdio: bool = False

    @property
    def title(self) -> str:
        how = "stdio" if self.stdio else "HTTP"
        return f"{self.name}: {PROGRAMS[self.program]}, {self.era}, {how}"


PROGRAMS = {
    "ts1": "TypeScript SDK 1.x",
    "ts2": "TypeScript SDK 2.x",
    "py1": "Python SDK 1.x",
    "py2": "Python SDK 2.x",
    "rs": "rmcp",
}
KINDS = (
    Kind("ts1", "ts1", "legacy"),
    Kind("ts1io", "ts1", "legacy", stdio=True),
    Kind("ts2l", "ts2", "legacy"),
    Kind("py1", "py1", "legacy"),
    Kind("py2l", "py2", "legacy"),
    Kind("rsl", "rs", "legacy"),
    Kind("ts2m", "ts2", "modern"),
    Kind("py2m", "py2", "modern"),
    Kind("py2io", "py2", "modern", stdio=True),
    Kind("rsm", "rs", "modern"),
)


def command(kind: Kind, tools: Toolbox, rmcp: Path | None) -> list[str]:
    program = {
        "ts1": [tools.node, str(tools.npm / "asking_ts1.mjs")],
        "ts2": [tools.node, str(tools.npm / "asking_ts2.mjs")],
        "py1": [str(tools.python1), "-B", "-W", "ignore", str(HERE / "asking_py.py")],
        "py2": [str(tools.python2), "-B", "-W", "ignore", str(HERE / "asking_py.py")],
        "rs": [str(rmcp)],
    }[kind.program]
    return [*program, str(ASKS_JSON), kind.name, kind.era]


@dataclass
class Bed:
    """One server, and the ways to it."""

    kind: Kind
    command: list[str]
    folder: Path
    cleanup: ExitStack
    url: str = ""  # of the server itself
    journals: dict[str, Journal] = field(default_factory=dict)  # by weir
    weirs: dict[str, Weir] = field(default_factory=dict)
    chain: str = ""
    process: Process | None = None

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def note(self) -> str:
        return f"ask://{self.name}/note"

    def count_asks(self, weir: str) -> dict[str, int]:
        """What this weir says has become of the server's questions."""
        return self.weirs[weir].upstreams()[self.name]["asks"]

    def leaves_out(self, cell: Any, part: str) -> bool:
        """Whether this server cannot play a part of a row; then the row says why."""
        reason = CANNOT.get((self.name, part))
        if reason is not None:
            cell.leave_out(reason)
        return reason is not None

    def tool(self, name: str) -> str:
        return f"{self.name}__{name}"

    def start(self) -> None:
        if self.kind.stdio:
            return
        if not self.url:
            self.port = free_port()
            self.url = f"http://127.0.0.1:{self.port}/mcp"
            self.cleanup.callback(self.kill)
        self.process = Process(f"asks-{self.name}", [*self.command, str(self.port)], self.folder)

    def wait(self) -> None:
        if self.process is not None:
            wait_for_port(self.process, self.port)

    def upstream(self, weir: str) -> dict[str, Any]:
        """The entry in the config of this weir, with a journal of its own."""
        if not self.kind.stdio:
            tap = Tap(self.url)
            self.journals[weir] = tap
            return {"url": tap.url}
        place = self.folder / f"journal-{weir}"
        place.mkdir(exist_ok=True)
        journal = FileJournal(place / f"{self.name}.jsonl")
        self.journals[weir] = journal
        args = ["-B", str(HERE / "tap.py"), str(journal.path), *self.command]
        per_caller = {"sessions": "per_caller"} if self.kind.era == "legacy" else {}
        return {"command": sys.executable, "args": args, **per_caller}

    def kill(self) -> None:
        """The server itself, not its tap; a child, of all weirs."""
        if self.process is not None:
            self.process.stop(signal.SIGKILL)
        for weir in self.weirs.values() if self.kind.stdio else ():
            for pid, args in weir.children().items():
                if " ".join(self.command) in args:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        self.start()
        self.wait()


def start_beds(tools: Toolbox, rmcp: Path | None, folder: Path, cleanup: ExitStack) -> list[Bed]:
    kinds = [kind for kind in KINDS if kind.program != "rs" or rmcp is not None]
    beds = [Bed(kind, command(kind, tools, rmcp), folder, cleanup) for kind in kinds]
    for bed in beds:
        bed.start()
    for bed in beds:
        bed.wait()
    return beds


def start_weirs(beds: list[Bed], binary: Path, folder: Path, cleanup: ExitStack) -> list[Weir]:
    """One that is asked all, one with little patience, and two over the first, of alternating eras, for each era."""
    weirs = []
    for name, defaults in DEFAULTS.items():
        upstreams = {bed.name: bed.upstream(name) for bed in beds}
        weir = Weir(binary, folder, upstreams, cleanup, name=name, defaults=defaults)
        weir.start()
        weirs.append(weir)
        for bed in beds:
            bed.weirs[name] = weir
            if weir.upstreams()[bed.name]["era"] != bed.kind.era:
                raise Trouble(f"{name} takes {bed.kind.title} for {weir.upstreams()[bed.name]}")
    for near, eras in (("legacy", ("modern", "legacy")), ("modern", ("legacy", "modern"))):
        below = weirs[0].url
        for name, era in zip(("middle", "far"), eras, strict=True):
            over = {"next": {"url": Tap(below, era).url, "namespace": ""}}
            weir = Weir(binary, folder, over, cleanup, name=f"{name}-{near}")
            weir.start()
            weirs.append(weir)
            below = weir.url
            if weir.upstreams()["next"]["era"] != era:
                raise Trouble(f"{weir.name} takes the weir below it for {weir.upstreams()['next']}")
        for bed in beds:
            if bed.kind.era == near:
                bed.chain = below
    return weirs
