"""Legacy callers over modern servers: what the server asks (`input_required`) becomes requests on the stream of the call,
and the call is sent again with the answers. A function for each row of the table."""

from __future__ import annotations

import json
import time
from typing import Any

from beds import PLAN, Bed
from row_callers import META, LegacyCaller, Reply, person
from cells import Cell, answers_of, expected

Json = dict[str, Any]
OLD = "2025-06-18"
OLD_ABLE: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


def caller(bed: Bed, capabilities: Json | None = None, version: str = "2025-11-25", weir: str = "asks") -> LegacyCaller:
    return LegacyCaller(bed.weirs[weir].url, capabilities, version)


def call(bed: Bed, tool: str, **arguments: Any) -> Json:
    return {"name": bed.tool(tool), "arguments": arguments}


def sent(bed: Bed, start: int, weir: str = "asks") -> list[Json]:
    return [request["params"] for request in bed.journals[weir].requests("tools/call", start)]


def done(cell: Cell, what: str, reply: Reply, want: Any) -> bool:
    other = {"inputRequests", "requestState"} & set(reply.result)
    cell.check(f"{what}: nothing of the other era", not other, reply.told)
    found = answers_of(reply.text)
    return cell.check(f"{what}: what the tool got", found == want, "" if found == want else f"want {want}: {reply.told}")


def row_19(cell: Cell, bed: Bed) -> None:
    for script in ("form", "form_decline", "form_cancel", "model", "model_tools", "roots", "three", "rounds"):
        start, one = len(bed.journals["asks"].read()), caller(bed)
        reply, asks = one.drive("tools/call", call(bed, script))
        done(cell, script, reply, expected(script))
        names = [name for names in PLAN["tools"][script] for name in names]
        methods = [PLAN["asks"][name]["method"] for name in names]
        cell.same(f"{script}: asked on the stream of the call", sorted(a["method"] for a in asks), sorted(methods))
        cell.same(f"{script}: each with an id of its own", len({ask["id"] for ask in asks}), len(asks))
        calls = sent(bed, start)
        cell.same(f"{script}: one retry for each round", len(calls), 1 + len(PLAN["tools"][script]))
        states = [params.get("requestState") for params in calls]
        cell.check(f"{script}: a state from the second on", states[0] is None and all(states[1:]), f"{states}")
    for script in ("three", "form_decline", "rounds"):
        reply, asks = LegacyCaller(bed.chain).drive("tools/call", call(bed, script))
        done(cell, f"{script}, three weirs", reply, expected(script))
    one = caller(bed)
    reply, asks = one.drive("prompts/get", {"name": bed.tool("asking")})
    text = json.dumps(reply.result.get("messages"))
    cell.check("a prompt asks", len(asks) == 1 and "paint it blue" in text, reply.told)
    reply, asks = one.drive("resources/read", {"uri": bed.note})
    text = json.dumps(reply.result.get("contents"))
    cell.check("a resource asks", len(asks) == 1 and "it is blue" in text, reply.told)


def row_20(cell: Cell, bed: Bed) -> None:
    start, one = len(bed.journals["asks"].read()), caller(bed)
    reply, _ = one.drive("tools/call", call(bed, "no_state"))
    done(cell, "no state", reply, expected("form"))
    cell.same("no state: none is sent", ["requestState" in params for params in sent(bed, start)], [False, False])
    start, began = len(bed.journals["asks"].read()), time.monotonic()
    reply, asks = one.drive("tools/call", call(bed, "state_only"))
    took = time.monotonic() - began
    cell.check("a state alone goes back after a moment", not asks and 0.25 <= took < 2, f"{took:.2f} s, {reply.told}")
    cell.same("without answers", ["inputResponses" in params for params in sent(bed, start)], [False, False])
    start = len(bed.journals["asks"].read())
    reply, asks = one.drive("tools/call", call(bed, "endless"))
    cell.check("ten rounds and no more", reply.is_error and "10 rounds" in reply.text, reply.told)
    cell.same("the person is asked ten times", len(asks), 10)


def row_21(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    reply, _ = one.drive("tools/call", call(bed, "form_error"))
    done(cell, "a form refused with an error", reply, [[{"action": "cancel"}]])
    start = len(bed.journals["asks"].read())
    reply, _ = one.drive("tools/call", call(bed, "model_error"))
    cell.check("a model refused with an error: isError", reply.is_error and "sampling" in reply.text, reply.told)
    cell.same("and no retry", len(sent(bed, start)), 1)
    exchange = one.started(bed.tool("three_error"))
    asks = [exchange.asked() for _ in range(3)]
    model = next(ask for ask in asks if ask["method"] == "sampling/createMessage")
    one.answer(model)
    final = exchange.end()
    back = {note.get("requestId") for note in final.of("notifications/cancelled")}
    cell.same("the others are taken back", back, {ask["id"] for ask in asks} - {model["id"]})
    cell.check("and the call ends", final.is_error, final.told)
    start = len(bed.journals["asks"].read())
    exchange = one.started(bed.tool("form"))
    ask = exchange.asked()
    one.send({"method": "notifications/cancelled", "params": {"requestId": exchange.id}})
    final = exchange.end()
    back = [note.get("requestId") for note in final.of("notifications/cancelled")]
    cell.same("cancelled by its caller: the question is taken back", back, [ask["id"]])
    cell.same("cancelled by its caller: no response", final.message, {})
    one.answer(ask)
    time.sleep(0.2)
    cell.same("cancelled by its caller: no retry", len(sent(bed, start)), 1)


def row_22(cell: Cell, bed: Bed) -> None:
    for able, tool, missing in (({}, "form", "elicitation"), ({"elicitation": {}}, "roots", "roots")):
        one = caller(bed, able)
        reply, asks = one.drive("tools/call", call(bed, tool))
        named = reply.is_error and missing in reply.text
        cell.check(f"{able}: isError that names {missing}", named and reply.status == 200 and not asks, reply.told)
    reply = caller(bed, {}).request("prompts/get", {"name": bed.tool("asking")})
    cell.check("{}: a prompt is -32603", (reply.status, reply.code) == (200, -32603), reply.told)
    start = len(bed.journals["asks"].read())
    one = caller(bed, {"elicitation": {}, "roots": {"listChanged": True}, "experimental": {"x": {}}})
    one.drive("tools/call", call(bed, "form"))
    declared = [params["_meta"][f"{META}clientCapabilities"] for params in sent(bed, start)]
    want = {"elicitation": {}, "roots": {}, "experimental": {"x": {}}}
    kept = [{key: value for key, value in one.items() if key in want} for one in declared]
    cell.check("the server is told just that", kept and all(one == want for one in kept), f"{declared}")


def row_23(cell: Cell, bed: Bed) -> None:
    for script in ("url", "url_again"):
        start = len(bed.journals["asks"].read())
        reply, asks = caller(bed).drive("tools/call", call(bed, script))
        done(cell, script, reply, expected(script))
        cell.same(f"{script}: the person is asked once", len(asks), 1)
        ids = [ask["params"].get("elicitationId") for ask in asks]
        cell.check(f"{script}: with an id", all(ids), f"{asks}")
        told = [note.get("elicitationId") for note in reply.of("notifications/elicitation/complete")]
        cell.same(f"{script}: and told at the end", told, ids)
        cell.same(f"{script}: rounds", len(sent(bed, start)), 1 + len(PLAN["tools"][script]))
    start = len(bed.journals["asks"].read())
    reply, asks = caller(bed, OLD_ABLE, OLD).drive("tools/call", call(bed, "url"))
    cell.check(f"{OLD}: no URL is offered", not asks and reply.is_error, reply.told)
    declared = [params["_meta"][f"{META}clientCapabilities"]["elicitation"] for params in sent(bed, start)]
    cell.check(f"{OLD}: none is declared", all("url" not in one for one in declared), f"{declared}")


def row_24(cell: Cell, bed: Bed) -> None:
    one = caller(bed, OLD_ABLE, OLD)
    reply, asks = one.drive("tools/call", call(bed, "choice"))
    done(cell, "a choice", reply, expected("choice"))
    field = asks[0]["params"]["requestedSchema"]["properties"]["colour"] if asks else {}
    found = (field.get("enum"), field.get("enumNames"), "oneOf" in field)
    cell.same("as enum and enumNames", found, (["blue", "red"], ["Blue as the sea", "Red"], False))
    cell.check("without a mode", bool(asks) and "mode" not in asks[0]["params"], f"{asks}")
    reply, asks = one.drive("tools/call", call(bed, "many"))
    cell.check("several choices: isError, nobody is asked", reply.is_error and not asks, reply.told)
    reply, asks = one.drive("tools/call", call(bed, "model"))
    done(cell, "a model", reply, expected("model"))
    content = asks[0]["params"]["messages"][0]["content"] if asks else None
    cell.check("one block of content", isinstance(content, dict), f"{content}")


def row_25(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    exchange = one.started(bed.tool("form"))
    ask = exchange.asked()
    number = exchange.last_event.partition("-")[0]
    exchange.close()
    stream = one.listen(f"{number}-0")
    stream.id = exchange.id
    again = stream.asked()
    cell.same("the question comes again", again, ask)
    one.answer(again)
    done(cell, "and the call ends well", stream.end(), expected("form"))


def row_26(cell: Cell, bed: Bed) -> None:
    journal, one = bed.journals["asks"], caller(bed)
    cell.same("ping", one.request("ping", {}).result, {})
    if bed.leaves_out(cell, "setLevel"):
        return
    for level, wanted in ((None, ("info", "warning", "error")), ("error", ("error",))):
        start = len(journal.read())
        if level is not None:
            cell.same(f"setLevel {level}", one.request("logging/setLevel", {"level": level}).result, {})
        reply = one.request("tools/call", call(bed, "logs"))
        found = [note["data"] for note in reply.of("notifications/message")]
        cell.same(f"{level}: log messages", found, [f"post {one}" for one in wanted])
        asked = [params["_meta"].get(f"{META}logLevel") for params in sent(bed, start)]
        cell.same(f"{level}: what the server is asked for", asked, [level or "info"])


def row_26_changes(cell: Cell, bed: Bed) -> None:
    """What changes comes once, on the GET stream of each. Played when nothing else changes."""
    journal = bed.journals["asks"]
    start = len(journal.read())
    callers = [caller(bed) for _ in range(2)]
    streams = [one.listen() for one in callers]
    time.sleep(0.3)  # a GET stream has no first message
    for one in callers:
        cell.same("subscribe", one.request("resources/subscribe", {"uri": bed.note}).result, {})

    def followed(seen: list[Json]) -> list[Json]:
        wishes = [e["params"].get("notifications", {}) for e in seen if e.get("method") == "subscriptions/listen"]
        return [wish for wish in wishes if bed.note in wish.get("resourceSubscriptions", [])]

    cell.check("weir listens", bool(journal.wait(followed, start)))
    time.sleep(0.3)  # until the server follows
    callers[0].request("tools/call", call(bed, "touch"))
    for stream in streams:
        told = [stream.next()]
        cell.check("each is told of the resource", told[0]["params"].get("uri") == bed.note, f"{told}")
    cell.same("one stream for both", len(followed(journal.since(start))), 1)
    callers[0].request("tools/call", call(bed, "vanish"))
    for stream in streams:
        told = stream.next()
        cell.same("each is told of the tools, and nothing twice", told["method"], "notifications/tools/list_changed")
    callers[0].request("tools/call", call(bed, "vanish"))
    for stream in streams:
        stream.next()
    for one in callers:
        cell.same("unsubscribe", one.request("resources/unsubscribe", {"uri": bed.note}).result, {})
    for stream in streams:
        stream.close()


def row_28(cell: Cell, bed: Bed) -> None:
    one, journal = caller(bed), bed.journals["asks"]
    reply = one.request("tools/call", call(bed, "task"))
    cell.check("the result of a task", (reply.text, reply.is_error) == ("done as a task", False), reply.told)
    cell.check("nothing of the task shows", "taskId" not in json.dumps(reply.result), reply.told)
    reply = one.request("tools/call", call(bed, "task_fails"))
    cell.check("a task that fails", (reply.text, reply.is_error) == ("failed as a task", True), reply.told)
    reply, asks = one.drive("tools/call", call(bed, "task_asks"))
    done(cell, "a task that asks", reply, expected("form"))
    cell.same("once", len(asks), 1)
    start = len(journal.read())
    exchange = one.started(bed.tool("task_sleeps"))
    began = journal.wait(lambda seen: [e for e in seen if e.get("method") == "tasks/get"], start)
    cell.check("weir asks how far it is", bool(began))
    one.send({"method": "notifications/cancelled", "params": {"requestId": exchange.id}})
    ended = journal.wait(lambda seen: [e for e in seen if e.get("method") == "tasks/cancel"], start)
    cell.check("a caller that cancels cancels it", bool(ended))


def row_9(cell: Cell, bed: Bed) -> None:
    """The end without a caller, in this direction: weir answers for it, and the server hears that."""
    start, one = len(bed.journals["quick"].read()), caller(bed, weir="quick")
    before = bed.count_asks("quick")
    exchange = one.started(bed.tool("form"))
    ask = exchange.asked()
    final = exchange.end()
    done(cell, "nobody answers a form", final, [[{"action": "cancel"}]])
    back = [note.get("requestId") for note in final.of("notifications/cancelled")]
    cell.same("the question is taken back", back, [ask["id"]])
    cell.same("one retry", len(sent(bed, start, "quick")), 2)
    exchange = one.started(bed.tool("model"))
    exchange.asked()
    final = exchange.end()
    cell.check("nobody answers for a model: isError", final.is_error and "in time" in final.text, final.told)
    counts = bed.count_asks("quick")
    grown = {word: counts[word] - before[word] for word in counts}
    cell.same("weir counts it", grown, {"asked": 2, "answered": 0, "expired": 2, "refused": 0})


def row_14(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    reply, _ = one.drive("tools/call", call(bed, "steps"), person, progressToken="mine")
    done(cell, "steps", reply, expected("form"))
    told = [(note["progressToken"], note["progress"]) for note in reply.of("notifications/progress")]
    cell.same("progress only increases, though each round counts anew", told, [("mine", 1), ("mine", 2), ("mine", 3)])
