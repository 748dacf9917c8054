"""What was asked and what came of it, written as it happens.

Every call writes its intent before it leaves and its outcome after; nothing is ever changed. An outcome is ok, fail (the server said so,
with a reason) or unknown (nobody said anything, or the way was cut: it may have happened or not). Jepsen's discipline: unknown is never
counted as lost, and a call without any outcome is a call that hangs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from io import TextIOBase
from pathlib import Path


class Kind(StrEnum):
    """What came of a call."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """Whether faults were on when it was asked."""

    SAFETY = "safety"
    LIVENESS = "liveness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A call about to be made; instants are monotonic seconds."""

    op: int
    at: float
    model: str
    nonce: int
    rows: int = 1
    deadline_at: float = float("inf")
    tenant: str = ""
    phase: Phase = Phase.SAFETY


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    op: int
    at: float
    kind: Kind
    code: str = ""
    reason: str = ""
    """The server's `penstock-reason`; empty when it said none."""
    message: str = ""
    version: str = ""
    answer: tuple[int, ...] = ()
    """`y`, row by row, then `total`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A call with all of its outcomes: one, if all is well."""

    intent: Intent
    outcomes: tuple[Outcome, ...]

    @property
    def is_ok(self) -> bool:
        """Whether it was answered."""
        return bool(self.outcomes) and self.outcomes[0].kind is Kind.OK

    @property
    def is_failed(self) -> bool:
        """Whether the server refused or failed it."""
        return bool(self.outcomes) and self.outcomes[0].kind is Kind.FAIL

    @property
    def seconds(self) -> float:
        """Time from intent to the first outcome."""
        return self.outcomes[0].at - self.intent.at if self.outcomes else float("inf")


class Ledger:
    """Keeps intents and outcomes, in memory and as JSON lines."""

    def __init__(self, path: Path | None = None) -> None:
        """Append to `path`, when there is one."""
        self.phase = Phase.SAFETY
        self._intents: dict[int, Intent] = {}
        self._outcomes: dict[int, list[Outcome]] = {}
        self._file: TextIOBase | None = path.open("a") if path is not None else None

    def intend(self, model: str, nonce: int, *, rows: int = 1, deadline_seconds: float = float("inf"), tenant: str = "") -> Intent:
        """Write that a call is about to be made."""
        now = time.monotonic()
        number = len(self._intents)
        intent = Intent(
            op=number, at=now, model=model, nonce=nonce, rows=rows, deadline_at=now + deadline_seconds, tenant=tenant, phase=self.phase
        )
        self._intents[number] = intent
        self._write("intent", asdict(intent))
        return intent

    def conclude(self, outcome: Outcome) -> None:
        """Write what came of a call."""
        self._outcomes.setdefault(outcome.op, []).append(outcome)
        self._write("outcome", asdict(outcome))

    def entries(self) -> Sequence[Entry]:
        """Return all calls, in the order in which they were made."""
        return [Entry(intent=intent, outcomes=tuple(self._outcomes.get(op, ()))) for op, intent in self._intents.items()]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, kind: str, fields: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"kind_of_line": kind, **fields}) + "\n")


def read(path: Path) -> Iterator[Entry]:
    """Read a ledger's file back."""
    intents: dict[int, Intent] = {}
    outcomes: dict[int, list[Outcome]] = {}
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        if fields.pop("kind_of_line") == "intent":
            intent = Intent(**{**fields, "phase": Phase(fields["phase"])})
            intents[intent.op] = intent
        else:
            outcome = Outcome(**{**fields, "kind": Kind(fields["kind"]), "answer": tuple(fields["answer"])})
            outcomes.setdefault(outcome.op, []).append(outcome)
    for op, intent in intents.items():
        yield Entry(intent=intent, outcomes=tuple(outcomes.get(op, ())))
