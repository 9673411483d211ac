"""Servers of five SDKs that ask during a call, callers of the other era, and weir between them: a table of what crosses."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rows_legacy_caller as legacy_caller
import rows_modern_caller as modern_caller
import rows_same_era as same_era
from beds import KINDS, PLAN, Bed, start_beds, start_weirs
from row_callers import Reply
from cells import Cell, expected
from faults import AT_ONCE
from report import Client, Group, Run
from rig import Trouble, Weir, get, wait_until
from scenario import ClientKind, step

Json = dict[str, Any]
Play = Callable[[Cell, Bed], None]


def played_elsewhere(cell: Cell, bed: Bed) -> None:
    """Of a row that no server here can play: `beds.CANNOT` says why."""
    cell.check("a reason why it is not played", False)


# What each row is about, and what plays it at legacy servers (their callers are modern) and at modern ones.
ROWS: dict[int, tuple[str, list[Play], list[Play]]] = {
    1: ("a form: accept, decline, cancel", [modern_caller.row_1], []),
    2: ("three questions at once", [modern_caller.row_2], []),
    3: ("questions on the GET stream", [modern_caller.row_3], []),
    4: ("three forms, then sampling with tools", [modern_caller.row_4], []),
    5: ("prompts and resources ask, completions", [modern_caller.row_5], []),
    6: ("what a caller does not declare", [modern_caller.row_6], []),
    7: ("answers that are missing or wrong", [modern_caller.row_7], []),
    8: ("states that are tampered with", [modern_caller.row_8], []),
    9: ("nobody comes back", [modern_caller.row_9], [legacy_caller.row_9]),
    10: ("the server takes its question back", [modern_caller.row_10], []),
    11: ("the server is killed", [modern_caller.row_11], []),
    12: ("the stream pauses", [modern_caller.row_12], []),
    13: ("a URL is demanded (-32042)", [modern_caller.row_13], []),
    14: ("progress and log messages", [modern_caller.row_14], [legacy_caller.row_14]),
    15: ("the caller leaves", [modern_caller.row_15], []),
    16: ("too many, too large", [modern_caller.row_16], []),
    17: ("many listen", [modern_caller.row_17], []),
    18: ("swap, reload, drain", [modern_caller.row_18], []),
    19: ("forms, sampling, roots, three at once", [], [legacy_caller.row_19]),
    20: ("no state, a state alone, eleven rounds", [], [legacy_caller.row_20]),
    21: ("the caller answers with an error, or cancels", [], [legacy_caller.row_21]),
    22: ("the caller cannot be asked", [], [legacy_caller.row_22]),
    23: ("URLs", [], [legacy_caller.row_23]),
    24: ("callers of 2025-06-18", [], [legacy_caller.row_24]),
    25: ("the stream is lost and resumed", [], [legacy_caller.row_25]),
    26: ("log level, ping, what changes", [], [legacy_caller.row_26]),
    27: ("questions that no client knows", [], [played_elsewhere]),
    28: ("tasks", [modern_caller.row_28], [legacy_caller.row_28]),
    32: ("one era: as without weir", [same_era.row_32], [same_era.row_32]),
}
ELSEWHERE = {
    29: "two weirs: tests/replicas, and tests/it crossing::parked::replicas",
    30: "loops and nine weirs: tests/it crossing::chained and crossing::alternating",
    31: "every ending, up to 100,000 calls: tests/it crossing::endings",
    33: "the conformance suite crossed: tests/conformance",
}
APPLIED = 'weir_config_reloads_total{outcome="applied"'
LAST = (18, 11)  # the rows that take something away


def run_asks(run: Run, binary: Path, rmcp: Path | None) -> None:
    with ExitStack() as cleanup:
        group = run.report.group("asks")
        began = time.monotonic()
        folder = run.folder / "asks"
        folder.mkdir()
        beds = start_beds(run.tools, rmcp, folder, cleanup)
        weirs = start_weirs(beds, binary, folder, cleanup)
        group.seconds = time.monotonic() - began
        group.note = f"{len(beds)} servers and {len(weirs)} weirs have started"
        before = len(run.report.failures)
        try:
            cells = play_rows(run, beds)
            run_persons(run, beds, weirs[0])
            rest = [play_row(26, bed, [legacy_caller.row_26_changes]) for bed in beds if bed.kind.era == "modern"]
            rest += [reload(bed) for bed in parked(beds, "asks", reconfigure)]
            rest += [drain(bed) for bed in parked(beds, "quick", terminate)]
            judge(run, rest, "changes, reload, drain")
            cells += rest
            print_table(cells, beds)
        finally:
            if len(run.report.failures) > before:
                for weir in weirs:
                    print(weir.explain(), flush=True)


def play_rows(run: Run, beds: list[Bed]) -> list[Cell]:
    """All rows at all servers; the servers at the same time, the rows of each one after the other."""
    cells: dict[str, list[Cell]] = {bed.name: [] for bed in beds}

    def play(bed: Bed) -> None:
        order = [row for row in ROWS if row not in LAST] + list(LAST)
        for row in order:
            plays = ROWS[row][1 if bed.kind.era == "legacy" else 2]
            if plays:
                cells[bed.name].append(play_row(row, bed, plays))

    seconds = {}

    def timed(bed: Bed) -> None:
        began = time.monotonic()
        play(bed)
        seconds[bed.name] = time.monotonic() - began

    threads = [threading.Thread(target=timed, args=(bed,)) for bed in beds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for bed in beds:
        judge(run, cells[bed.name], bed.name, seconds.get(bed.name, 0))
    return [cell for bed in beds for cell in cells[bed.name]]


def play_row(row: int, bed: Bed, plays: list[Play]) -> Cell:
    cell = Cell(row, bed)
    if bed.leaves_out(cell, f"row {row}"):
        return cell
    began = time.monotonic()
    for play in plays:
        try:
            play(cell, bed)
        except Exception as error:  # a row that breaks off has failed, and the next one is played all the same
            cell.check("the row was played to its end", False, f"{type(error).__name__}: {error}")
    cell.seconds = time.monotonic() - began
    return cell


def judge(run: Run, cells: list[Cell], name: str, seconds: float = 0) -> None:
    group: Group = run.report.group(f"asks {name}")
    for cell in cells:
        for what, ok, detail in cell.checks:
            run.report.check(group, f"row {cell.row}, {cell.bed.name}: {what}", ok, detail)
    group.seconds = seconds
    slowest = max(cells, key=lambda cell: cell.seconds)
    if seconds:
        group.note = f"row {slowest.row} took {slowest.seconds:.1f} s of them"


def run_persons(run: Run, beds: list[Bed], weir: Weir) -> None:
    """The SDKs' own clients, with a person who answers; all of them at once."""
    clients = []
    for kind in run.kinds:
        steps = [asked for bed in beds for asked in persons_steps(kind, bed)]
        clients.append(Client(run, f"{kind.label} asks", kind, weir.url, steps, person=True))
    for client in clients:
        client.until_pause()
    clients = []
    for kind in run.kinds:
        across = [bed for bed in beds if crosses(kind, bed)]
        steps = [asked for bed in across for asked in chained_steps(kind, bed)]
        if kind.label in AT_ONCE:
            clients.append(Client(run, f"{kind.label} 3 weirs", kind, across[0].chain, steps, person=True))
    for client in clients:
        client.until_pause()


def crosses(kind: ClientKind, bed: Bed) -> bool:
    return kind.modern == (bed.kind.era == "legacy")


def chained_steps(kind: ClientKind, bed: Bed) -> list[Json]:
    """The rows that also go through three weirs of alternating eras."""
    rows = {"form": 1, "form_cancel": 1, "rounds": 4} if kind.modern else {"form": 19, "three": 19, "rounds": 19}
    steps = []
    for script, row in rows.items():
        asks = sum(len(names) for names in PLAN["tools"][script])
        asked = step("asked", tool=bed.tool(script), answers=expected(script), asks=asks)
        steps.append({**asked, "check": f"row {row}, {bed.name}, three weirs: {script}"})
    return steps


def persons_steps(kind: ClientKind, bed: Bed) -> list[Json]:
    across = crosses(kind, bed)
    row_of = {"three": 2, "rounds": 4} if kind.modern else {"url": 23}
    steps = []
    for script in ("form", "form_decline", "form_cancel", "three", "rounds", "url") if across else ("form",):
        names = [name for names in PLAN["tools"][script] for name in names]
        row = (row_of.get(script) or (1 if kind.modern else 19)) if across else 32
        rest = {"tool": bed.tool(script), "answers": expected(script), "asks": len(names)}
        steps.append({**step("asked", **rest), "check": f"row {row}, {bed.name}: {script}"})
    if across:
        row = 5 if kind.modern else 19
        name = bed.tool("asking")
        steps.append({**step("asked", name=name, part="paint it blue", asks=1), "check": f"row {row}, {bed.name}: prompt"})
        steps.append({**step("asked", uri=bed.note, part="it is blue", asks=1), "check": f"row {row}, {bed.name}: resource"})
    return steps


def parked(beds: list[Bed], weir: str, then: Callable[[Weir], None]) -> list[tuple[Bed, Reply, int]]:
    """Parks a call at each legacy server, and does something to the weir."""
    waiting = []
    for bed in beds:
        if bed.kind.era == "legacy":
            start = len(bed.journals[weir].read())
            waiting.append((bed, modern_caller.caller(bed, weir).call(bed.tool("form")), start))
    then(waiting[0][0].weirs[weir])
    return waiting


def reconfigure(weir: Weir) -> None:
    """Writes another config, and waits until it is in force."""

    def reloads() -> int:
        return sum(int(line.split()[-1]) for line in get(f"{weir.admin}/metrics")[1].splitlines() if APPLIED in line)

    before = reloads()
    config = json.loads(weir.config.read_text())
    config["defaults"]["resync"] = "55s"
    weir.config.write_text(json.dumps(config))
    if not wait_until(lambda: reloads() > before, 10):
        raise Trouble("the config was not reloaded")


def terminate(weir: Weir) -> None:
    if weir.process is not None:
        os.kill(weir.process.popen.pid, signal.SIGTERM)


def reload(waiting: tuple[Bed, Reply, int]) -> Cell:
    bed, reply, _ = waiting
    cell = Cell(18, bed)
    final = modern_caller.caller(bed).again(bed.tool("form"), reply)
    modern_caller.done(cell, "after a reload it goes on", final, expected("form"))
    return cell


def drain(waiting: tuple[Bed, Reply, int]) -> Cell:
    bed, reply, start = waiting
    cell, journal = Cell(18, bed), bed.journals["quick"]
    cell.check("parked before the drain", bool(reply.asks), reply.told)
    answers = journal.wait(lambda seen: [e for e in seen if (e.get("result") or {}).get("action")], start)
    cell.same("a drain answers for it", (answers or [{}])[0].get("result"), {"action": "cancel"})
    cancelled = journal.wait(lambda seen: [e for e in seen if e.get("method") == "notifications/cancelled"], start)
    cell.check("a drain cancels it", bool(cancelled))
    return cell


def print_table(cells: list[Cell], beds: list[Bed]) -> None:
    """Rows by servers: how many checks have passed, FAIL, or a letter that says why nothing was played."""
    notes: dict[str, str] = {}
    print("\nbridge between the eras: rows by servers, and how many checks of each passed")
    for kind in KINDS:
        print(f"  {kind.title}")
    width = max(len(title) for title, _, _ in ROWS.values())
    print(f"\n{'row':>3} {'':{width}} " + " ".join(f"{bed.name:>6}" for bed in beds))
    for row in sorted({*ROWS, *ELSEWHERE}):
        if row in ELSEWHERE:
            print(f"{row:>3} {ELSEWHERE[row]}")
            continue
        title, *by_era = ROWS[row]
        line = []
        for bed in beds:
            played = [cell for cell in cells if cell.row == row and cell.bed is bed]
            reasons = [reason for cell in played for reason in cell.left_out]
            if not by_era[0 if bed.kind.era == "legacy" else 1]:
                line.append("")
                continue
            checks = [ok for cell in played for _, ok, _ in cell.checks]
            text = "FAIL" if not all(checks) or not played else str(len(checks) or "-")
            marks = "".join(notes.setdefault(reason, chr(ord("a") + len(notes))) for reason in reasons)
            line.append(f"{text}{marks}")
        print(f"{row:>3} {title:{width}} " + " ".join(f"{text:>6}" for text in line))
    for reason, mark in notes.items():
        print(f"  {mark}  {reason}")
