"""A person who logs in with `weir login`, and a browser in which everybody consents."""

from __future__ import annotations

import http.cookiejar
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from rig import Trouble, wait_until

PATIENCE = 20  # seconds
HOPS = 20
ADDRESS = re.compile(rb"^  (http\S+)$", re.MULTILINE)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def browse(url: str, end: str | None = None) -> str:
    """Follows redirects, with cookies, and gives back what the last page says, whatever its status is. With `end` it stops
    before an address that begins so, and gives back that."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(NoRedirect, jar, urllib.request.ProxyHandler({}))
    for _ in range(HOPS):
        try:
            with opener.open(url, timeout=PATIENCE) as answer:
                return answer.read().decode(errors="replace")
        except urllib.error.HTTPError as answer:
            place = answer.headers.get("Location")
            if answer.code // 100 != 3 or place is None:
                return answer.read().decode(errors="replace")
            url = urllib.parse.urljoin(url, place)
            if end is not None and url.startswith(end):
                return url
    raise Trouble(f"the browser was sent on {HOPS} times")


def log_in(weir: Path, upstream: str, config: Path, log: Path) -> tuple[int, str]:
    """The exit code of `weir login`, and the last page; what it wrote is in `log`."""
    command = [str(weir), "login", upstream, "-c", str(config)]
    with open(log, "wb") as to:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to)
    try:
        wait_until(lambda: ADDRESS.search(log.read_bytes()) is not None or process.poll() is not None, PATIENCE)
        address = ADDRESS.search(log.read_bytes())
        page = browse(address[1].decode()) if address else ""
        return process.wait(PATIENCE), page
    except subprocess.TimeoutExpired:
        raise Trouble(f"weir login does not end: {log}") from None
    finally:
        process.kill()
