"""Modern callers over legacy servers: what the server asks during a call becomes `input_required`, and the call goes
on when its caller comes back. A function for each row of the table."""

from __future__ import annotations

import json
import time
from typing import Any

from beds import PARKED, PLAN, Bed
from row_callers import META, ModernCaller, Reply, person
from cells import Cell, answers_of, at_once, expected

Json = dict[str, Any]
REFUSED = "Invalid or expired requestState"


def caller(bed: Bed, weir: str = "asks", capabilities: Json | None = None) -> ModernCaller:
    made = ModernCaller(bed.weirs[weir].url)
    if capabilities is not None:
        made.capabilities = capabilities
    return made


def asked(cell: Cell, reply: Reply, methods: list[str]) -> bool:
    """Whether these are asked, in one round and in any order."""
    found = sorted(ask.get("method", "") for ask in reply.asks.values())
    if cell.same(f"one round asks {', '.join(methods)}", found, sorted(methods)):
        return cell.check("with a state", bool(reply.state), reply.told)
    return cell.check("instead", False, reply.told)


def done(cell: Cell, what: str, reply: Reply, want: Any) -> bool:
    """Whether the tool has got these answers, and the result is complete."""
    cell.same(f"{what}: complete", reply.result.get("resultType"), "complete")
    found = answers_of(reply.text)
    return cell.check(f"{what}: what the tool got", found == want, "" if found == want else f"want {want}: {reply.told}")


def asked_form(cell: Cell, caller: ModernCaller, tool: str, arguments: Json | None = None) -> Reply:
    reply = caller.call(tool, arguments)
    asked(cell, reply, ["elicitation/create"])
    return reply


def calls_sent(bed: Bed, weir: str, start: int) -> int:
    return len(bed.journals[weir].requests("tools/call", start))


def row_1(cell: Cell, bed: Bed) -> None:
    journal = bed.journals["asks"]
    for script in ("form", "form_decline", "form_cancel"):
        start, one = len(journal.read()), caller(bed)
        reply = asked_form(cell, one, bed.tool(script))
        for ask in reply.asks.values():
            params = {**ask.get("params", {}), "mode": "form"}
            cell.same(f"{script}: the question as it was", params, PLAN["asks"][script]["params"])
        final = one.again(bed.tool(script), reply)
        done(cell, script, final, expected(script))
        action = expected(script)[0][0]
        heard = [answer.get("result") for answer in journal.answers(start)]
        cell.same(f"{script}: the server hears just that", [one for one in heard if one], [action])
        cell.same(f"{script}: one call", calls_sent(bed, "asks", start), 1)
    chained(cell, bed, ("form", "form_decline", "form_cancel"))


def chained(cell: Cell, bed: Bed, scripts: tuple[str, ...]) -> None:
    """The same through three weirs, of which each speaks the other era than the one before it."""
    for script in scripts:
        one = ModernCaller(bed.chain)
        reply, rounds = one.drive("tools/call", {"name": bed.tool(script), "arguments": {}})
        done(cell, f"{script}, three weirs", reply, expected(script))
        cell.same(f"{script}, three weirs: rounds", len(rounds), len(PLAN["tools"][script]))
        states = [round.state for round in rounds]
        cell.same(f"{script}, three weirs: states differ", len(set(states)), len(states))


def row_2(cell: Cell, bed: Bed) -> None:
    start, one = len(bed.journals["asks"].read()), caller(bed)
    reply = one.call(bed.tool("three"))
    asked(cell, reply, ["elicitation/create", "sampling/createMessage", "roots/list"])
    done(cell, "one retry", one.again(bed.tool("three"), reply), expected("three"))
    cell.same("one call", calls_sent(bed, "asks", start), 1)


def row_3(cell: Cell, bed: Bed) -> None:
    for tool, method in (("push", "elicitation/create"), ("push_roots", "roots/list")):
        colours = ("red", "green")

        def call(colour: str, tool: str = tool, method: str = method) -> Reply:
            one = caller(bed)
            reply = one.call(bed.tool(tool))
            asked(cell, reply, [method])
            own = {"action": "accept", "content": {"colour": colour}}
            own = own if tool == "push" else {"roots": [{"uri": f"file:///{colour}"}]}
            return one.again(bed.tool(tool), reply, dict.fromkeys(reply.asks, own))

        replies = at_once(*(lambda colour=colour: call(colour) for colour in colours))
        for colour, reply in zip(colours, replies, strict=True):
            cell.check(f"{tool}: {colour} got its own answer", colour in reply.text, reply.told)
            others = [other for other in colours if other != colour and other in reply.text]
            cell.same(f"{tool}: {colour} got nobody else's", others, [])


def row_4(cell: Cell, bed: Bed) -> None:
    script = "rounds"
    one = caller(bed)
    reply, rounds = one.drive("tools/call", {"name": bed.tool(script), "arguments": {}})
    done(cell, script, reply, expected(script))
    cell.same("four rounds of one question", [len(round.asks) for round in rounds], [1, 1, 1, 1])
    cell.same("all states differ", len({round.state for round in rounds}), 4)
    last = next(iter(rounds[-1].asks.values()), {}) if rounds else {}
    names = [tool["name"] for tool in last.get("params", {}).get("tools", [])]
    cell.same("sampling with tools", names, ["weather"])
    chained(cell, bed, (script,))


def row_5(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    reply, rounds = one.drive("prompts/get", {"name": bed.tool("asking")})
    text = json.dumps(reply.result.get("messages"))
    cell.check("a prompt asks, and has the answer", len(rounds) == 1 and "paint it blue" in text, reply.told)
    reply, rounds = one.drive("resources/read", {"uri": bed.note})
    text = json.dumps(reply.result.get("contents"))
    cell.check("a resource asks, and has the answer", len(rounds) == 1 and "it is blue" in text, reply.told)
    if bed.leaves_out(cell, "completion"):
        return
    argument = {"name": "x", "value": ""}
    params = {"ref": {"type": "ref/prompt", "name": bed.tool("asking")}, "argument": argument}
    reply = one.request("completion/complete", params)
    values = reply.result.get("completion", {}).get("values")
    cell.check("a completion asks, is refused, and has a result", values == ["refused, -32601"], reply.told)


def row_6(cell: Cell, bed: Bed) -> None:
    journal = bed.journals["asks"]
    for able, ask, needs in (
        ({"sampling": {}}, "form", {"elicitation"}),
        ({"elicitation": {}}, "url", {"elicitation"}),
        ({"elicitation": {}, "roots": {}}, "model", {"sampling"}),
        ({"sampling": {}, "elicitation": {"form": {}}}, "roots", {"roots"}),
    ):
        start = len(journal.read())
        for end in ("isError", "error"):
            reply = caller(bed, capabilities=able).call(bed.tool("unchecked"), {"ask": ask, "end": end})
            found = (reply.status, reply.code)
            cell.check(f"{able} asked for {ask}, {end}: 400 -32021", found == (400, -32021), reply.told)
            required = (reply.error.get("data") or {}).get("requiredCapabilities", {})
            cell.same(f"{able} asked for {ask}, {end}: which", set(required), needs)
            if ask == "url":
                cell.check("the URL mode is named", "url" in required.get("elicitation", {}), reply.told)
        reply = caller(bed, capabilities=able).call(bed.tool("unchecked"), {"ask": ask, "end": "plan B"})
        cell.same(f"{able} asked for {ask}: plan B", reply.text, "plan B")
        declared = [opened["params"]["capabilities"] for opened in journal.requests("initialize", start)]
        others = [one for one in declared if one != able]
        cell.check(f"{able}: the server is told just that", declared and not others, f"it was told {declared}")
    start = len(journal.read())
    reply = caller(bed, capabilities={}).call(bed.tool("unchecked"), {"ask": "form", "end": "plan B"})
    cell.check("{}: plan B", reply.text == "plan B", reply.told)
    declared = [opened["params"]["capabilities"] for opened in journal.requests("initialize", start)]
    cell.same("{}: no session of its own", [one for one in declared if one], [])


def row_7(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    tool = bed.tool("two")
    reply = one.call(tool)
    if not asked(cell, reply, ["elicitation/create", "roots/list"]):
        return
    form = next(key for key, ask in reply.asks.items() if ask["method"] == "elicitation/create")
    for wrong in (7, None):
        bad = one.again(tool, reply, {**{key: person(ask)["result"] for key, ask in reply.asks.items()}, form: wrong})
        cell.check(f"an answer that is {wrong}: -32602", (bad.status, bad.code) == (200, -32602), bad.told)
    part = one.again(tool, reply, {form: person(reply.asks[form])["result"], "unknown": {"action": "accept"}})
    asked(cell, part, ["roots/list"])
    cell.check("with a new state", part.state != reply.state)
    done(cell, "the rest", one.again(tool, part), expected("two"))


def row_8(cell: Cell, bed: Bed) -> None:
    one, journal = caller(bed), bed.journals["asks"]
    tool = bed.tool("form")
    reply = asked_form(cell, one, tool, {"note": "this"})
    state = reply.state or ""
    start = len(journal.read())
    turned = state[:-3] + ("A" if state[-3:-2] != "A" else "B") + state[-2:]
    other = Reply(200, {"result": {**reply.result, "requestState": turned}})
    for what, given, name, note in (
        ("tampered", other, tool, "this"),
        ("with other arguments", reply, tool, "that"),
        ("with another tool", reply, bed.tool("form_decline"), "this"),
    ):
        bad = one.again(name, given, arguments={"note": note})
        refused(cell, what, bad)
    heard = [entry for entry in journal.since(start) if entry.get("method") == "tools/call" or "result" in entry]
    cell.same("the server hears nothing", heard, [])
    done(cell, "then rightly", one.again(tool, reply, arguments={"note": "this"}), expected("form"))
    refused(cell, "used twice", one.again(tool, reply, arguments={"note": "this"}))
    cell.leave_out("another principal: tests/it, crossing::parked::states")


def refused(cell: Cell, what: str, reply: Reply) -> None:
    found = (reply.status, reply.code, reply.error.get("message"))
    cell.check(f"a state {what} is refused", found == (200, -32602, REFUSED), reply.told)


def row_9(cell: Cell, bed: Bed) -> None:
    journal = bed.journals["quick"]
    start, one, before = len(journal.read()), caller(bed, "quick"), bed.count_asks("quick")
    reply = one.call(bed.tool("three"))
    asked(cell, reply, ["elicitation/create", "sampling/createMessage", "roots/list"])
    cancelled = journal.wait(lambda seen: [e for e in seen if e.get("method") == "notifications/cancelled"], start)
    cell.check("the call is cancelled", bool(cancelled), "")
    calls = journal.requests("tools/call", start)
    if cancelled and calls:
        cell.same("by its id", cancelled[0]["params"].get("requestId"), calls[0]["id"])
    outcomes = [answer.get("result") or (answer.get("error") or {}).get("code") for answer in journal.answers(start)]
    outcomes = [one for one in outcomes if one is not None]
    wanted = [{"action": "cancel"}, -1, -32603]
    found = sorted(outcomes, key=str) == sorted(wanted, key=str)
    cell.check("each question is answered for", found, f"want {wanted}, got {outcomes}")
    how = "closed" if bed.kind.stdio else "DELETE"
    ended = journal.wait(lambda seen: [entry for entry in seen if entry.get("http") == how], start)
    cell.check(f"its session ends ({how})", bool(ended))
    if ended and calls and not bed.kind.stdio:
        ends = [entry.get("session") for entry in journal.since(start) if entry.get("http") == how]
        cell.check("that session and no other", calls[0]["session"] in ends, f"{ends}")
    counts = bed.count_asks("quick")
    grown = {word: counts[word] - before[word] for word in counts}
    cell.same("weir counts it", grown, {"asked": 3, "answered": 0, "expired": 3, "refused": 0})
    late = one.again(bed.tool("three"), reply)
    cell.check("who comes late is told", (late.status, late.code) == (200, -32602), late.told)


def row_10(cell: Cell, bed: Bed) -> None:
    start, one = len(bed.journals["asks"].read()), caller(bed)
    reply = asked_form(cell, one, bed.tool("impatient"))
    time.sleep(0.8)
    final = one.again(bed.tool("impatient"), reply)
    cell.check("the retry gets the tool's result", (final.text, final.is_error) == ("nobody answered", True), final.told)
    if bed.leaves_out(cell, "take-back"):
        return
    heard = [answer["result"] for answer in bed.journals["asks"].answers(start) if answer.get("result")]
    cell.same("no answer comes after all", heard, [])


def row_11(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    tool = bed.tool("form")
    reply = asked_form(cell, one, tool)
    bed.kill()
    gone = one.again(tool, reply)
    cell.check("killed while parked: -32603", (gone.status, gone.code) == (200, -32603), gone.told)
    cell.same("and the server is named", (gone.error.get("data") or {}).get("upstream"), bed.name)
    if not bed.kind.stdio:
        before = one.call(tool)
        cell.check("a call to a dead server fails and names it", names(before, bed), before.told)
        bed.restart()
    works_again(cell, bed, "after its restart")
    reply = asked_form(cell, one, tool)
    final = one.again(tool, reply)
    done(cell, "answered before it is killed", final, expected("form"))
    if not bed.kind.stdio:
        bed.kill()
        bed.restart()  # it knows none of the sessions: 404
        works_again(cell, bed, "in a session that the server has forgotten")


def names(reply: Reply, bed: Bed) -> bool:
    return bed.name in json.dumps(reply.message) and (reply.code is not None or reply.is_error)


def works_again(cell: Cell, bed: Bed, when: str, patience: float = 15) -> None:
    deadline, one = time.monotonic() + patience, caller(bed)
    while True:
        reply, rounds = one.drive("tools/call", {"name": bed.tool("form"), "arguments": {}})
        if answers_of(reply.text) == expected("form") or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    done(cell, f"the next call {when}", reply, expected("form"))


def row_12(cell: Cell, bed: Bed) -> None:
    start, one = len(bed.journals["asks"].read()), caller(bed)
    reply = asked_form(cell, one, bed.tool("pause"))

    def read_on(seen: list[Json]) -> bool:
        calls = [entry["session"] for entry in seen if entry.get("method") == "tools/call"]
        after = seen[seen.index(next(e for e in seen if e.get("method") == "tools/call")) :] if calls else []
        return any(entry.get("http") == "GET" and entry["session"] == calls[0] for entry in after)

    cell.check("weir reads on while its caller is away", bed.journals["asks"].wait(read_on, start) is True)
    done(cell, "then it goes on", one.again(bed.tool("pause"), reply), expected("form"))


def row_13(cell: Cell, bed: Bed) -> None:
    for complete in (True, False):
        start, one = len(bed.journals["asks"].read()), caller(bed)
        arguments = {"note": f"{complete}", "complete": complete}
        params = {"name": bed.tool("demand"), "arguments": arguments}
        reply = one.request("tools/call", params)
        asked(cell, reply, ["elicitation/create"])
        for ask in reply.asks.values():
            cell.same("the URL is asked, without its id", ask.get("params"), PLAN["asks"]["url"]["params"])
        final = one.back("tools/call", params, reply).end()
        what = "told that it is complete" if complete else "not told"
        cell.check(f"{what}: called again", final.text == "been there", final.told)
        cell.same(f"{what}: two calls", calls_sent(bed, "asks", start), 2)
    one = caller(bed)
    reply = asked_form(cell, one, bed.tool("demand"), {"note": "declined"})
    no = dict.fromkeys(reply.asks, {"action": "decline"})
    final = one.again(bed.tool("demand"), reply, no, {"note": "declined"})
    cell.check("declined: isError", final.is_error and final.code is None, final.told)


def row_14(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    params = {"name": bed.tool("steps"), "arguments": {}}
    first = one.start("tools/call", params, progressToken="first").end()
    asked(cell, first, ["elicitation/create"])
    told = [(note["progressToken"], note["progress"]) for note in first.of("notifications/progress")]
    cell.same("progress before the question", told, [("first", 1)])
    second = one.back("tools/call", params, first, progressToken="second").end()
    done(cell, "steps", second, expected("form"))
    told = [(note["progressToken"], note["progress"]) for note in second.of("notifications/progress")]
    cell.same("progress after it, with the new token", told, [("second", 2), ("second", 3)])
    quiet = one.call(bed.tool("logs"))
    cell.check("no level: no log messages", quiet.text == "logged" and not quiet.of("notifications/message"), quiet.told)
    start = len(bed.journals["asks"].read())
    loud = one.call(bed.tool("logs"), **{f"{META}logLevel": "warning"})
    levels = sorted(note["data"] for note in loud.of("notifications/message"))
    wanted = [data for data in levels if data.endswith((" warning", " error"))]
    cell.check("warning: those and worse", len(wanted) >= 2 and levels == wanted, f"{levels}: {loud.told}")
    if bed.leaves_out(cell, "setLevel"):
        return
    set_levels = [sent["params"]["level"] for sent in bed.journals["asks"].requests("logging/setLevel", start)]
    cell.same("the server is told the level", set_levels, ["warning"])


def row_15(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    tool = bed.tool("slow")
    late = one.start("tools/call", {"name": tool, "arguments": {"note": "late"}})
    fate(cell, bed, "late", "asked")
    late.close()
    fate(cell, bed, "late", "cancelled", "closed before it is asked")
    arguments = {"note": "answered"}
    reply = asked_form(cell, one, tool, arguments)
    retry = one.back("tools/call", {"name": tool, "arguments": arguments}, reply)
    fate(cell, bed, "answered", "answered")
    retry.close()
    fate(cell, bed, "answered", "cancelled", "closed after its answer")


def fate(cell: Cell, bed: Bed, note: str, want: str, what: str = "", patience: float = 1.5) -> None:
    """Asks the server, or, where a child of each caller cannot tell, its journal."""
    if bed.kind.stdio and want == "cancelled":
        found = bed.journals["asks"].wait(lambda seen: cancelled_call(seen, note), 0, patience)
        cell.check(f"{what}: the server hears of it within a second", bool(found))
        return
    if bed.kind.stdio:
        time.sleep(0.5)
        return
    deadline, word = time.monotonic() + (patience if what else 5), ""
    while word != want and time.monotonic() < deadline:
        word = caller(bed, capabilities={}).call(bed.tool("fate"), {"note": note}).text
        time.sleep(0.05)
    cell.same(f"{what or note}: the server has it as {want}", word, want)


def cancelled_call(seen: list[Json], note: str) -> bool:
    calls = [entry["id"] for entry in seen if (entry.get("params") or {}).get("arguments") == {"note": note}]
    ended = [e["params"].get("requestId") for e in seen if e.get("method") == "notifications/cancelled"]
    return bool(calls) and calls[-1] in ended


def row_16(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    parked = [one.call(bed.tool("form")) for _ in range(PARKED)]
    over = one.call(bed.tool("unchecked"), {"ask": "form", "end": "plan B"})
    cell.check("no more than may be parked", over.text == "plan B", over.told)
    began = time.monotonic()
    quick = caller(bed, capabilities={}).call(bed.tool("fate"), {"note": "nobody"})
    took = time.monotonic() - began
    cell.check("other calls meanwhile", quick.text == "unknown" and took < 1, f"{took:.2f} s, {quick.told}")
    for reply in parked:
        done(cell, "those that wait", one.again(bed.tool("form"), reply), expected("form"))
    large = caller(bed).call(bed.tool("large"))
    cell.check("a question of 1 MiB", large.text == "refused, -32603", large.told)


def row_17(cell: Cell, bed: Bed) -> None:
    journal = bed.journals["asks"]
    start = len(journal.read())
    wishes = {"notifications": {"resourceSubscriptions": [bed.note]}}
    streams = [caller(bed).start("subscriptions/listen", wishes) for _ in range(3)]
    for stream in streams:
        ack = stream.next()
        cell.check("accepted", "acknowledged" in str((ack or {}).get("method")), f"{ack}")
    subscribed = journal.wait(lambda seen: [e for e in seen if e.get("method") == "resources/subscribe"], start)
    cell.check("one subscription", bool(subscribed))
    caller(bed, capabilities={}).call(bed.tool("touch"))
    for stream in streams:
        told = stream.next()
        cell.check("each is told", (told or {}).get("params", {}).get("uri") == bed.note, f"{told}")
    cell.same("one subscription for all", len(journal.requests("resources/subscribe", start)), 1)
    for stream in streams:
        stream.close()
    ended = journal.wait(lambda seen: [e for e in seen if e.get("method") == "resources/unsubscribe"], start)
    cell.check("none when all have gone", bool(ended))


def row_18(cell: Cell, bed: Bed) -> None:
    """A tool that goes away while its call is parked. Reload and drain: see `asks.py`."""
    one, journal = caller(bed), bed.journals["asks"]
    reply = asked_form(cell, one, bed.tool("vanishing"))
    start = len(journal.read())
    caller(bed, capabilities={}).call(bed.tool("vanish"))
    heard = journal.wait(lambda seen: [e for e in seen if e.get("method") == "notifications/cancelled"], start)
    cell.check("the call is cancelled", bool(heard))
    final = one.again(bed.tool("vanishing"), reply)
    cell.check("its caller is refused", final.code == -32602 and "Unknown tool" in final.error["message"], final.told)
    caller(bed, capabilities={}).call(bed.tool("vanish"))


def row_28(cell: Cell, bed: Bed) -> None:
    one = caller(bed)
    reply = one.call(bed.tool("task"))
    cell.check("the result of a task", reply.text == "done as a task" and not reply.is_error, reply.told)
    kind = (reply.result.get("resultType"), "task" in reply.result, json.dumps(reply.result).find("related-task"))
    cell.same("nothing of the task shows", kind, ("complete", False, -1))
    reply = one.call(bed.tool("task_fails"))
    cell.check("a task that fails", (reply.text, reply.is_error) == ("failed as a task", True), reply.told)
    reply, rounds = one.drive("tools/call", {"name": bed.tool("task_asks"), "arguments": {}})
    cell.check("a task that asks ends", reply.code is not None or bool(reply.text), reply.told)
    start = len(bed.journals["asks"].read())
    sleeps = one.start("tools/call", {"name": bed.tool("task_sleeps"), "arguments": {}})
    began = bed.journals["asks"].wait(lambda seen: [e for e in seen if e.get("method") == "tasks/get"], start)
    cell.check("weir asks how far it is", bool(began))
    sleeps.close()
    ended = bed.journals["asks"].wait(lambda seen: [e for e in seen if e.get("method") == "tasks/cancel"], start)
    cell.check("a caller that leaves cancels it", bool(ended))

