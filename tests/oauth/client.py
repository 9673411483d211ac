"""An official Python client that logs in to weir: `mcp` 1.x (`py1`) or 2.x (`py2`). Plan and orders are those of client.mjs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mcp
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

sys.path.append(str(Path(__file__).resolve().parent.parent / "interop"))

from person import browse  # noqa: E402


class Account:
    """What an application keeps for the SDK (its `TokenStorage`), and its user."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.logins = plan, 0
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None
        self.landed: dict[str, str] = {}
        if "client_id" in plan:
            self.client = OAuthClientInformationFull(
                client_id=plan["client_id"], redirect_uris=[plan["redirect"]], token_endpoint_auth_method="none"
            )

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def redirect(self, url: str) -> None:
        self.logins += 1
        place = await asyncio.to_thread(browse, url, self.plan["redirect"])
        self.landed = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        if "code" not in self.landed:
            raise RuntimeError(f"there is no code: {place}")

    async def callback(self) -> Any:
        if self.plan["sdk"] == "py1":
            return self.landed["code"], self.landed.get("state")
        from mcp.shared.auth import AuthorizationCodeResult

        return AuthorizationCodeResult(**{name: self.landed.get(name) for name in ("code", "state", "iss")})


def provider(plan: dict[str, Any], account: Account) -> OAuthClientProvider:
    metadata = OAuthClientMetadata.model_validate(
        {
            "client_name": plan["sdk"],
            "redirect_uris": [plan["redirect"]],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
    )
    return OAuthClientProvider(
        plan["url"], metadata, account, account.redirect, account.callback, client_metadata_url=plan.get("document")
    )


@asynccontextmanager
async def connect(plan: dict[str, Any], account: Account) -> AsyncIterator[tuple[Any, str, Callable[[], str | None]]]:
    """The client, its revision, and its session."""
    async with create_mcp_http_client(auth=provider(plan, account)) as http:
        transport = streamable_http_client(plan["url"], http_client=http)
        if plan["sdk"] == "py1":
            async with transport as (read, write, session_id), mcp.ClientSession(read, write) as session:
                version = (await session.initialize()).protocolVersion
                yield session, version, session_id
        else:
            async with mcp.Client(transport, mode=plan["mode"]) as client:
                yield client, client.protocol_version, lambda: None


async def main(plan: dict[str, Any]) -> None:
    account = Account(plan)
    async with connect(plan, account) as (client, version, session):
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            await asyncio.sleep(max(0.0, order.get("not_before", 0) - time.time()))
            result = await client.call_tool(order["tool"], {})
            token = account.tokens.access_token if account.tokens else None
            report = {"text": result.content[0].text, "version": version, "session": session()}
            print(json.dumps({**report, "logins": account.logins, "token": token}), flush=True)


asyncio.run(main(json.loads(sys.argv[1])))
