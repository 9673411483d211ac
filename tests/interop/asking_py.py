"""A server that asks, on the Python SDK: one file for mcp 1.x and 2.x, held to one era.

    python asking_py.py ASKS_JSON NAME ERA [PORT]     without PORT on stdin and stdout

What all such servers have is in asks.json. In the modern era a tool returns what it wants to know and is called again with
the answers; in a legacy session it asks while it runs. See asking_ts1.mjs for the other tools.
"""

import json
import sys
import uuid
from typing import Any

import anyio
import uvicorn

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.shared.exceptions import MCPError
    from mcp.types import CallToolResult, Completion, InputRequiredResult

    SDK = 2
except ImportError:
    from mcp.server import NotificationOptions
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.shared.exceptions import McpError as MCPError
    from mcp.types import CallToolResult, Completion

    InputRequiredResult = CallToolResult
    SDK = 1

from mcp import types
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import UrlElicitationRequiredError

ASKS_JSON, NAME, ERA = sys.argv[1:4]
PORT = int(sys.argv[4]) if len(sys.argv) > 4 else None
MODERN = ERA == "modern"
with open(ASKS_JSON, encoding="utf-8") as file:
    PLAN = json.load(file)
ASKS, SCRIPTS = PLAN["asks"], PLAN["tools"]
NOTE = f"ask://{NAME}/note"

fates: dict[str, str] = {}
refusals: dict[str, int] = {}



class Events(EventStore):
    """The events of the streams, for a reader that comes back with Last-Event-ID."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        place = int(last_event_id)
        if not 0 < place <= len(self.events):
            return None
        stream = self.events[place - 1][0]
        for number, (of, message) in enumerate(self.events, 1):
            if number > place and of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


if SDK == 1:
    app: Any = FastMCP("asking-py1", log_level="ERROR", event_store=Events(), retry_interval=100)
    options = app._mcp_server.create_initialization_options
    app._mcp_server.create_initialization_options = lambda: options(NotificationOptions(tools_changed=True))

    @app._mcp_server.set_logging_level()
    async def set_logging_level(level: str) -> None:
        """Whatever it is: see `logs`."""
else:
    app = MCPServer("asking-py2", log_level="ERROR")


def dump(answer: Any) -> Any:
    return answer.model_dump(by_alias=True, exclude_none=True, mode="json")


def said(value: Any, is_error: bool = False) -> CallToolResult:
    text = value if isinstance(value, str) else json.dumps(value)
    return CallToolResult(content=[types.TextContent(type="text", text=text)], isError=is_error)


async def ask(ctx: Any, name: str, on_get: bool = False) -> Any:
    """One question in a legacy session: on the stream of the call, unless it is to come `on_get`."""
    asked = ASKS[name]
    related = None if on_get else ctx.request_id
    params, session = asked.get("params", {}), ctx.session
    if asked["method"] == "roots/list":
        return dump(await session.list_roots())  # always outside of the stream of the call
    if asked["method"] == "sampling/createMessage":
        made = types.CreateMessageRequestParams.model_validate(params)
        rest = {} if made.tools is None else {"tools": made.tools, "tool_choice": value(made, "toolChoice", "tool_choice")}
        most = value(made, "maxTokens", "max_tokens")
        return dump(await session.create_message(made.messages, max_tokens=most, related_request_id=related, **rest))
    if params["mode"] == "url":
        return dump(await session.elicit_url(params["message"], params["url"], uuid.uuid4().hex, related))
    return dump(await session.elicit_form(params["message"], params["requestedSchema"], related))


def value(model: Any, *names: str) -> Any:
    """Of the name that this SDK has."""
    return next(getattr(model, name) for name in names if hasattr(model, name))


async def at_once(ctx: Any, names: list[str], on_get: bool = False) -> list[Any]:
    answers: list[Any] = [None] * len(names)

    async def one(place: int, name: str) -> None:
        answers[place] = await ask(ctx, name, on_get)

    async with anyio.create_task_group() as tasks:
        for place, name in enumerate(names):
            tasks.start_soon(one, place, name)
    return answers


async def run(ctx: Any, script: list[list[str]], on_get: bool = False) -> Any:
    """All answers, or, in the modern era, what is still to be asked."""
    if not MODERN:
        return [await at_once(ctx, names, on_get) for names in script]
    kept = json.loads(ctx.request_state or '{"answers": [], "part": {}}')
    answers, part = kept["answers"], kept["part"]
    part |= {key: dump(answer) for key, answer in (ctx.input_responses or {}).items()}
    if len(answers) < len(script) and all(name in part for name in script[len(answers)]):
        answers.append([part[name] for name in script[len(answers)]])
        part = {}
    if len(answers) == len(script):
        return answers
    asks = {name: ASKS[name] for name in script[len(answers)] if name not in part}
    return required(asks, json.dumps({"answers": answers, "part": part}))


def required(asks: dict[str, Any] | None, state: str | None) -> Any:
    members = {"resultType": "input_required", "inputRequests": asks, "requestState": state}
    return InputRequiredResult.model_validate({key: member for key, member in members.items() if member is not None})


def finished(outcome: Any) -> Any:
    return said(outcome) if isinstance(outcome, list) else outcome


def add_script(name: str, script: list[list[str]]) -> None:
    async def call(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
        return finished(await run(ctx, script))

    app.add_tool(call, name=name, description="Asks", structured_output=False)


for name, script in SCRIPTS.items():
    add_script(name, script)


def tool(call: Any) -> Any:
    app.add_tool(call, name=call.__name__, description="Asks", structured_output=False)
    return call


def error_code(error: Any) -> Any:
    return getattr(getattr(error, "error", None), "code", None)


@tool
async def steps(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
    if not MODERN:
        await ctx.report_progress(1, 3)
        answers = await run(ctx, SCRIPTS["form"])
        await ctx.report_progress(2, 3)
        await ctx.report_progress(3, 3)
        return said(answers)
    for done in (1, 2, 3) if ctx.input_responses else (1,):  # a new request counts anew
        await ctx.report_progress(done, 3)
    return finished(await run(ctx, SCRIPTS["form"]))


@tool
async def logs(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
    for level in ("debug", "info", "warning", "error"):
        await getattr(ctx, level)(f"post {level}")
        if not MODERN:
            await ctx.session.send_log_message(level, f"get {level}")
    await anyio.sleep(0.1)  # The streams are two.
    return said("logged")


@tool
async def slow(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
    fates[note] = "answered" if MODERN and ctx.input_responses else "asked"
    try:
        if note.startswith("late"):
            await anyio.sleep(15)
        outcome = await run(ctx, SCRIPTS["form"])
        if not isinstance(outcome, list):
            return outcome
        fates[note] = "answered"
        await anyio.sleep(15)
        return said("slept")
    except anyio.get_cancelled_exc_class():
        fates[note] = "cancelled"
        raise


@tool
async def fate(note: str = "") -> CallToolResult | InputRequiredResult:
    return said(fates.get(note, "unknown"))


async def vanishing(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
    return finished(await run(ctx, SCRIPTS["form"]))


app.add_tool(vanishing, name="vanishing", description="Asks", structured_output=False)


@tool
async def vanish(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
    is_there = "vanishing" in [listed.name for listed in await app.list_tools()]
    if is_there:
        app.remove_tool("vanishing")
    else:
        app.add_tool(vanishing, name="vanishing", description="Asks", structured_output=False)
    if MODERN:
        await ctx.notify_tools_changed()
    else:
        await ctx.session.send_tool_list_changed()
    return said("gone" if is_there else "back")


if not MODERN:

    @tool
    async def pause(ctx: Context, note: str = "") -> CallToolResult:
        async def close() -> None:
            await anyio.sleep(0.05)
            await ctx.close_sse_stream()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            return said(await run(ctx, SCRIPTS["form"]))

    @tool
    async def push(ctx: Context, note: str = "") -> CallToolResult:
        return said(await run(ctx, SCRIPTS["form"], on_get=True))

    @tool
    async def push_roots(ctx: Context, note: str = "") -> CallToolResult:
        return said(await run(ctx, SCRIPTS["roots"], on_get=True))

    @tool
    async def unchecked(ctx: Context, ask: str = "form", end: str = "", note: str = "") -> CallToolResult:
        try:
            return said(await run(ctx, [[ask]]))
        except BaseExceptionGroup as group:
            error = group.exceptions[0]
            if end == "plan B":
                return said("plan B")
            if end == "error" and isinstance(error, MCPError):
                raise error from None
            return said(f"refused, {error_code(error)}", is_error=True)

    @tool
    async def impatient(ctx: Context, note: str = "") -> CallToolResult:
        with anyio.move_on_after(0.4):
            return said(await run(ctx, SCRIPTS["form"]))
        return said("nobody answered", is_error=True)

    @tool
    async def large(ctx: Context, note: str = "") -> CallToolResult:
        try:
            await ctx.session.elicit_form("x" * (1 << 20), ASKS["form"]["params"]["requestedSchema"], ctx.request_id)
            return said("answered")
        except MCPError as error:
            return said(f"refused, {error_code(error)}")

    @tool
    async def demand(ctx: Context, note: str = "", complete: bool = False) -> CallToolResult:
        refusals[note] = refusals.get(note, 0) + 1
        if refusals[note] > 1:
            return said("been there")
        asked = {**ASKS["url"]["params"], "elicitationId": uuid.uuid4().hex}
        if complete:

            async def tell() -> None:
                await anyio.sleep(0.7)
                await ctx.session.send_elicit_complete(asked["elicitationId"])

            background.start_soon(tell)
        elicitations = [types.ElicitRequestURLParams.model_validate(asked)]
        raise UrlElicitationRequiredError(elicitations)


if MODERN:

    @tool
    async def touch(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
        await ctx.notify_resource_updated(NOTE)
        return said("told")

    @tool
    async def no_state(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
        answers = {key: dump(answer) for key, answer in (ctx.input_responses or {}).items()}
        return said([[answers["form"]]]) if answers else required({"form": ASKS["form"]}, None)

    @tool
    async def state_only(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
        return required(None, "again") if ctx.request_state is None else said(json.dumps(ctx.input_responses))

    @tool
    async def endless(ctx: Context, note: str = "") -> CallToolResult | InputRequiredResult:
        rounds = int(ctx.request_state or 0)
        fates["endless"] = str(rounds)
        return required({"form": ASKS["form"]}, str(rounds + 1))


def colour_of(outcome: Any) -> Any:
    return outcome[0][0]["content"]["colour"]


@app.prompt()
async def asking(ctx: Context) -> Any:
    """Asks for a colour."""
    outcome = await run(ctx, SCRIPTS["form"])
    return f"paint it {colour_of(outcome)}" if isinstance(outcome, list) else outcome


async def note(ctx: Any) -> Any:
    outcome = await run(ctx, SCRIPTS["form"])
    return f"it is {colour_of(outcome)}" if isinstance(outcome, list) else outcome


if SDK == 1:

    @app.resource(NOTE, name="note")
    async def read_note() -> str:
        """Asks for a colour."""
        return await note(app.get_context())

    @app.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> Completion:
        try:
            await app.get_context().session.list_roots()
            return Completion(values=["answered"])
        except MCPError as error:
            return Completion(values=[f"refused, {error_code(error)}"])

else:

    # Only a template gets the context.
    @app.resource(f"ask://{NAME}/{{what}}", name="note")
    async def read_note(what: str, ctx: Context) -> Any:
        """Asks for a colour."""
        return await note(ctx)


def hold_era(inner: Any) -> Any:
    """On mcp 2.x, which speaks both: refuses the requests of the other one, as a server without it would."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        is_modern = any(name == b"mcp-method" for name, _ in scope.get("headers", []))
        if scope["type"] != "http" or SDK == 1 or is_modern == MODERN:
            return await inner(scope, receive, send)
        error = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode() if MODERN else b""
        await send(
            {
                "type": "http.response.start",
                "status": 400 if MODERN else 404,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body})

    return serve


async def main() -> None:
    global background
    async with anyio.create_task_group() as background:
        if PORT is None:
            await app.run_stdio_async()
        else:
            more = {} if SDK == 1 else {"event_store": Events(), "retry_interval": 100}
            served = hold_era(app.streamable_http_app(**more))
            await uvicorn.Server(uvicorn.Config(served, host="127.0.0.1", port=PORT, log_level="error")).serve()
        background.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
