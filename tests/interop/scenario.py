"""What the clients do: lists of steps, as data. checks.mjs and checks.py know each kind of step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Step = dict[str, Any]

LEGACY, MODERN = "2025-11-25", "2026-07-28"
UPSTREAMS = ("everything", "files", "memory", "py1", "py2")
FILE_TEXT = "Grüße, 世界 🌊\nsecond line\n"
TOGGLE = "edge__toggle-subscriber-updates"
FEATURES = "demo://resource/static/document/features.md"
ODD_TEXT = 'tab\t quote " backslash \\ nul-free \u0001 ünï 🌊 \u2028 end'


@dataclass(frozen=True)
class ClientKind:
    """One official client in one of its modes, and the revision it must end up with."""

    label: str
    script: str
    mode: str
    version: str

    @property
    def python(self) -> bool:
        return self.script.endswith(".py")

    @property
    def modern(self) -> bool:
        return self.version == MODERN

    @property
    def slug(self) -> str:
        return self.label.replace(" ", "_")


CLIENTS = (
    ClientKind("ts1", "client_ts1.mjs", "legacy", LEGACY),
    ClientKind("ts2 legacy", "client_ts2.mjs", "legacy", LEGACY),
    ClientKind("ts2 auto", "client_ts2.mjs", "auto", MODERN),
    ClientKind("ts2 pinned", "client_ts2.mjs", MODERN, MODERN),
    ClientKind("py1", "client_py1.py", "legacy", LEGACY),
    ClientKind("py2 legacy", "client_py2.py", "legacy", LEGACY),
    ClientKind("py2 auto", "client_py2.py", "auto", MODERN),
    ClientKind("py2 pinned", "client_py2.py", MODERN, MODERN),
)


def step(do: str, subject: str = "", **rest: Any) -> Step:
    return {"do": do, "check": f"{do} {subject}".strip(), **rest}


def call(tool: str, arguments: dict[str, Any], note: str = "", **rest: Any) -> Step:
    return step("call", f"{tool} {note}".strip(), tool=tool, arguments=arguments, **rest)


def python_server(name: str, kind: ClientKind, prefix: str) -> list[Step]:
    """Everything that server.py offers. `prefix` comes before tool and prompt names."""
    slug = f"{name}_{kind.slug}"
    grown = f"grown_{kind.slug}"
    steps = [
        call(f"{prefix}add", {"a": 20, "b": 22}, text="42"),
        call(f"{prefix}whoami", {}, contains=[f"{name} on mcp"]),
        call(f"{prefix}echo", {"text": ODD_TEXT}, text=ODD_TEXT),
        call(f"{prefix}fail", {"reason": "on purpose"}, is_error=True, contains=[f"{name} fails: on purpose"]),
        step(
            "progress",
            f"{prefix}count",
            tool=f"{prefix}count",
            arguments={"steps": 5},
            steps=5,
            text=f"{name} counted to 5",
        ),
        step(
            "overtake",
            f"{prefix}slow",
            slow={"tool": f"{prefix}slow", "arguments": {"seconds": 0.7}},
            quick={"tool": f"{prefix}add", "arguments": {"a": 1, "b": 1}},
        ),
        step(
            "prompt",
            f"{prefix}paint",
            name=f"{prefix}paint",
            arguments={"colour": "blue", "thing": "sea"},
            text=f"{name}: paint the sea blue",
        ),
        step("read", f"note://{name}/hello", uri=f"note://{name}/hello", text=f"hello from {name}"),
        step(
            "read", f"note://{name}/by-name/Zoë", uri=f"note://{name}/by-name/Zo%C3%AB", contains=[f"{name} greets Zo"]
        ),
        step(
            "complete",
            f"{prefix}paint",
            prompt=f"{prefix}paint",
            argument="colour",
            value="gr",
            values=["green", "grey"],
        ),
        step(
            "grow",
            f"{prefix}grow",
            tool=f"{prefix}grow",
            name=grown,
            exposed=f"{prefix}{grown}",
            text=f"{grown} of {name}",
        ),
    ]
    if kind.python:  # JavaScript's numbers end earlier
        big = 12345678901234567890123
        steps.append(call(f"{prefix}add", {"a": big, "b": 1}, "(23 digits)", text=str(big + 1)))
    if kind.script != "client_py1.py":  # which has no way to give a call up
        steps.append(step("cancel", f"{prefix}slow", tool=f"{prefix}slow", fate=f"{prefix}fate", key=slug))
    return steps


def everything_server(prefix: str) -> list[Step]:
    template = "demo://resource/dynamic/text/{resourceId}"
    return [
        call(f"{prefix}echo", {"message": ODD_TEXT}, text=f"Echo: {ODD_TEXT}"),
        call(f"{prefix}get-sum", {"a": 2, "b": 3}, text="The sum of 2 and 3 is 5."),
        call(f"{prefix}get-tiny-image", {}, types=["text", "image", "text"]),
        call(f"{prefix}get-structured-content", {"location": "Chicago"}, contains=["temperature"]),
        step(
            "progress",
            f"{prefix}trigger-long-running-operation",
            tool=f"{prefix}trigger-long-running-operation",
            arguments={"duration": 0.5, "steps": 5},
            steps=5,
            contains=["Long running operation completed"],
        ),
        step(
            "prompt",
            f"{prefix}args-prompt",
            name=f"{prefix}args-prompt",
            arguments={"city": "Bern", "state": "BE"},
            text="What's weather in Bern, BE?",
        ),
        step("read", "demo://…/features.md", uri=FEATURES, contains=["Features"]),
        step(
            "read",
            "demo://…/text/7",
            uri="demo://resource/dynamic/text/7",
            contains=["Resource 7: This is a plaintext"],
        ),
        step(
            "complete",
            f"{prefix}completable-prompt",
            prompt=f"{prefix}completable-prompt",
            argument="department",
            value="E",
            values=["Engineering"],
        ),
        step("complete", "demo://…/text/{resourceId}", uri=template, argument="resourceId", value="7", values=["7"]),
    ]


def files_server(known_file: Path) -> list[Step]:
    return [
        call("files__read_text_file", {"path": str(known_file)}, text=FILE_TEXT),
        call("files__list_directory", {"path": str(known_file.parent)}, contains=[known_file.name]),
        call("files__read_text_file", {"path": "/not/allowed"}, "(outside)", is_error=True, contains=["denied"]),
    ]


def memory_server(kind: ClientKind) -> list[Step]:
    entity = {"name": f"sea_of_{kind.slug}", "entityType": "water", "observations": ["is wet"]}
    return [
        call("memory__create_entities", {"entities": [entity]}, contains=[entity["name"]]),
        call("memory__read_graph", {}, contains=[entity["name"], "is wet"]),
        step("read", "memory://knowledge-graph", uri="memory://knowledge-graph", contains=[entity["name"]]),
    ]


def through_weir(kind: ClientKind, known_file: Path) -> list[Step]:
    """The whole of it: five upstreams behind one endpoint."""
    return [
        step(
            "tools",
            prefixes=[f"{u}__" for u in UPSTREAMS],
            expect=["everything__echo", "files__read_text_file", "py2__add"],
        ),
        step("prompts", expect=["everything__simple-prompt", "py1__paint", "py2__paint"]),
        step(
            "resources",
            expect=[
                FEATURES,
                "memory://knowledge-graph",
                "note://py1/hello",
                "note://py2/hello",
            ],
        ),
        step(
            "templates",
            expect=[
                "demo://resource/dynamic/text/{resourceId}",
                "note://py1/by-name/{who}",
                "note://py2/by-name/{who}",
            ],
        ),
        *everything_server("everything__"),
        *files_server(known_file),
        *memory_server(kind),
        *python_server("py1", kind, "py1__"),
        *python_server("py2", kind, "py2__"),
        step("collision", "note://shared", name="shared", texts=["shared, but from py1", "shared, but from py2"]),
        step("parallel", "add", tools=["py1__add", "py2__add"], times=10),
        step("refused", "unknown tool", tool="py1__no_such_tool", arguments={}, code=-32602, timeout=5),
        step("refused", "unknown upstream", tool="nowhere__add", arguments={}, code=-32602, timeout=5),
        step("refused", "bare name", tool="add", arguments={}, code=-32602, timeout=5),
        *([] if kind.modern else [step("ping")]),
    ]


def direct(name: str, kind: ClientKind, version: str) -> list[Step]:
    """The same steps against one server without weir: they must pass here before weir is blamed."""
    steps = [step("tools"), step("prompts"), step("resources"), step("templates")]
    if name == "everything":
        steps += everything_server("")
    else:
        steps += python_server(name, kind, "")
        steps.append(step("collision", "note://shared", name="shared", texts=[f"shared, but from {name}"]))
    steps.append(step("refused", "unknown tool", tool="no_such_tool", arguments={}, timeout=5))
    return steps if version == MODERN else [*steps, step("ping")]


def outage(kind: ClientKind, known_file: Path) -> list[Step]:
    """One connection that stays open while the server py1 is killed and comes back."""
    entity = {"name": f"boat_of_{kind.slug}", "entityType": "boat", "observations": []}
    return [
        call("py1__add", {"a": 1, "b": 2}, "before", text="3"),
        {"do": "pause", "say": "kill py1"},
        call("everything__echo", {"message": "hi"}, "while py1 is dead", text="Echo: hi", timeout=3),
        call("files__read_text_file", {"path": str(known_file)}, "while py1 is dead", text=FILE_TEXT, timeout=3),
        call(
            "memory__create_entities", {"entities": [entity]}, "while py1 is dead", contains=[entity["name"]], timeout=3
        ),
        call("py2__add", {"a": 2, "b": 2}, "while py1 is dead", text="4", timeout=3),
        step("refused", "py1__add while it is dead", tool="py1__add", arguments={"a": 1, "b": 2}, timeout=10),
        {**step("tools", prefixes=[f"{u}__" for u in UPSTREAMS], timeout=3), "check": "tools are all still listed"},
        {"do": "pause", "say": "restart py1"},
        call("py1__add", {"a": 3, "b": 4}, "after its restart", text="7", within=15),
        call("py2__add", {"a": 3, "b": 4}, "after py1's restart", text="7"),
    ]


def behind_nginx(kind: ClientKind) -> list[Step]:
    """What server-everything offers, through redirects, gzip and cookies; several clients do this at once."""
    sums = {"tools": ["edge__get-sum"], "times": 12, "text": "The sum of {a} and 1000 is {sum}."}
    return [
        step("tools", prefixes=["edge__"], expect=["edge__echo", "edge__get-sum"]),
        step("prompts", expect=["edge__simple-prompt", "edge__args-prompt"]),
        step("resources", expect=[FEATURES]),
        step("templates", expect=["demo://resource/dynamic/text/{resourceId}"]),
        *everything_server("edge__"),
        step("parallel", "edge__get-sum", **sums),
        # A modern client has no session to subscribe in, and this server knows sessions only.
        *([] if kind.modern else [step("updated", "…/features.md", uri=FEATURES, tool=TOGGLE)]),
    ]


def broken_prompts(upstreams: list[str]) -> list[Step]:
    """Servers whose prompts cannot be listed: all else is there, and works."""
    expect = [f"{upstream}__{tool}" for upstream in upstreams for tool in ("add", "echo", "count")]
    calls = [call(f"{upstream}__add", {"a": 20, "b": 22}, text="42") for upstream in upstreams]
    return [
        step("tools", expect=expect),
        step("prompts", expect=["whole__paint"]),
        step("resources", expect=["note://py1/hello", "note://py2/hello"]),
        *calls,
    ]
