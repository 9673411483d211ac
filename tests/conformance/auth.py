"""The client of the auth scenarios: `auth.py WEIR FOLDER COMMAND... URL`, with the variables that the suite sets.

A person's part is scripted: `weir login` with a browser that follows redirects. Then COMMAND calls every tool through a
weir that serves. Where that fails, or weir says that it needs a login, everything is done once more, as a person would.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from rigs import Rigs, telling

from person import log_in  # of tests/interop, see suite.py
from rig import free_port, get

DOCUMENT = "https://conformance-test.local/client-metadata.json"
PATIENCE = 20  # seconds


def issuer(url: str) -> str:
    """What an operator would look up to write a config: the issuer in the protected resource metadata."""
    place = urllib.parse.urlsplit(url)
    text = get(f"{place.scheme}://{place.netloc}/.well-known/oauth-protected-resource{place.path}")[1]
    return json.loads(text)["authorization_servers"][0]


def auth(scenario: str, context: dict, url: str) -> dict:
    """What the config of the upstream says, for each scenario what an operator would know beforehand."""
    if scenario.startswith("auth/client-credentials-"):
        service = {"type": "oauth2_client_credentials", "issuer": issuer(url), "client_id": context["client_id"]}
        if "client_secret" in context:
            return {**service, "client_secret": {"value": context["client_secret"]}}
        key = {"private_key": {"value": context["private_key_pem"]}, "algorithm": context["signing_algorithm"]}
        return {**service, **key}
    client: dict = {}
    if "client_id" in context:
        client["client_id"] = context["client_id"]
    if "client_secret" in context:
        client["client_secret"] = {"value": context["client_secret"]}
    if scenario == "auth/basic-cimd":
        client["client_metadata_url"] = DOCUMENT
    # The suite's servers are on ports of loopback of their own, which an upstream alone may not name.
    return {"type": "oauth2_authorization_code", "allowed_hosts": ["127.0.0.1", "localhost"], **client}


def once(weir: str, folder: Path, command: list[str], url: str, settings: dict) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    state = folder.parent / "state"
    admin = f"127.0.0.1:{free_port()}"
    top = {"state": {"dir": str(state)}, "admin": {"address": admin}}
    if settings["type"] == "oauth2_authorization_code":
        config = folder / "login.yaml"  # JSON is YAML
        upstreams = {"upstream": {"url": url, "auth": settings}}
        config.write_text(json.dumps({"version": 1, **top, "upstreams": upstreams}, indent=2))
        log = folder / "login.log"
        code, _ = log_in(Path(weir), "upstream", config, log)
        print(log.read_text(errors="replace"), file=sys.stderr)
        if code != 0:
            return False
    with ExitStack() as cleanup:
        rigs = Rigs(folder, cleanup)
        through = rigs.weir(Path(weir), "weir", url, {"auth": settings}, top)
        client = rigs.run("client", [*command, through])
        code = client.popen.wait(PATIENCE)
        print(client.log.read_text(errors="replace"), file=sys.stderr)
        credentials = json.loads(get(f"http://{admin}/upstreams")[1])["upstreams"][0]["credentials"]
        print(f"credentials: {credentials}", file=sys.stderr)
    return code == 0 and credentials["state"] == "ok"


def main() -> int:
    weir, folder, *command, url = sys.argv[1:]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    with telling(Path(folder)):
        settings = auth(scenario, json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"), url)
        tries = (once(weir, Path(folder) / name, command, url, settings) for name in ("first", "second"))
        return 0 if any(tries) else 1


if __name__ == "__main__":
    sys.exit(main())
