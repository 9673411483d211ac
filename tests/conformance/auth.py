"""The client of the auth scenarios: `auth.py WEIR FOLDER COMMAND... URL`, with the variables that the suite sets.

A person's part is scripted: `weir login` with a browser that follows redirects. Then COMMAND calls every tool through a
weir that serves. Where that fails, everything is done once more, as a person would.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from rigs import Rigs

from rig import Trouble, wait_until  # of tests/interop, see suite.py

DOCUMENT = "https://conformance-test.local/client-metadata.json"
PATIENCE = 20  # seconds
ADDRESS = re.compile(rb"^  (http\S+)$", re.MULTILINE)


def auth(scenario: str, context: dict) -> dict:
    """What the config of the upstream says, for each scenario what an operator would know beforehand."""
    if scenario == "auth/client-credentials-basic":
        return {
            "type": "oauth2_client_credentials",
            "client_id": context["client_id"],
            "client_secret": {"value": context["client_secret"]},
        }
    if scenario == "auth/client-credentials-jwt":
        return {
            "type": "oauth2_client_credentials",
            "client_id": context["client_id"],
            "client_authentication": "private_key_jwt",
            "private_key": {"value": context["private_key_pem"]},
            "algorithm": context.get("signing_algorithm", "ES256"),
        }
    client: dict = {}
    if "client_id" in context:
        client["client_id"] = context["client_id"]
    if "client_secret" in context:
        client["client_secret"] = {"value": context["client_secret"]}
    if scenario == "auth/basic-cimd":
        client["client_metadata_url"] = DOCUMENT
    return {"type": "oauth2_authorization_code", **client}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def browse(url: str) -> None:
    """A browser in which everybody consents: follows redirects, and looks at no page."""
    opener = urllib.request.build_opener(NoRedirect)
    for _ in range(10):
        try:
            opener.open(url, timeout=PATIENCE).close()
            return
        except urllib.error.HTTPError as answer:
            place = answer.headers.get("Location")
            if answer.code // 100 != 3 or place is None:
                return  # an error is for weir to understand
            url = urllib.parse.urljoin(url, place)


def log_in(weir: str, config: Path, log: Path) -> bool:
    command = [weir, "login", "upstream", "-c", str(config)]
    with open(log, "ab") as to:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to)
    try:
        wait_until(lambda: ADDRESS.search(log.read_bytes()) or process.poll() is not None, PATIENCE)
        address = ADDRESS.search(log.read_bytes())
        if address:
            browse(address[1].decode())
        return process.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        raise Trouble(f"weir login does not end: {log}") from None
    finally:
        process.kill()


def once(weir: str, folder: Path, command: list[str], url: str, settings: dict) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    state = folder.parent / "state"
    top = {"state": {"dir": str(state)}}
    if settings["type"] == "oauth2_authorization_code":
        config = folder / "login.yaml"  # JSON is YAML
        upstreams = {"upstream": {"url": url, "auth": settings}}
        config.write_text(json.dumps({"version": 1, **top, "upstreams": upstreams}, indent=2))
        if not log_in(weir, config, folder / "login.log"):
            print((folder / "login.log").read_text(errors="replace"), file=sys.stderr)
            return False
    with ExitStack() as cleanup:
        rigs = Rigs(folder, cleanup)
        through = rigs.weir(Path(weir), "weir", url, {"auth": settings}, top)
        client = rigs.run("client", [*command, through])
        code = client.popen.wait(PATIENCE)
        print(client.log.read_text(errors="replace"), file=sys.stderr)
    return code == 0


def main() -> int:
    weir, folder, *command, url = sys.argv[1:]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    settings = auth(scenario, json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"))
    tries = (once(weir, Path(folder) / name, command, url, settings) for name in ("first", "second"))
    return 0 if any(tries) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Trouble, subprocess.TimeoutExpired) as trouble:
        sys.exit(f"auth.py: {trouble}")
