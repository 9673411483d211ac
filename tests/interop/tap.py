"""Stands between weir and a server, and writes down what weir sends: every message, and every stream that ends.

HTTP goes through as it is, byte for byte; a tap may be told to show a server of both eras as one of one era. For a child
on stdin and stdout it is a program of its own: `tap.py JOURNAL COMMAND...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = dict[str, Any]
REFUSED = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}}


class Journal:
    """What weir has sent, in order: messages, and `{"http": "GET"}`, `{"http": "DELETE"}`, `{"http": "closed"}`."""

    def __init__(self) -> None:
        self.entries: list[Message] = []

    def read(self) -> list[Message]:
        return list(self.entries)

    def add(self, entry: Message) -> None:
        self.entries.append(entry)

    def since(self, start: int) -> list[Message]:
        return self.read()[start:]

    def requests(self, method: str, start: int = 0) -> list[Message]:
        return [entry for entry in self.since(start) if entry.get("method") == method]

    def answers(self, start: int = 0) -> list[Message]:
        """Weir's responses to what the server asked."""
        return [entry for entry in self.since(start) if "jsonrpc" in entry and "method" not in entry]

    def wait(self, found: Callable[[list[Message]], Any], start: int = 0, patience: float = 5) -> Any:
        """What `found` gives of the entries since `start`, as soon as it is anything; None after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not (value := found(self.since(start))):
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        return value


class FileJournal(Journal):
    """The same, of a child: it writes, we read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def read(self) -> list[Message]:
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]  # the last one may be half written
        return [json.loads(line) for line in lines]


class Tap(Journal):
    """In front of an HTTP server, on a port of its own."""

    def __init__(self, target: str, era: str | None = None) -> None:
        super().__init__()
        where = urlsplit(target)
        self.target, self.era = (where.hostname, where.port), era
        self.open: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(self.loop)
            self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
            started.set()
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        started.wait()
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}{where.path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of weir's: its requests one by one, the answers as they come."""
        try:
            to_reader, to_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        back = asyncio.ensure_future(pour(to_reader, writer))
        try:
            while (request := await read_request(reader)) is not None:
                head, body = request
                if (refusal := self.heard(head, body)) is not None:
                    writer.write(refusal)
                else:
                    to_writer.write(head + body)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            if not back.done():
                self.add({"http": "closed"})
            to_writer.close()
            back.cancel()
            writer.close()

    def heard(self, head: bytes, body: bytes) -> bytes | None:
        """Writes a request down; the answer to one of the era that the server is not to have."""
        line, _, rest = head.partition(b"\r\n")
        method = line.split()[0].decode()
        headers = dict(part.split(b": ", 1) for part in rest.strip().lower().split(b"\r\n") if b": " in part)
        is_modern = b"mcp-method" in headers
        message = json.loads(body) if body else {}
        if self.era == "legacy" and is_modern:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        if self.era == "modern" and not is_modern:
            error = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": REFUSED}).encode()
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(error)}\r\n\r\n"
            return head.encode() + error
        session = headers.get(b"mcp-session-id", b"").decode()
        self.add({**message, "session": session} if body else {"http": method, "session": session})
        return None


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = next((part for part in head.lower().split(b"\r\n") if part.startswith(b"content-length:")), b":0")
    return head, await reader.readexactly(int(length.split(b":")[1]))


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


def main() -> int:
    """A child that passes its stdin on to another one, whose stdout is its own."""
    journal, *command = sys.argv[1:]
    with open(journal, "ab", buffering=0) as file, subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        for line in sys.stdin.buffer:
            file.write(line.rstrip(b"\n") + b"\n")
            child.stdin.write(line)
            child.stdin.flush()
        file.write(b'{"http": "closed"}\n')
        child.stdin.close()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
