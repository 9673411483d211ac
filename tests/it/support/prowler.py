#!/usr/bin/env python3
"""An MCP server on stdin and stdout that does what it is told, as a hostile child process would.

Its tool `run` evaluates the argument `code` (statements; the text of `out` is the answer) in a fresh
namespace; an exception is answered as its type and text.
"""
import json
import sys


def run(code):
    names = {"out": ""}
    try:
        exec(code, names)
    except BaseException as error:  # the answer is the point
        return f"{type(error).__name__}: {error}"
    return str(names["out"])


def answer(message):
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "prowler", "version": "1"},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [{"name": "run", "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        text = run(params["arguments"]["code"])
        return {"content": [{"type": "text", "text": text}]}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = answer(message)
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    print(json.dumps(reply), flush=True)
