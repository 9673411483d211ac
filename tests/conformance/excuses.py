"""What passes directly and not through a weir, each with the reason. One that is not needed any more is a failure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from suite import Key


@dataclass(frozen=True)
class Excuse:
    """Checks of one scenario, in one row and rig; `*` is any."""

    row: str
    rig: str
    scenario: str
    why: str
    check: str = "*"
    status: str = "*"

    def covers(self, row: str, rig: str, key: Key, status: str) -> bool:
        return (
            (self.row, self.rig) == (row, rig)
            and fnmatchcase(key.scenario, self.scenario)
            and fnmatchcase(key.check, self.check)
            and fnmatchcase(status, self.status)
        )


KEYS = "it wants the key that its own server gives a question; a legacy server's question has an id and no name"
PAUSES = "a modern server cannot pause the stream of an answer, so there is nothing to come back to"
TASKS = "a legacy server has no tasks extension, and weir makes up none"

STEP_UP = "weir does not widen a grant by itself: an operator names the scopes, and a person logs in again"

# Scenarios of extensions that are not run at all.
NOT_RUN = {
    "auth/dpop": "tokens bound to a key (RFC 9449) are not built",
    "auth/dpop-nonce": "tokens bound to a key (RFC 9449) are not built",
    "auth/wif-jwt-bearer": "the grant of RFC 7523 is not built; token exchange (RFC 8693) is what weir has for workloads",
    "auth/enterprise-managed-authorization": "it acts for a person whose identity callers do not bring yet",
}

EXCUSES = [
    Excuse("server 2026-07-28", "over legacy", "input-required-result-basic-elicitation", KEYS),
    Excuse("server 2026-07-28", "over legacy", "tasks-*", TASKS),
    Excuse("server 2025-11-25", "over modern", "server-sse-polling", PAUSES, "server-sse-disconnect-resume", "INFO"),
    Excuse("auth 2025-11-25", "weir", "auth/scope-step-up", STEP_UP, "scope-step-up-escalation"),
    Excuse("auth 2026-07-28", "weir", "auth/scope-step-up", STEP_UP, "scope-step-up-escalation"),
]
