"""What stands for AWS: moto, and a front before it that counts, fails when it is told to, and hosts weir as a Runtime does."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Operations that only look. Everything else changes something.
READING = re.compile(r"^(Get|List|Describe|Invoke)")
CONTROL = {
    ("PUT", "/runtimes/"): "CreateAgentRuntime",
    ("POST", "/runtimes/"): "ListAgentRuntimes",
    ("PUT", "/runtimes/ID/"): "UpdateAgentRuntime",
    ("GET", "/runtimes/ID/"): "GetAgentRuntime",
    ("DELETE", "/runtimes/ID/"): "DeleteAgentRuntime",
}


@dataclass
class Request:
    operation: str
    body: bytes

    @property
    def changes(self) -> bool:
        return not READING.match(self.operation)


@dataclass
class Front:
    """The one address of AWS. `fail` is the number of the changing request that fails, and whether it is done first."""

    moto: str
    weir: str
    seen: list[Request] = field(default_factory=list)
    fail: tuple[int, bool] | None = None
    # What CreateAgentRuntime says before it works, and what GetAgentRuntime says in place of the truth.
    young: int = 0
    status: dict[str, str] = field(default_factory=dict)

    def start(self) -> str:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802: the name is the library's
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, answer = front.answer(self.command, self.path, dict(self.headers.items()), body)
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_DELETE = do_POST

            def log_message(self, *_: object) -> None:
                """Not on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def changing(self) -> list[Request]:
        return [request for request in self.seen if request.changes]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        request = Request(operation_of(method, path, headers, body), body)
        self.seen.append(request)
        if request.operation == "InvokeAgentRuntime":
            return self.invoke(headers, body)
        if request.operation == "CreateAgentRuntime" and self.young:
            self.young -= 1
            return refusal("Role validation failed for 'arn:aws:iam::123456789012:role/x'. Please verify that the role exists")
        at, is_done_first = self.fail or (0, False)
        fails = request.changes and len(self.changing()) == at
        if fails and not is_done_first:
            return 500, {}, b'{"message": "the front fails"}'
        status, given, answer = forward(self.moto, method, path, headers, body)
        if fails:
            return 500, {}, b'{"message": "the front fails, afterwards"}'
        if request.operation == "GetAgentRuntime" and status == 200:
            answer = self.told(answer)
        return status, given, answer

    def told(self, answer: bytes) -> bytes:
        """moto never ends an update; AWS does."""
        said = json.loads(answer)
        if said["status"] == "UPDATING":
            said["status"] = "READY"
        return json.dumps(said | self.status).encode()

    def invoke(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """As the Runtime: the caller's signature goes no further, and the answer names the session."""
        passed = ("content-type", "accept", "mcp-session-id", "mcp-protocol-version")
        kept = {name: value for name, value in headers.items() if name.lower() in passed}
        return forward(self.weir, "POST", "/mcp", kept, body)


def refusal(message: str) -> tuple[int, dict[str, str], bytes]:
    return 400, {"x-amzn-ErrorType": "ValidationException"}, json.dumps({"message": message}).encode()


def operation_of(method: str, path: str, headers: dict[str, str], body: bytes) -> str:
    lower = {name.lower(): value for name, value in headers.items()}
    if target := lower.get("x-amz-target"):
        return target.rpartition(".")[2]
    form = urllib.parse.parse_qs(body.decode(errors="replace"))
    if "Action" in form:
        return form["Action"][0]
    plain = path.partition("?")[0]
    if plain.endswith("/invocations"):
        return "InvokeAgentRuntime"
    if plain.startswith("/tags/"):
        return "ListTagsForResource" if method == "GET" else "TagResource"
    return CONTROL.get((method, re.sub(r"^/runtimes/[^/]+/?$", "/runtimes/ID/", plain)), f"{method} {plain}")


def forward(origin: str, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    # The host stays as the client wrote it: moto tells services apart by the signature.
    request = urllib.request.Request(origin + path, body or None, {k: v for k, v in headers.items() if k.lower() != "content-length"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, dict(answer.headers.items()), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), error.read()
