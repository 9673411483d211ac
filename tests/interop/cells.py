"""What a row of the table has found at one server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from beds import PLAN, Bed
from row_callers import person, plain

Json = dict[str, Any]


@dataclass
class Cell:
    """The checks of one row at one server."""

    row: int
    bed: Bed
    checks: list[tuple[str, bool, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def check(self, what: str, ok: bool, detail: str = "") -> bool:
        self.checks.append((what, bool(ok), detail))
        return bool(ok)

    def same(self, what: str, got: Any, want: Any) -> bool:
        return self.check(what, got == want, "" if got == want else f"want {brief(want)}, got {brief(got)}")

    def leave_out(self, reason: str) -> None:
        self.left_out.append(reason)


def brief(value: Any) -> str:
    return json.dumps(value, default=str)[:700]


def expected(script: str) -> list[list[Json]]:
    """The answers that a tool has got when everybody is asked what its script says."""
    return [[person(PLAN["asks"][name])["result"] for name in names] for names in PLAN["tools"][script]]


def answers_of(text: str) -> Any:
    """What a tool says that it was answered; an SDK may leave out what is empty, or fill in what is plain."""
    try:
        return plain(json.loads(text))
    except ValueError:
        return text


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each gives, all of them run at the same time; an exception is raised here."""
    outcomes: list[Any] = [None] * len(calls)

    def one(place: int, call: Callable[[], Any]) -> None:
        try:
            outcomes[place] = call()
        except Exception as error:  # raised below, in the thread that asked
            outcomes[place] = error

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return outcomes
