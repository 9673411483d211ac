"""`weir login` at the provider, as a scenario: every kind of client, refresh tokens that are rotated, and their end."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parts import SECRET, Caller, Load, Weir, provider, upstream, wait_until
from person import log_in  # of tests/interop, see parts.py
from suite import Toolbox

SHORT = 3  # seconds that access tokens live
Check = Callable[..., None]


def person(**more: Any) -> dict[str, Any]:
    # The provider is on another port of loopback than the upstream, which an upstream alone may not name.
    return {"type": "oauth2_authorization_code", "allowed_hosts": ["127.0.0.1", "localhost"], **more}


def logins(check: Check, tools: Toolbox, binary: Path, folder: Path, cleanup: ExitStack) -> None:
    server = provider(tools, folder, cleanup, SHORT)
    behind = upstream(tools, folder, cleanup, server, "self")
    ways = {
        "public": person(client_id="public"),
        "web": person(client_id="web", client_secret={"value": SECRET}),
        "registered": person(),
        "document": person(client_metadata_url="https://client.test/weir.json"),
        "configured": person(client_id="public", issuer=server.url, scopes=["mcp:call", "offline_access"]),
    }
    upstreams = {name: {"url": f"{behind.url}/mcp", "auth": way} for name, way in ways.items()}
    weir = Weir(binary, folder, cleanup, upstreams)
    caller = Caller(weir)

    def state(name: str) -> str:
        return weir.credentials(name)["state"]

    def log_in_to(name: str) -> tuple[int, str]:
        return log_in(binary, name, weir.config, folder / f"login-{name}.log")

    for name in ways:
        told = weir.credentials(name)
        needs = told["state"] == "reauth_needed" and f"weir login {name}" in str(told["reason"])
        check(f"{name} needs a login, and says so", needs, told)
        code, page = log_in_to(name)
        check(f"weir login {name}", code == 0 and "logged in" in page, (code, page[-200:]))
        check(f"{name} is ok without a restart", wait_until(lambda name=name: state(name) == "ok", 10), state(name))
        # It is listed as soon as it lets weir in.
        let_in = wait_until(lambda name=name: caller.call(f"{name}__whoami").endswith(" ada"), 10)
        check(f"{name} lets in who logged in", let_in, caller.call(f"{name}__whoami"))

    load = Load(weir, "public__whoami", callers=50, pause=0.1)
    before = server.seen()["grants"].get("refresh_token", 0)
    time.sleep(4 * SHORT)
    load.stop()
    refreshed = server.seen()["grants"].get("refresh_token", 0) - before
    check("50 callers over refreshes: zero failed calls", not load.failed, (load.calls, load.failed[:3]))
    check("each refresh token was used once", "invalid_grant" not in server.seen()["errors"], server.seen()["errors"])
    check("access tokens were refreshed", refreshed >= 3, refreshed)

    stored = sorted((folder / "state" / "oauth").glob("*.json"))
    check("a file for each login", len(stored) == len(ways), [path.name for path in stored])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [*stored, stored[0].parent]}
    check("for their owner only", modes == {0o600, 0o700}, [oct(mode) for mode in modes])

    # A provider that is started again has forgotten all refresh tokens.
    server.kill()
    server.start()
    check("a dead refresh token needs a person", wait_until(lambda: needs_person(weir, caller), 30), state("public"))
    told = weir.credentials("public")
    check("and says what to do", "log in again: weir login public" in str(told["reason"]), told)
    server.do(deny=True)
    code, page = log_in_to("public")
    check("who says no is not logged in", code == 2 and "access_denied" in page, (code, page[-300:]))
    server.do(deny=False)
    code, page = log_in_to("public")
    check("logged in again", code == 0, page[-200:])
    check("and ok again", wait_until(lambda: state("public") == "ok", 10), state("public"))

    kept = [secret for path in stored for secret in secrets_of(path)]
    everything = weir.log + weir.page("/upstreams") + weir.page("/metrics") + weir.page("/catalog")
    everything += "".join(path.read_text(errors="replace") for path in folder.glob("login-*.log"))
    check("no token is in a log, answer or metric", kept and not any(secret in everything for secret in kept))


def needs_person(weir: Weir, caller: Caller) -> bool:
    caller.call("public__whoami")
    return weir.credentials("public")["state"] == "reauth_needed"


def secrets_of(path: Path) -> list[str]:
    record = json.loads(path.read_text())
    return [secret for key in ("access_token", "refresh_token") if (secret := record[key])]
