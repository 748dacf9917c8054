"""What must hold in every run, as functions of the ledger and the samples.

Pure: nothing here looks at a clock or at a process. Names and numbers of the invariants are those of the reliability catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from penstock.contracts.errors import BY_REASON, status_of
from tests.faults.ledger import Entry, Intent, Kind

ANSWER_SLACK_SECONDS = 2.0
"""After its deadline a call may still take this long to be told so: generous, for a machine that does other things too."""
WINDOW_SECONDS = 10.0
RETRY_FLOOR = 256
RETRY_RATIO = 0.10
RETURN_SECONDS = 10.0
READINESS_SLACK_SECONDS = 1.0
MESSAGE_LIMIT = 512
LEAK = re.compile(
    r"Traceback|File \"|\.py\b|/tmp/|/work/|/home/|/proc/|\.sock\b|0x[0-9a-f]{6,}|\d+\.\d+\.\d+\.\d+:\d+|penstock_(?:\w+_)?[0-9A-Za-z]{32}"
)

Oracle = Callable[[str, str, int, int], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    text: str
    op: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The router's counters at one moment."""

    at: float
    sent: float
    retried: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one process holds at one moment."""

    resident_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """From when to when a version served on some worker; instants are monotonic seconds."""

    model: str
    version: str
    ready_at: float
    draining_at: float = float("inf")


def one_terminal_answer(
    entries: Sequence[Entry], *, slack_seconds: float = ANSWER_SLACK_SECONDS, may_be_unknown: bool = False
) -> list[Violation]:
    """I1: every call ends once, no later than its deadline; what nobody answered is unknown, and only a cut way excuses it."""
    found: list[Violation] = []
    for entry in entries:
        op, count = entry.intent.op, len(entry.outcomes)
        if count != 1:
            found.append(Violation(invariant="I1", op=op, text=f"{count} outcomes"))
            continue
        outcome = entry.outcomes[0]
        if outcome.kind is Kind.UNKNOWN and not may_be_unknown:
            found.append(Violation(invariant="I1", op=op, text=f"nobody answered: {outcome.code} {outcome.message[:200]}"))
        elif outcome.at > entry.intent.deadline_at + slack_seconds and not may_be_unknown:
            found.append(
                Violation(invariant="I1", op=op, text=f"answered {outcome.at - entry.intent.deadline_at:.3f} s after its deadline")
            )
    return found


def right_answer(entries: Sequence[Entry], oracle: Oracle) -> list[Violation]:
    """I2: what was answered is what the oracle computes for the version that says it answered."""
    found: list[Violation] = []
    for entry in entries:
        for outcome in entry.outcomes:
            intent = entry.intent
            if outcome.kind is Kind.OK and not _is_right(intent, outcome.version, outcome.answer, oracle):
                text = f"{intent.model}@{outcome.version} nonce {intent.nonce} rows {intent.rows}: {outcome.answer[:8]}…"
                found.append(Violation(invariant="I2", op=intent.op, text=text))
    return found


def blast_radius(entries: Sequence[Entry], is_spared: Callable[[Intent], bool], *, share: float = 0.001) -> list[Violation]:
    """I7: who has nothing to do with a fault loses less than a thousandth of its calls to it."""
    spared = [entry for entry in entries if is_spared(entry.intent)]
    lost = [entry for entry in spared if not entry.is_ok]
    if not spared:
        return [Violation(invariant="I7", text="nobody was spared, so nothing was shown")]
    if len(lost) > share * len(spared):
        return [Violation(invariant="I7", op=lost[0].intent.op, text=f"{len(lost)} of {len(spared)} calls to others were not answered")]
    return []


def amplification(samples: Sequence[Counted]) -> list[Violation]:
    """I8: in no window of ten seconds are more requests sent again than a tenth, or the floor for small numbers."""
    for last, sample in enumerate(samples):
        first = next((one for one in samples[: last + 1] if one.at >= sample.at - WINDOW_SECONDS), sample)
        sent, retried = sample.sent - first.sent, sample.retried - first.retried
        if retried > max(RETRY_FLOOR, RETRY_RATIO * sent):
            return [Violation(invariant="I8", text=f"{retried:.0f} of {sent:.0f} requests were sent again within {WINDOW_SECONDS:g} s")]
    return []


def resources_return(before: Mapping[str, Held], after: Mapping[str, Held], *, megabytes: int = 64) -> list[Violation]:
    """I12: processes hold no more at the end than at the start, within what a run may leave in allocators and pools."""
    found = [Violation(invariant="I12", text=f"{name} is gone") for name in before if name not in after]
    found += [Violation(invariant="I12", text=f"{name} was not there") for name in after if name not in before]
    for name, start in before.items():
        end = after.get(name, start)
        for what, grown, limit in (
            ("descriptors", end.descriptors - start.descriptors, 8),
            ("threads", end.threads - start.threads, 6),
            ("bytes", end.resident_bytes - start.resident_bytes, megabytes << 20),
        ):
            if grown > limit:
                found.append(Violation(invariant="I12", text=f"{name} holds {grown} {what} more than at the start"))
    return found


def readiness_truth(
    entries: Sequence[Entry], periods: Sequence[Readiness], *, slack_seconds: float = READINESS_SLACK_SECONDS
) -> list[Violation]:
    """I13: nothing is answered by a version before it was ready anywhere, or when it was asked after it had ended everywhere."""
    found: list[Violation] = []
    for entry in entries:
        for outcome in entry.outcomes:
            if outcome.kind is not Kind.OK:
                continue
            mine = [one for one in periods if (one.model, one.version) == (entry.intent.model, outcome.version)]
            if not any(one.ready_at <= outcome.at and entry.intent.at <= one.draining_at + slack_seconds for one in mine):
                text = f"{entry.intent.model}@{outcome.version} answered while it was not ready"
                found.append(Violation(invariant="I13", op=entry.intent.op, text=text))
    return found


def error_contract(entries: Sequence[Entry]) -> list[Violation]:
    """I14: a failure has a reason of the one table, the code that belongs to it, and a text that gives nothing away."""
    found: list[Violation] = []
    for entry in entries:
        for outcome in entry.outcomes:
            if outcome.kind is Kind.FAIL:
                wrong = _wrong_words(outcome.code, outcome.reason, outcome.message)
                if wrong:
                    found.append(Violation(invariant="I14", op=entry.intent.op, text=f"{wrong}: {outcome.message[:200]}"))
    return found


def seconds_to_live(entries: Sequence[Entry], lifted_at: float, *, steady_seconds: float = 1.0, share: float = 0.999) -> float | None:
    """Return after how long calls succeed steadily again; None when they do not, as far as the ledger goes."""
    later = sorted((entry for entry in entries if entry.intent.at >= lifted_at), key=lambda entry: entry.intent.at)
    for start in range(len(later)):
        begin = later[start].intent.at
        if later[-1].intent.at < begin + steady_seconds:
            return None
        steady = [entry for entry in later[start:] if entry.intent.at < begin + steady_seconds]
        if sum(entry.is_ok for entry in steady) >= share * len(steady):
            return begin - lifted_at
    return None


def liveness(entries: Sequence[Entry], lifted_at: float, *, limit_seconds: float = RETURN_SECONDS) -> list[Violation]:
    """I17: at most so many seconds after the last fault is lifted, calls succeed again."""
    seconds = seconds_to_live(entries, lifted_at)
    if seconds is None:
        return [Violation(invariant="I17", text="calls did not succeed steadily after the last fault was lifted")]
    if seconds > limit_seconds:
        return [Violation(invariant="I17", text=f"calls succeeded again only {seconds:.1f} s after the last fault was lifted")]
    return []


def _is_right(intent: Intent, version: str, answer: tuple[int, ...], oracle: Oracle) -> bool:
    return version.isdecimal() and answer == oracle(intent.model, version, intent.nonce, intent.rows)


def _wrong_words(code: str, reason: str, message: str) -> str:
    kind = BY_REASON.get(reason)
    if kind is None:
        return f"no such reason {reason!r} (code {code})"
    wanted = status_of(kind).grpc.name
    if code != wanted:
        return f"{reason} came with {code} instead of {wanted}"
    if len(message) > MESSAGE_LIMIT or not message.isprintable():
        return f"{reason} has a text of {len(message)} characters, or one that does not print"
    if reason == "INTERNAL" and "worker" not in message and "request" not in message:
        return "INTERNAL says more than that"
    leaked = LEAK.search(message)
    return f"{reason} gives away {leaked.group()!r}" if leaked else ""
