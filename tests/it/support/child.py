#!/usr/bin/env python3
"""A scripted MCP server on stdin and stdout; standard library only.

    child.py [--name N] [--era legacy|modern|dual] [--version V] [--tools a,b] [--prompts p] [--pid FILE]
             [--instructions TEXT]
             [--restless] [--ignore-sigterm] [--exit-on-probe] [--silent-on-probe] [--start-delay S]
             [--start-when FILE] [--either-era] [--pydantic] [--stuck-on-probe] [--strict-version]
             [--noise] [--flood-stderr BYTES] [--log FILE] [--deaf-pings N]

Every tool answers with the text `NAME.TOOL ARGUMENTS-AS-THEY-CAME`, except tools with these names:

    crash      the process dies, exit code 3
    hang       no answer until notifications/cancelled, then an error; the cancel is in the log
    garbage    a line that is no JSON, a line of binary, an empty line, then the answer
    progress   three progress notifications, then the answer
    steps      five progress notifications, 0.4 s before each, then the answer
    environ    the text is the environment as JSON
    add_tool   adds the tool `added`, announces the change, then answers
    raw        `result` is the raw text of the file named by --raw
    big        a result of about --big bytes
    ask        asks the client for `elicitation/create`, id `"q"`; the text is the client's answer as it came
    count      the text is how many calls of this tool the process has had
    nap        answers after 0.3 s
    nan        the answer, with a number that JSON does not have
    latin      the answer, in bytes that are not UTF-8
    split      the answer is written in two writes with a flush between

With --start-when it reads nothing until FILE exists. With --either-era and `--era dual` it takes `initialize`
after a modern request too; the later one counts. With --pydantic it reports 31 errors at the probe.
--fault METHOD=hang gets no answer to that method; METHOD=ERROR-OR-RESULT gets this raw answer, which is an error if it
has a `code`.

--sloppy writes a byte order mark before each message, and `null` for what is absent: params of notifications and their
id, and `result` beside `error`.

--deaf-pings N: after its first list it reads no more, and sends N pings in 5 s.

--log FILE gets one line per message that arrived, as it arrived, and `EOF` when stdin closes.
"""
import argparse
import json
import os
import queue
import re
import signal
import sys
import threading
import time

CLAIM = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
options = argparse.ArgumentParser()
options.add_argument("--name", default="child")
options.add_argument("--era", choices=["legacy", "modern", "dual"], default="legacy")
options.add_argument("--version", default="2025-11-25")
options.add_argument("--tools", default="echo")
options.add_argument("--prompts", default="")
options.add_argument("--instructions")
options.add_argument("--pid")
options.add_argument("--log")
options.add_argument("--fault", action="append", default=[])
options.add_argument("--raw")
options.add_argument("--big", type=int, default=100_000)
options.add_argument("--start-delay", type=float, default=0)
options.add_argument("--start-when")
options.add_argument("--deaf-pings", type=int, default=0)
options.add_argument("--flood-stderr", type=int, default=0)
for switch in ["ignore-sigterm", "exit-on-probe", "silent-on-probe", "stuck-on-probe", "strict-version", "noise",
               "sloppy", "restless", "either-era", "pydantic", "string-numbers"]:
    options.add_argument("--" + switch, action="store_true")
options = options.parse_args()

out = sys.stdout.buffer
writing = threading.Lock()
faults = dict(fault.split("=", 1) for fault in options.fault)
tools = [name for name in options.tools.split(",") if name]
prompts = [name for name in options.prompts.split(",") if name]
cancelled = {}
counted = []
responses = queue.Queue()
listens = []
state = {"initialized": False, "pinned": None}


def log(line):
    if options.log:
        with open(options.log, "a", encoding="utf-8") as file:
            file.write(line.rstrip("\n") + "\n")


def write(text):
    with writing:
        out.write((b"\xef\xbb\xbf" if options.sloppy else b"") + text.encode() + b"\n")
        out.flush()


def spelled(number):
    """The number as some servers send it back: as text."""
    return str(number) if options.string_numbers and isinstance(number, int) else number


def note(method, params):
    if options.sloppy and not params:
        return write(json.dumps({"jsonrpc": "2.0", "id": None, "method": method, "params": None}))
    write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


def announce(method, wish):
    if state["pinned"] == "modern":
        for listen, wishes in listens:
            if wishes.get(wish):
                note(method, {"_meta": {SUBSCRIPTION: spelled(listen)}})
    else:
        note(method, {})


def raw_arguments(line):
    """The arguments with their bytes: Python would change big numbers."""
    match = re.search(r'"arguments"\s*:\s*', line)
    if not match:
        return "{}"
    depth, text, quoted, at = 0, [], False, match.end()
    while at < len(line):
        char = line[at]
        text.append(char)
        if quoted and char == "\\":
            at += 1
            text.append(line[at])
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "{[":
            depth += 1
        elif not quoted and char in "}]":
            depth -= 1
            if depth == 0:
                break
        at += 1
    return "".join(text)


def result(request, value):
    if isinstance(value, dict):
        if state["pinned"] == "modern":
            value = {"resultType": "complete", **value}
        value = json.dumps(value)
    return '{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(spelled(request["id"])), value)


def answer(request, value):
    write(result(request, value))


def refuse(request, code, message, data=None):
    error = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    more = {"result": None} if options.sloppy else {}
    write(json.dumps({"jsonrpc": "2.0", "id": spelled(request.get("id")), "error": error, **more}))


def text(value):
    return {"content": [{"type": "text", "text": value}]}


def call(request, line):
    params = request.get("params", {})
    name, token = params.get("name"), params.get("_meta", {}).get("progressToken")
    if name not in tools:
        return refuse(request, -32602, "Unknown tool: %s" % name)
    said = text("%s.%s %s" % (options.name, name, raw_arguments(line)))
    if name == "crash":
        os._exit(3)
    if name == "hang":
        stop = cancelled.setdefault(json.dumps(request["id"]), threading.Event())
        stop.wait()
        log("CANCELLED %s" % json.dumps(request["id"]))
        return refuse(request, 0, "Request cancelled")
    if name == "garbage":
        with writing:
            out.write(b"Starting up, please wait...\n\xff\xfe\x00binary\n\n{\"half\":\n")
            out.flush()
    if name == "progress" and token is not None:
        for step in (1, 2, 3):
            note("notifications/progress", {"progressToken": spelled(token), "progress": step, "total": 3})
    if name == "steps" and token is not None:
        for step in (1, 2, 3, 4, 5):
            time.sleep(0.4)
            note("notifications/progress", {"progressToken": token, "progress": step, "total": 5})
    if name == "environ":
        said = text(json.dumps(dict(os.environ)))
    if name == "add_tool":
        tools.append("added")
        announce("notifications/tools/list_changed", "toolsListChanged")
    if name == "ask":
        write('{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"\\u0041","x":1e400}}')
        said = text(responses.get())
    if name == "count":
        counted.append(name)
        said = text(str(len(counted)))
    if name == "nap":
        time.sleep(0.3)
    if name == "lines":
        with open(options.raw, "rb") as file, writing:
            out.write(file.read() + b"\n")
            out.flush()
    if name == "raw":
        with open(options.raw, encoding="utf-8") as file:
            said = file.read()
    if name in ("nan", "latin"):
        id, bad = json.dumps(request["id"]), "NaN" if name == "nan" else "\"caf\xe9\""
        with writing:
            out.write(('{"jsonrpc":"2.0","id":%s,"result":{"content":[],"x":%s}}\n' % (id, bad)).encode("latin-1"))
            out.flush()
        return None
    if name == "big":
        said = text("x" * options.big)
    if name == "split":
        whole = result(request, said).encode() + b"\n"
        with writing:
            out.write(whole[: len(whole) // 2])
            out.flush()
            time.sleep(0.05)
            out.write(whole[len(whole) // 2 :])
            out.flush()
        return None
    return answer(request, said)


def capabilities():
    has = {"tools": {"listChanged": True}}
    if prompts:
        has["prompts"] = {"listChanged": True}
    return has


def initialize(request):
    if options.era == "modern" or state["pinned"] == "modern" and not options.either_era:
        return refuse(request, -32022, "Unsupported protocol version",
                      {"supported": ["2026-07-28"], "requested": request["params"].get("protocolVersion")})
    if options.strict_version and request["params"].get("protocolVersion") != options.version:
        return refuse(request, -32602, "Unsupported protocol version")
    state["pinned"] = "legacy"
    return answer(request, {
        "protocolVersion": options.version,
        "capabilities": capabilities(),
        "serverInfo": {"name": options.name, "version": "1.0.0"},
        **instructions(),
    })


def instructions():
    return {"instructions": options.instructions} if options.instructions else {}


def probe(request):
    if options.exit_on_probe:
        os._exit(1)
    if options.silent_on_probe:
        return None
    if options.pydantic:
        sys.stderr.write("Failed to validate request: 31 validation errors for ClientRequest\n")
        for n in range(31):
            sys.stderr.write("Request%d.method\n  Input should be 'ping' [type=literal_error, input_value='server/discover', input_type=str]\n"
                             "    For further information visit https://errors.pydantic.dev/2.14/v/literal_error\n" % n)
        sys.stderr.flush()
    if options.stuck_on_probe:
        time.sleep(1_000_000)
    if options.era == "legacy":
        return refuse(request, -32601, "Method not found")
    state["pinned"] = "modern"
    return answer(request, {
        "supportedVersions": ["2026-07-28"], "capabilities": capabilities(), **instructions(),
        "ttlMs": 600000, "cacheScope": "public",
    })


def handle(request, line):
    method = request.get("method")
    params = request.get("params") or {}
    modern = CLAIM in params.get("_meta", {})
    if method == "notifications/initialized":
        state["initialized"] = True
    elif method == "notifications/cancelled":
        stop = cancelled.setdefault(json.dumps(params.get("requestId")), threading.Event())
        stop.set()
    elif method in faults:
        raw = faults[method]
        if raw != "hang":
            member = "error" if raw.startswith('{"code"') else "result"
            write('{"jsonrpc":"2.0","id":%s,"%s":%s}' % (json.dumps(request["id"]), member, raw))
    elif method == "initialize":
        initialize(request)
    elif "id" in request and method is None:
        responses.put(line.strip())
    elif "id" not in request or method is None:
        pass
    elif method == "server/discover":
        probe(request)
    elif modern and options.era == "legacy" or not modern and options.era == "modern":
        refuse(request, -32602, "Invalid request parameters")
    elif not modern and not state["initialized"] and method != "ping":
        refuse(request, -32602, "Received request before initialization was complete")
    elif method == "ping":
        answer(request, {})
    elif method == "tools/list":
        stamp = {"ttlMs": 600000, "cacheScope": "public"} if modern else {}
        answer(request, {"tools": [
            {"name": name, "description": "Does %s." % name, "inputSchema": {"type": "object"}}
            for name in tools], **stamp})
        if options.restless:
            announce("notifications/tools/list_changed", "toolsListChanged")
        for n in range(options.deaf_pings):
            write(json.dumps({"jsonrpc": "2.0", "id": n, "method": "ping"}))
            time.sleep(5 / options.deaf_pings)
    elif method == "prompts/list" and prompts:
        stamp = {"ttlMs": 600000, "cacheScope": "public"} if modern else {}
        answer(request, {"prompts": [{"name": name} for name in prompts], **stamp})
    elif method == "prompts/get" and params.get("name") in prompts:
        said = "%s.%s %s" % (options.name, params["name"], raw_arguments(line))
        answer(request, {"messages": [{"role": "user", "content": {"type": "text", "text": said}}]})
    elif method == "tools/call":
        threading.Thread(target=call, args=(request, line), daemon=True).start()
    elif method == "subscriptions/listen" and modern:
        wishes = {key: True for key, value in params.get("notifications", {}).items()
                  if value is True and key == "toolsListChanged"}
        listens.append((request["id"], wishes))
        note("notifications/subscriptions/acknowledged",
             {"notifications": wishes, "_meta": {SUBSCRIPTION: request["id"]}})
    else:
        refuse(request, -32601, "Method not found")


def main():
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.pid:
        with open(options.pid + ".new", "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
        os.rename(options.pid + ".new", options.pid)
    sys.stderr.write("%s is up\n" % options.name)
    sys.stderr.flush()
    left = options.flood_stderr
    while left > 0:
        sys.stderr.write("e" * 99 + "\n")
        left -= 100
    sys.stderr.flush()
    time.sleep(options.start_delay)
    while options.start_when and not os.path.exists(options.start_when):
        time.sleep(0.02)
    if options.noise:
        with writing:
            out.write(b"Welcome to %s!\n" % options.name.encode())
            out.flush()
    for line in sys.stdin.buffer:
        line = line.decode()
        log(line)
        try:
            request = json.loads(line)
        except ValueError:
            refuse({}, -32700, "Parse error")
            continue
        handle(request, line)
    log("EOF")
    while options.ignore_sigterm:
        time.sleep(1)


main()
