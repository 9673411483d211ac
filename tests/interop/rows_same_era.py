"""Row 32: where caller and server are of one era, what is asked passes as it is, with and without weir."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from beds import PLAN, Bed
from row_callers import LegacyCaller, ModernCaller
from cells import Cell
from rig import Trouble

Json = dict[str, Any]


def asked(ask: Json) -> Json:
    """A question without what is new each time."""
    params = {key: value for key, value in (ask.get("params") or {}).items() if key not in ("elicitationId", "_meta")}
    return {"method": ask["method"], "params": params}


def modern(url: str, tool: str) -> list[Any]:
    reply, rounds = ModernCaller(url).drive("tools/call", {"name": tool, "arguments": {}})
    asks = [{key: asked(ask) for key, ask in round.asks.items()} for round in rounds]
    return [reply.status, asks, untold(reply.message)]


def legacy(url: str, tool: str) -> list[Any]:
    one = LegacyCaller(url)
    listening, asks = one.listen(), []

    def answer() -> None:
        """What the server asks outside of the stream of the call."""
        with suppress(Trouble):
            while (message := listening.next()) is not None:
                if "method" in message and "id" in message:
                    asks.append(message)
                    one.answer(message)

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        reply, on_its_stream = one.drive("tools/call", {"name": tool, "arguments": {}})
    finally:
        listening.close()
        answering.join()
        one.close()
    asks += on_its_stream
    return [reply.status, sorted((asked(ask) for ask in asks), key=str), untold(reply.message)]


def untold(message: Json) -> Json:
    """A response without its id, and without who answered."""
    result = {key: value for key, value in message.get("result", {}).items() if key != "_meta"}
    return {"result": result, "error": message.get("error")}


def row_32(cell: Cell, bed: Bed) -> None:
    walk = modern if bed.kind.era == "modern" else legacy
    for script in PLAN["tools"]:
        if script.endswith("_error"):
            continue
        direct, through = walk(bed.url, script), walk(bed.weirs["asks"].url, bed.tool(script))
        ok = direct == through
        cell.check(f"{script}: as without weir", ok, "" if ok else f"direct {direct}, through weir {through}")
