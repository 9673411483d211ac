"""What passes directly and cannot pass through a weir, each with the reason. One that is not needed any more is a failure."""

from __future__ import annotations

from dataclasses import dataclass

from suite import Key


@dataclass(frozen=True)
class Excuse:
    """One check of one row and rig, and the status that is excused."""

    row: str
    rig: str
    scenario: str
    check: str
    status: str
    why: str

    def covers(self, row: str, rig: str, key: Key, status: str) -> bool:
        return (self.row, self.rig, self.scenario, self.check, self.status) == (
            row,
            rig,
            key.scenario,
            key.check,
            status,
        )


def excuse(why: str, rows: list[str], rigs: list[str], scenario: str, check: str, status: str) -> list[Excuse]:
    return [Excuse(row, rig, scenario, check, status, why) for row in rows for rig in rigs]


EXCUSES: list[Excuse] = [
    *excuse(
        "weir answers a list with JSON; the suite notes that, and says that event streams are optional",
        ["server 2025-11-25"],
        ["weir", "chain", "over legacy"],
        "server-sse-multiple-streams",
        "server-sse-streams-functional",
        "INFO",
    ),
]
