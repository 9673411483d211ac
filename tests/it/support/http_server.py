#!/usr/bin/env python3
"""A small MCP server over HTTP in a process of its own, to be stopped and killed; standard library only.

    http_server.py [--name N] [--era legacy|modern] [--port P] [--tools a,b] [--slow-call SECONDS]

Its first line on stdout is `PORT`; each call of `slow` that arrives is a line `slow`. Every tool answers with
the text `NAME.TOOL ARGUMENTS`, the tool `slow` after --slow-call seconds. It holds change streams open and
never says that anything changed. A legacy server knows only the session it gave out itself, so a restart
forgets it.
"""
import argparse
import http.server
import json
import secrets
import time

CLAIM = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
options = argparse.ArgumentParser()
options.add_argument("--name", default="far")
options.add_argument("--era", choices=["legacy", "modern"], default="modern")
options.add_argument("--port", type=int, default=0)
options.add_argument("--tools", default="search,slow")
options.add_argument("--slow-call", type=float, default=60)
options = options.parse_args()

tools = options.tools.split(",")
session = secrets.token_hex(16)
modern = options.era == "modern"


class Refused(Exception):
    pass


def answer(method, params):
    """The result of a request."""
    stamp = {"resultType": "complete", "ttlMs": 600000, "cacheScope": "public"} if modern else {}
    capabilities = {"tools": {"listChanged": True}}
    if method == "server/discover" and modern:
        return {**stamp, "supportedVersions": ["2026-07-28"], "capabilities": capabilities}
    if method == "initialize" and not modern:
        return {"protocolVersion": "2025-11-25", "capabilities": capabilities,
                "serverInfo": {"name": options.name, "version": "1.0.0"}}
    if method == "ping":
        return {}
    if method == "tools/list":
        return {**stamp, "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in tools]}
    if method == "tools/call" and params.get("name") in tools:
        if params["name"] == "slow":
            print("slow", flush=True)
            time.sleep(options.slow_call)
        said = "%s.%s %s" % (options.name, params["name"],
                             json.dumps(params.get("arguments", {}), separators=(",", ":")))
        return {**({"resultType": "complete"} if modern else {}), "content": [{"type": "text", "text": said}]}
    raise Refused(method)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, message=None):
        body = b"" if message is None else json.dumps(message).encode()
        self.send_response(status)
        if not modern and message and "protocolVersion" in message.get("result", {}):
            self.send_header("Mcp-Session-Id", session)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, request, code, data=None):
        error = {"code": code, "message": "refused", **({"data": data} if data else {})}
        self.reply(status, {"jsonrpc": "2.0", "id": request.get("id"), "error": error})

    def stream(self, first):
        """Open for as long as somebody reads."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(first)
        while True:
            self.wfile.write(b": alive\n\n")
            self.wfile.flush()
            time.sleep(0.2)

    def unknown(self):
        return not modern and self.headers.get("Mcp-Session-Id") != session

    def do_GET(self):
        if modern:
            return self.reply(405)
        if self.unknown():
            return self.reply(404)
        return self.stream(b"")

    def do_DELETE(self):
        self.reply(405 if modern else 200)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, params = request.get("method"), request.get("params") or {}
        claims = CLAIM in params.get("_meta", {})
        if "id" not in request:
            return self.reply(202)
        if modern and not claims:
            return self.refuse(400, request, -32022, {"supported": ["2026-07-28"], "requested": ""})
        if not modern and (claims or self.unknown() and method != "initialize"):
            return self.refuse(404 if "Mcp-Session-Id" in self.headers else 400, request, -32600)
        if method == "subscriptions/listen" and modern:
            first = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                     "params": {"notifications": {"toolsListChanged": True},
                                "_meta": {SUBSCRIPTION: request["id"]}}}
            return self.stream(b"data: %s\n\n" % json.dumps(first).encode())
        try:
            return self.reply(200, {"jsonrpc": "2.0", "id": request["id"], "result": answer(method, params)})
        except Refused:
            return self.refuse(200, request, -32601 if method != "tools/call" else -32602)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", options.port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
