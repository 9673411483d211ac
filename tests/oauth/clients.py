"""Official clients log in to weir at the provider, as a scenario: from a cold start, over the end of a token, for more scopes."""

from __future__ import annotations

import base64
import json
import queue
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts import HERE, META, SECRET, VERSION, ClientTools, Server, Trouble, Weir, provider, upstream, wait_until
from rig import free_port, get  # of tests/interop, see parts.py
from suite import Toolbox

TTL = 10  # seconds that access tokens live
# A stream that was closed with its token is opened again after a second, with a token that is fetched for that. Two
# requests with one refresh token would end the grant, so calls wait until that is over.
AFTER = 4  # seconds
PATIENCE = 60  # seconds
DOCUMENT = "https://client.test/weir.json"  # of provider.mjs
LEGACY = "2025-11-25"

SDKS = {"ts1": LEGACY, "ts2": VERSION, "py1": LEGACY, "py2": VERSION}
# The identity of the client, for the provider.
WAYS: dict[str, dict[str, str]] = {
    "registers itself": {},
    "is a document": {"document": DOCUMENT},
    "is known": {"client_id": "public"},
}

Check = Callable[..., None]


@dataclass
class Report:
    """What a client says after a call."""

    text: str
    version: str
    session: str | None
    logins: int
    token: str

    @property
    def claims(self) -> dict[str, Any]:
        part = self.token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    @property
    def scopes(self) -> set[str]:
        return set(self.claims.get("scope", "").split())


class Client:
    """A process with an official client, which logs in when weir asks it to."""

    def __init__(self, sdk: str, way: str, clients: ClientTools, weir: Weir, folder: Path, cleanup: ExitStack) -> None:
        self.sdk, self.way, self.name = sdk, way, f"{sdk} that {way}"
        plan = {"sdk": sdk, "mode": "auto", "url": weir.url, "redirect": f"http://127.0.0.1:{free_port()}/callback"}
        if sdk.startswith("ts"):
            command = [clients.node, str(clients.npm / "client.mjs")]
        else:
            python = clients.python1 if sdk == "py1" else clients.python2
            command = [str(python), "-B", "-W", "ignore", str(HERE / "client.py")]
        self.log = folder / f"{self.name.replace(' ', '-')}.log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                [*command, json.dumps({**plan, **WAYS[way]})],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        cleanup.callback(self.popen.wait)
        cleanup.callback(self.popen.kill)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.first = self.last = Report("", "", None, 0, "")

    def read(self) -> None:
        for line in self.popen.stdout or ():
            self.lines.put(line)
        self.lines.put("")

    def call(self, tool: str, **more: Any) -> Report:
        """Lets it call a tool; a report without a login and without a token if that fails."""
        line = ""
        try:
            print(json.dumps({"tool": tool, **more}), file=self.popen.stdin, flush=True)
            line = self.lines.get(timeout=PATIENCE)
        except (BrokenPipeError, queue.Empty):
            pass
        if line == "":
            said = self.log.read_text(errors="replace").strip()
            return Report(f"it did not answer: …{said[-1500:]}", "", None, 0, "e30.e30.e30")
        return Report(**json.loads(line))


def clients_log_in(
    check: Check, tools: Toolbox, clients: ClientTools, binary: Path, folder: Path, cleanup: ExitStack
) -> None:
    server = provider(tools, folder, cleanup, TTL)
    behind = upstream(tools, folder, cleanup, server)
    service = {"type": "oauth2_client_credentials", "client_id": "basic", "issuer": server.url}
    service |= {"client_secret": {"value": SECRET}, "scopes": ["mcp:read", "mcp:call"]}
    upstreams = {"up": {"url": f"{behind.url}/mcp", "auth": service}}
    place = free_port()
    url = f"http://127.0.0.1:{place}/mcp"
    weir = Weir(binary, folder, cleanup, upstreams, callers(server, url, "mcp:read"), place, "trace")
    challenges(check, weir, server)

    everybody = [Client(sdk, way, clients, weir, folder, cleanup) for sdk in SDKS for way in WAYS]
    with ThreadPoolExecutor(len(everybody)) as pool:
        for client in pool.map(cold_start, everybody):
            judge_cold_start(check, client, weir)
        seen = server.seen()
        check("who registers itself did, and nobody else", seen["registered"] == len(SDKS), seen)
        check("each logged in once", seen["grants"].get("authorization_code") == len(everybody), seen)

        for client in pool.map(outlive_token, everybody):
            judge_renewal(check, client)
        check("no refresh token was used twice", "invalid_grant" not in server.seen()["errors"], server.seen())
        status, challenge = ask(weir, everybody[0].first.token)
        ended = status == 401 and 'error="invalid_token"' in challenge and "resource_metadata=" in challenge
        check("a token that has ended is refused", ended, (status, challenge))

        weir.configure(callers(server, url, "mcp:read", "mcp:call"))
        both = ["mcp:read", "mcp:call"]
        check("a reload asks for more scopes", wait_until(lambda: metadata(weir)["scopes_supported"] == both, 10))
        for client in pool.map(step_up, everybody):
            judge_step_up(check, client)
    # Not all of them: a token may end just then, and bring 401 in place of 403.
    told = weir.log.count("and lacks mcp:call")
    check("their tokens lacked a scope", told >= len(everybody) // 2, told)
    nothing_leaks(check, weir, behind, everybody)


def callers(server: Server, url: str, *scopes: str) -> dict[str, Any]:
    """`listen.auth` of a weir at `url`."""
    return {"public_url": url, "jwt": [{"issuer": server.url, "all_scopes": scopes, "leeway": "1s"}]}


def challenges(check: Check, weir: Weir, server: Server) -> None:
    """What anybody sees who asks without a token, or with one for somebody else."""
    status, challenge = ask(weir, None)
    place = f'resource_metadata="http://127.0.0.1:{weir.port}/.well-known/oauth-protected-resource/mcp"'
    named = status == 401 and place in challenge and 'scope="mcp:read"' in challenge and "error=" not in challenge
    check("without a token: 401, scopes, and where the metadata is", named, (status, challenge))
    about = metadata(weir)
    right = about["resource"] == weir.url and about["authorization_servers"] == [server.url]
    check("the metadata names weir and the provider", right, about)
    check("and is at the root too", metadata(weir, "") == about)
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "mcp:read mcp:call"}).encode()
    basic = base64.b64encode(f"basic:{urllib.parse.quote(SECRET, safe='')}".encode()).decode()
    request = urllib.request.Request(f"{server.url}/token", form, {"Authorization": f"Basic {basic}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        other = json.load(answer)["access_token"]
    status, challenge = ask(weir, other)
    check("a token of the provider for another resource: 401", status == 401 and "invalid_token" in challenge, status)


def cold_start(client: Client) -> Client:
    client.first = client.last = client.call("up__whoami")
    return client


def judge_cold_start(check: Check, client: Client, weir: Weir) -> None:
    said, claims = client.first, client.first.claims
    check(f"{client.name} logs in and calls", said.text == "basic basic" and said.logins == 1, said.text)
    whose = (claims.get("aud"), claims.get("sub"), said.scopes)
    check(f"{client.name}: its token is for weir, and ada's", whose == (weir.url, "ada", {"mcp:read"}), whose)
    id = claims.get("client_id", "")
    expected = WAYS[client.way].get("document") or WAYS[client.way].get("client_id")
    known = (DOCUMENT, "public", "")
    check(f"{client.name}: who it is", id == expected if expected else id not in known, id)
    check(f"{client.name}: its era", said.version == SDKS[client.sdk], said.version)


def outlive_token(client: Client) -> Client:
    client.last = client.call("up__whoami", not_before=client.first.claims.get("exp", 0) + AFTER)
    return client


def judge_renewal(check: Check, client: Client) -> None:
    before, now = client.first, client.last
    check(f"{client.name} calls after its token's end", now.text == "basic basic", now.text)
    renewed = now.token != before.token and now.logins == 1
    check(f"{client.name}: with a new token, without a login", renewed, f"{now.logins} logins")
    check(f"{client.name}: in the same session", now.session == before.session)


def step_up(client: Client) -> Client:
    # Version 1 of the TypeScript SDK uses a refresh token here, if it has one: that brings no scope, so it gives up.
    client.last = client.call("up__whoami", forget_refresh=client.sdk == "ts1")
    return client


def judge_step_up(check: Check, client: Client) -> None:
    now = client.last
    check(f"{client.name} gets more scopes and calls", now.text == "basic basic" and now.logins == 2, now.text)
    check(f"{client.name}: both scopes", now.scopes == {"mcp:read", "mcp:call"}, now.scopes)
    check(f"{client.name}: in the same session still", now.session == client.first.session)


def nothing_leaks(check: Check, weir: Weir, behind: Server, everybody: list[Client]) -> None:
    """The upstream saw weir's own tokens only, and nobody's token is where operators look."""
    seen = behind.seen()
    check("the upstream was sent no caller's token", seen["refused"] == 0, seen)
    everything = weir.log + weir.page("/upstreams") + weir.page("/metrics") + weir.page("/catalog")
    kept = [report.token for client in everybody for report in (client.first, client.last)]
    signatures = [token.rsplit(".", 1)[1] for token in kept]
    check("no token is in a log, answer or metric", not any(part in everything for part in signatures))


def ask(weir: Weir, token: str | None) -> tuple[int, str]:
    """The status of a request with this token, and the challenge."""
    params = {"_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/list"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(weir.url, body, headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("WWW-Authenticate", "")


def metadata(weir: Weir, path: str = "/mcp") -> dict[str, Any]:
    status, text = get(f"http://127.0.0.1:{weir.port}/.well-known/oauth-protected-resource{path}")
    if status != 200:
        raise Trouble(f"there is no metadata: {status} {text[:300]}")
    return json.loads(text)
