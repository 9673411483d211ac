"""An MCP server whose door is botocore: what AWS's own SDK would not have signed the same way does not get in.

`door.py PORT LOG REGION`, with the key in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Every request
becomes a line of LOG: what it was, and `ok` or why it was turned away.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PORT, LOG, REGION = int(sys.argv[1]), sys.argv[2], sys.argv[3]
KEY = Credentials(
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]
)
SIGNER = SigV4Auth(KEY, "bedrock-agentcore", REGION)
# HTTP's own, which an HTTP client adds when everything is signed.
TRANSPORT = {"content-length", "accept-encoding", "authorization"}
WINDOW = 300


def judge(method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> str:
    """`ok`, or why botocore would have signed this request otherwise."""
    given = {name.lower(): value for name, value in headers}
    if "authorization" not in given:
        return "not signed"
    if len(given) != len(headers):
        return "a header twice"
    if given.get("x-amz-security-token") != KEY.token:
        return "not the session token"
    request = AWSRequest(method, url, data=body)
    for name, value in given.items():
        if name not in TRANSPORT:
            request.headers[name] = value
    stamp = given.get("x-amz-date", "")
    try:
        signed_at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return "no date"
    if abs((datetime.datetime.now(datetime.timezone.utc) - signed_at).total_seconds()) > WINDOW:
        return "not now"
    request.context["timestamp"] = stamp
    # All of it again: which headers are signed, and in what order, is part of what is compared.
    canonical = SIGNER.canonical_request(request)
    signature = SIGNER.signature(SIGNER.string_to_sign(request, canonical), request)
    names = SIGNER.signed_headers(SIGNER.headers_to_sign(request))
    expected = f"AWS4-HMAC-SHA256 Credential={SIGNER.scope(request)}, SignedHeaders={names}, Signature={signature}"
    return "ok" if given["authorization"] == expected else "another signature"


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """What the MCP server says; None to what is not a request."""
    if "id" not in message:
        return None
    params = message.get("params") or {}
    match message["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "door", "version": "1"},
            }
        case "ping":
            result = {}
        case "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            said = json.dumps(params.get("arguments"), ensure_ascii=False)
            result = {"content": [{"type": "text", "text": said}]}
        case method:
            error = {"code": -32601, "message": f"no {method}"}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = f"http://{self.headers['host']}{self.path}"
        verdict = judge(self.command, url, self.headers.items(), body)
        try:
            message = json.loads(body or b"{}")
        except ValueError:
            message = {}
        line = {"method": self.command, "target": self.path, "mcp": message.get("method"), "verdict": verdict}
        with open(LOG, "a") as log:
            log.write(json.dumps(line) + "\n")
        if verdict != "ok":
            refusal = {"message": "The request signature we calculated does not match the signature you provided."}
            self.say(403, refusal, ("x-amzn-errortype", "InvalidSignatureException"))
        elif self.command != "POST":
            self.say(405, None)
        elif (said := answer(message)) is None:
            self.say(202, None)
        else:
            self.say(200, said)

    do_GET = do_POST = do_DELETE = handle_any

    def say(self, status: int, body: dict[str, Any] | None, *headers: tuple[str, str]) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Date", email.utils.formatdate(usegmt=True))
        for name, value in headers:
            self.send_header(name, value)
        if data:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", PORT), Door).serve_forever()
