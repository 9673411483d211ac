"""The Python SDK server that weir is tested against: one file for mcp 1.x and 2.x.

    python server.py NAME PORT

On mcp 1.x it is a stateful Streamable HTTP server (sessions, initialize only); on mcp 2.x the
same endpoint speaks both eras. NAME appears in every answer, so that a test sees who answered.

The query of the URL breaks its `prompts/list`, and nothing else: `?prompts=error` answers it with
-32603, `?prompts=500` with that HTTP status, `?prompts=hang` not at all.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs
from weakref import WeakSet

import anyio
import uvicorn

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.shared.exceptions import MCPError
    from mcp.types import Completion

    SDK = 2
except ImportError:
    from mcp.server import NotificationOptions
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.shared.exceptions import McpError
    from mcp.types import Completion, ErrorData

    SDK = 1

NAME, PORT = sys.argv[1], int(sys.argv[2])
COLOURS = ["red", "green", "grey", "blue"]

legacy_sessions = WeakSet()


def prompts_are_broken(request) -> bool:
    return request is not None and request.query_params.get("prompts") == "error"


if SDK == 1:

    class App(FastMCP):
        """FastMCP, except that it says and does what a server with a changing list has to."""

        def __init__(self, *args, **rest):
            super().__init__(*args, **rest)
            make = self._mcp_server.create_initialization_options
            self._mcp_server.create_initialization_options = lambda: make(NotificationOptions(tools_changed=True))

        async def list_tools(self):
            legacy_sessions.add(self.get_context().session)
            return await super().list_tools()

        async def list_prompts(self):
            if prompts_are_broken(self.get_context().request_context.request):
                raise McpError(ErrorData(code=-32603, message=f"{NAME} has lost its prompts"))
            return await super().list_prompts()

    app = App(NAME, host="127.0.0.1", port=PORT, log_level="ERROR")
else:

    async def break_prompts(ctx, call_next):
        if ctx.method == "prompts/list" and prompts_are_broken(ctx.request):
            raise MCPError(-32603, f"{NAME} has lost its prompts")
        return await call_next(ctx)

    app = MCPServer(NAME, version="1.0.0", log_level="ERROR", middleware=[break_prompts])

fates: dict[str, str] = {}


@app.tool()
def add(a: int, b: int) -> int:
    """Add two whole numbers of any size."""
    return a + b


@app.tool()
def echo(text: str) -> str:
    """Give the text back."""
    return text


@app.tool()
def whoami() -> str:
    """Say which server this is."""
    return f"{NAME} on mcp {SDK}"


@app.tool()
async def count(steps: int, ctx: Context, pause: float = 0.05) -> str:
    """Report progress `steps` times, then say so."""
    for step in range(1, steps + 1):
        await asyncio.sleep(pause)
        await ctx.report_progress(step, steps, f"{NAME} step {step}")
    return f"{NAME} counted to {steps}"


@app.tool()
async def slow(seconds: float, key: str = "") -> str:
    """Take a while. `fate` tells what became of the call with this key."""
    fates[key] = "running"
    try:
        await asyncio.sleep(seconds)
        fates[key] = "finished"
        return f"{NAME} slept"
    finally:
        if fates[key] == "running":
            fates[key] = "cancelled"


@app.tool()
def fate(key: str) -> str:
    """What became of `slow` with this key: unknown, running, finished or cancelled."""
    return fates.get(key, "unknown")


@app.tool()
def fail(reason: str) -> str:
    """Always fail."""
    raise ToolError(f"{NAME} fails: {reason}")


@app.tool()
async def grow(tool: str, ctx: Context) -> str:
    """Add a tool to this server while it runs, and tell the clients."""

    def grown() -> str:
        return f"{tool} of {NAME}"

    app.add_tool(grown, name=tool, description="Was not there at the start.")
    if SDK == 2:
        await ctx.notify_tools_changed()  # to all that listen, in the modern era
    if SDK == 1 or ctx.protocol_version != "2026-07-28":
        legacy_sessions.add(ctx.session)
    for session in list(legacy_sessions):
        try:
            with anyio.fail_after(1):
                await session.send_tool_list_changed()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            legacy_sessions.discard(session)  # it has ended
    return f"{NAME} has {tool}"


@app.prompt()
def paint(colour: str, thing: str) -> str:
    """Ask for a painting."""
    return f"{NAME}: paint the {thing} {colour}"


@app.resource(f"note://{NAME}/hello", name=f"{NAME}-hello")
def hello() -> str:
    """A static note, at a URI that only this server has."""
    return f"hello from {NAME}"


@app.resource("note://shared", name="shared")
def shared() -> str:
    """A static note, at a URI that both servers have."""
    return f"shared, but from {NAME}"


@app.resource(f"note://{NAME}/by-name/{{who}}", name=f"{NAME}-by-name")
def by_name(who: str) -> str:
    """A note for anybody."""
    return f"{NAME} greets {who}"


@app.completion()
async def complete(ref, argument, context):
    """Colours for the prompt's argument `colour`."""
    if argument.name == "colour":
        return Completion(values=[c for c in COLOURS if c.startswith(argument.value)])
    return None


def below_the_sdk(inner):
    """The faults of `prompts/list` that no SDK makes by itself: a status 500, and silence."""

    async def serve(scope, receive, send):
        how = parse_qs(scope.get("query_string", b"").decode()).get("prompts", [""])[0]
        if scope.get("method") != "POST" or how not in ("500", "hang"):
            return await inner(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if json.loads(body).get("method") != "prompts/list":
            return await inner(scope, replay(body, receive), send)
        if how == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})

    return serve


def replay(body: bytes, receive):
    """A `receive` that gives the body that was read already, and then what comes after it."""
    given = False

    async def again():
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


if __name__ == "__main__":
    uvicorn.run(below_the_sdk(app.streamable_http_app()), host="127.0.0.1", port=PORT, log_level="error")
