"""The official Python SDK 2.x as a client. plan["mode"]: "legacy" (initialize), "auto"
(server/discover first, initialize if that fails) or a modern revision: then nothing is asked, the
first request simply speaks it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp
from mcp import types
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from row_callers import person
from checks import pages, run


class Client:
    def __init__(self) -> None:
        self.tools_changed = anyio.Event()
        self.updated: asyncio.Queue[str] = asyncio.Queue()
        self.asked: list[str] = []

    def callbacks(self) -> dict[str, Any]:
        """A person who answers what servers ask."""

        def answering(method: str, result: Any) -> Any:
            async def answer(context: Any, params: Any = None) -> Any:
                self.asked.append(method)
                given = None if params is None else params.model_dump(by_alias=True, exclude_none=True, mode="json")
                return result.model_validate(person({"method": method, "params": given})["result"])

            return answer

        return {
            "elicitation_callback": answering("elicitation/create", types.ElicitResult),
            "sampling_callback": answering("sampling/createMessage", types.CreateMessageResult),
            "sampling_capabilities": types.SamplingCapability(tools=types.SamplingToolsCapability()),
            "list_roots_callback": answering("roots/list", types.ListRootsResult),
        }

    async def hear(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.tools_changed.set()
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updated.put_nowait(str(message.params.uri))

    def open(self, sdk: mcp.Client) -> None:
        self.sdk = sdk
        self.version = sdk.protocol_version

    # `refresh` keeps the client's own cache out of the test.
    async def tools(self) -> list[Any]:
        return await pages(lambda cursor: self.sdk.list_tools(cursor=cursor, cache_mode="refresh"), "tools")

    async def prompts(self) -> list[Any]:
        return await pages(lambda cursor: self.sdk.list_prompts(cursor=cursor, cache_mode="refresh"), "prompts")

    async def resources(self) -> list[Any]:
        return await pages(lambda cursor: self.sdk.list_resources(cursor=cursor, cache_mode="refresh"), "resources")

    async def templates(self) -> list[str]:
        def fetch(cursor: str | None) -> Awaitable[Any]:
            return self.sdk.list_resource_templates(cursor=cursor, cache_mode="refresh")

        return [template.uri_template for template in await pages(fetch, "resource_templates")]

    async def call(self, name: str, arguments: dict[str, Any], on_progress: Any = None) -> Any:
        return await self.sdk.call_tool(name, arguments, progress_callback=on_progress)

    async def prompt(self, name: str, arguments: dict[str, str]) -> Any:
        return await self.sdk.get_prompt(name, arguments)

    async def read(self, uri: str) -> Any:
        return await self.sdk.read_resource(uri, cache_mode="refresh")

    async def complete(self, prompt: str | None, uri: str | None, argument: dict[str, str]) -> list[str]:
        if prompt is not None:
            ref: Any = types.PromptReference(name=prompt)
        else:
            ref = types.ResourceTemplateReference(uri=uri or "")
        return (await self.sdk.complete(ref, argument)).completion.values

    async def ping(self) -> None:
        await self.sdk.send_ping()

    @asynccontextmanager
    async def watch_tools(self) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        if self.version in MODERN_PROTOCOL_VERSIONS:
            async with self.sdk.listen(tools_list_changed=True) as subscription:
                yield lambda: anext(subscription)
        else:
            self.tools_changed = anyio.Event()
            yield self.tools_changed.wait

    @asynccontextmanager
    async def watch_resource(self, uri: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        await self.sdk.subscribe_resource(uri)
        yield self.updated.get
        await self.sdk.unsubscribe_resource(uri)


@asynccontextmanager
async def connect(plan: dict[str, Any]) -> AsyncIterator[Client]:
    client = Client()
    more = client.callbacks() if plan.get("person") else {}
    async with mcp.Client(plan["url"], mode=plan["mode"], message_handler=client.hear, **more) as sdk:
        client.open(sdk)
        yield client


run(connect)
