"""The official Python SDK 1.x as a client: legacy era only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

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
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ToolListChangedNotification
        ):
            self.tools_changed.set()
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ResourceUpdatedNotification
        ):
            self.updated.put_nowait(str(message.root.params.uri))

    async def open(self, session: ClientSession) -> None:
        self.session = session
        self.version = (await session.initialize()).protocolVersion

    async def tools(self) -> list[Any]:
        return await pages(lambda cursor: self.session.list_tools(params=page(cursor)), "tools")

    async def prompts(self) -> list[Any]:
        return await pages(lambda cursor: self.session.list_prompts(params=page(cursor)), "prompts")

    async def resources(self) -> list[Any]:
        return await pages(lambda cursor: self.session.list_resources(params=page(cursor)), "resources")

    async def templates(self) -> list[str]:
        found = await pages(
            lambda cursor: self.session.list_resource_templates(params=page(cursor)), "resourceTemplates"
        )
        return [template.uriTemplate for template in found]

    async def call(self, name: str, arguments: dict[str, Any], on_progress: Any = None) -> Any:
        return await self.session.call_tool(name, arguments, progress_callback=on_progress)

    async def prompt(self, name: str, arguments: dict[str, str]) -> Any:
        return await self.session.get_prompt(name, arguments)

    async def read(self, uri: str) -> Any:
        return await self.session.read_resource(AnyUrl(uri))

    async def complete(self, prompt: str | None, uri: str | None, argument: dict[str, str]) -> list[str]:
        if prompt is not None:
            ref: Any = types.PromptReference(type="ref/prompt", name=prompt)
        else:
            ref = types.ResourceTemplateReference(type="ref/resource", uri=uri or "")
        return (await self.session.complete(ref, argument)).completion.values

    async def ping(self) -> None:
        await self.session.send_ping()

    @asynccontextmanager
    async def watch_tools(self) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        self.tools_changed = anyio.Event()
        yield self.tools_changed.wait

    @asynccontextmanager
    async def watch_resource(self, uri: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        await self.session.subscribe_resource(AnyUrl(uri))
        yield self.updated.get
        await self.session.unsubscribe_resource(AnyUrl(uri))


def page(cursor: str | None) -> types.PaginatedRequestParams | None:
    return None if cursor is None else types.PaginatedRequestParams(cursor=cursor)


@asynccontextmanager
async def connect(plan: dict[str, Any]) -> AsyncIterator[Client]:
    client = Client()
    async with (
        streamable_http_client(plan["url"]) as (read, write, _),
        ClientSession(
            read, write, message_handler=client.hear, **(client.callbacks() if plan.get("person") else {})
        ) as session,
    ):
        await client.open(session)
        yield client


run(connect)
