"""The rows of the table, and what is wrong with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from excuses import EXCUSES, Excuse
from suite import Key, Outcome

RIGS = ["direct", "weir", "chain", "over legacy", "over modern", "crossed"]


@dataclass(frozen=True)
class Run:
    """One row of the table: what the suite is told, and what it must at least give against the upstream itself."""

    version: str
    select: tuple[str, ...]
    passed: int
    failed: int = 0
    sdk: bool = False  # against the SDK's own server; then every status has to be the same

    @property
    def name(self) -> str:
        return f"{'sdk' if self.sdk else 'server'} {self.version}"


# `--requirements` runs what the revision demands, and besides, unscored, what else there is for it.
RUNS = [
    Run("2025-03-26", ("--suite", "all", "--spec-version", "2025-03-26"), passed=3),
    Run("2025-06-18", ("--suite", "all", "--spec-version", "2025-06-18"), passed=56),
    Run("2025-11-25", ("--requirements", "2025-11-25"), passed=84),
    Run("2026-07-28", ("--requirements", "2026-07-28"), passed=196),
]
# All failures are of the tasks extension, which the SDK does not have.
SDK_RUNS = [
    Run("2025-03-26", ("--suite", "all", "--spec-version", "2025-03-26"), passed=3, sdk=True),
    Run("2025-06-18", ("--suite", "all", "--spec-version", "2025-06-18"), passed=56, sdk=True),
    Run("2025-11-25", ("--requirements", "2025-11-25"), passed=85, sdk=True),
    Run("2026-07-28", ("--requirements", "2026-07-28"), passed=164, failed=30, sdk=True),
]
# The details of a check that have to be the same besides its status.
SAME = {"server-sse-retry-field": "retryValue"}


@dataclass(frozen=True)
class ClientRun:
    """Scenarios in which the suite is the server, and watches what a client sends it: here, weir."""

    version: str
    scenarios: tuple[str, ...]
    passed: int
    failed: int = 0

    @property
    def name(self) -> str:
        return f"client {self.version}"

    @property
    def other_era(self) -> str:
        return "legacy" if self.version == "2026-07-28" else "modern"


CLIENT_RUNS = [
    ClientRun(
        "2025-11-25",
        (
            "initialize",
            "tools_call",
            "json-schema-2020-12-preservation",
            "elicitation-sep1034-client-defaults",
            "sse-retry",
        ),
        passed=25,
    ),
    ClientRun(
        "2026-07-28",
        (
            "tools_call",
            "request-metadata",
            "http-standard-headers",
            "http-custom-headers",
            "http-invalid-tool-headers",
            "json-schema-ref-no-deref",
            "json-schema-2020-12-preservation",
            "sep-2322-client-request-state",
        ),
        passed=70,
    ),
]


@dataclass(frozen=True)
class AuthRun:
    """Scenarios in which weir logs in to the suite's server. Directly there is nobody to compare it with."""

    version: str | None
    scenarios: tuple[str, ...]
    passed: int

    @property
    def name(self) -> str:
        return f"auth {self.version or 'extensions'}"


AUTH_RUNS = [
    AuthRun(
        "2025-03-26",
        ("2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"),
        passed=13,
    ),
    AuthRun(
        "2025-11-25",
        (
            "metadata-default",
            "metadata-var1",
            "metadata-var2",
            "metadata-var3",
            "basic-cimd",
            "scope-from-www-authenticate",
            "scope-from-scopes-supported",
            "scope-omitted-when-undefined",
            "scope-step-up",
            "scope-retry-limit",
            "token-endpoint-auth-basic",
            "token-endpoint-auth-post",
            "token-endpoint-auth-none",
            "pre-registration",
        ),
        passed=182,
    ),
    AuthRun(
        "2026-07-28",
        (
            "metadata-default",
            "metadata-var1",
            "metadata-var2",
            "metadata-var3",
            "basic-cimd",
            "scope-from-www-authenticate",
            "scope-from-scopes-supported",
            "scope-omitted-when-undefined",
            "scope-step-up",
            "scope-retry-limit",
            "token-endpoint-auth-basic",
            "token-endpoint-auth-post",
            "token-endpoint-auth-none",
            "pre-registration",
            "resource-mismatch",
            "offline-access-scope",
            "offline-access-not-supported",
            "authorization-server-migration",
            "iss-supported",
            "iss-not-advertised",
            "iss-supported-missing",
            "iss-wrong-issuer",
            "iss-unexpected",
            "iss-normalized",
            "metadata-issuer-mismatch",
        ),
        passed=295,
    ),
    AuthRun(None, ("client-credentials-basic", "client-credentials-jwt"), passed=10),
]


@dataclass
class Failure:
    """What is wrong with one check, and on which rigs; the words are those of the first."""

    check: dict
    rigs: list[str] = field(default_factory=list)

    def say(self, row: str, what: str) -> None:
        print(f"FAIL {row} ({', '.join(self.rigs)}): {what}")
        for word in ("description", "errorMessage", "details"):
            value = self.check.get(word)
            if value:
                print(f"    {word}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False):.800}")


@dataclass
class Report:
    """Outcomes by row and rig, and what is wrong with them."""

    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    failures: dict[tuple[str, str], Failure] = field(default_factory=dict)
    used: set[Excuse] = field(default_factory=set)

    def fail(self, row: str, rig: str, what: str, check: dict | None = None) -> None:
        self.failures.setdefault((row, what), Failure(check or {})).rigs.append(rig)

    def baseline(self, run: Run | ClientRun, outcome: Outcome) -> None:
        """A broken upstream or client would hide what weir breaks."""
        passed, failed = outcome.count("SUCCESS"), outcome.count("FAILURE")
        if passed < run.passed or failed > run.failed:
            wanted = f"at least {run.passed} passed and at most {run.failed} failed"
            self.fail(run.name, "direct", f"{passed} passed, {failed} failed, wanted {wanted}")

    def compare(self, row: str, rig: str, direct: Outcome, through: Outcome) -> None:
        """What passes directly passes through weir, and nothing fails that is not there directly."""
        new = {key: check for key, check in through.checks.items() if key not in direct.checks}
        for key, check in sorted(direct.checks.items()):
            if check["status"] != "SUCCESS":
                continue
            now = through.checks.get(key)
            if now is None:  # some checks have another name when they fail
                namesake = next(
                    (other for other in new if (other.scenario, other.check) == (key.scenario, key.check)), None
                )
                now = new.pop(namesake) if namesake else None
            status = now["status"] if now else "absent"
            if status != "SUCCESS":
                self.blame(row, rig, key, status, now or check)
        for key, check in sorted(new.items()):
            if check["status"] in ("FAILURE", "WARNING"):
                self.blame(row, rig, key, check["status"], check)

    def compare_exactly(self, row: str, rig: str, direct: Outcome, through: Outcome) -> None:
        """Each check is there with the same status, whether it passes or fails."""
        for key in sorted({*direct.checks, *through.checks}):
            want, got = direct.checks.get(key), through.checks.get(key)
            before, now = (check["status"] if check else "absent" for check in (want, got))
            if before != now:
                self.blame(row, rig, key, f"{now}, and {before} directly", got or want or {})
            elif (member := SAME.get(key.check)) and want and got:
                before, now = ((check.get("details") or {}).get(member) for check in (want, got))
                if before != now:
                    self.blame(row, rig, key, f"{member} is {now}, and {before} directly", got)

    def judge(self, run: AuthRun, rig: str, outcome: Outcome) -> None:
        """What nobody does better is held against a number, and against perfection."""
        for key, check in sorted(outcome.checks.items()):
            if check["status"] in ("FAILURE", "WARNING"):
                self.blame(run.name, rig, key, check["status"], check)
        # Some checks come with every request, however many weir makes.
        passed = len({(key.scenario, key.check) for key, check in outcome.checks.items() if check["status"] == "SUCCESS"})
        if passed < run.passed:
            self.fail(run.name, rig, f"{passed} kinds of checks passed, wanted at least {run.passed}")

    def blame(self, row: str, rig: str, key: Key, status: str, check: dict) -> None:
        excuse = next((excuse for excuse in EXCUSES if excuse.covers(row, rig, key, status)), None)
        if excuse:
            self.used.add(excuse)
        else:
            self.fail(row, rig, f"{key}: {status}", check)

    def stale(self) -> None:
        for excuse in EXCUSES:
            if excuse not in self.used:
                self.fail(excuse.row, excuse.rig, f"{excuse.scenario}: {excuse.check} needs no excuse any more")

    def say(self, folder: Path, keep: bool) -> int:
        for (row, what), failure in self.failures.items():
            failure.say(row, what)
        self.table()
        failed = sum(len(failure.rigs) for failure in self.failures.values())
        print(f"\nconformance: {failed} failed, {len(self.used)} excused (excuses.py says why)", flush=True)
        if self.failures or keep:
            print(f"checks, configs and logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        return 1 if self.failures else 0

    def table(self) -> None:
        if not self.outcomes:
            return
        rows = list(dict.fromkeys(row for row, _ in self.outcomes))
        rigs = [rig for rig in RIGS if any(key[1] == rig for key in self.outcomes)]
        print("\npassed/failed      " + "".join(f"{rig:>14}" for rig in rigs))
        for row in rows:
            cells = []
            for rig in rigs:
                outcome = self.outcomes.get((row, rig))
                cells.append(f"{outcome.count('SUCCESS')}/{outcome.count('FAILURE')}" if outcome else "-")
            print(f"{row:19}" + "".join(f"{cell:>14}" for cell in cells))
        seconds = [f"{sum(o.seconds for (_, r), o in self.outcomes.items() if r == rig):.1f}" for rig in rigs]
        print(f"{'seconds':19}" + "".join(f"{cell:>14}" for cell in seconds), flush=True)
