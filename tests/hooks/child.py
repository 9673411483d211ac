"""Serves lambda_handler(event, context) of a file: JSON-RPC requests `intercept`, one a line, on stdin or a socket."""

import json
import socketserver
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
from invoke import load  # noqa: E402


def answer(handler, line):
    request = json.loads(line)
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": handler(request["params"], None)})


def main():
    handler = load(sys.argv[1])
    if len(sys.argv) == 2:
        for line in sys.stdin:
            print(answer(handler, line), flush=True)
        return

    class Lines(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(answer(handler, line).encode() + b"\n")

    with socketserver.ThreadingUnixStreamServer(sys.argv[2], Lines) as server:
        server.daemon_threads = True
        server.serve_forever()


if __name__ == "__main__":
    main()
