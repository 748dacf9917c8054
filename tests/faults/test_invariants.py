"""The checker finds what it is there to find: every invariant holds for a good ledger and fails for a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import invariants as inv
from tests.faults.ledger import Entry, Intent, Kind, Ledger, Outcome, read
from tests.faults.oracle import expected


def entry(op: int = 0, *, at: float = 1.0, took: float = 0.01, rows: int = 1, model: str = "alpha", **outcome: object) -> Entry:
    fields = {"kind": Kind.OK, "version": "1", "answer": expected(model, "1", 100 + op, rows)} | outcome
    intent = Intent(op=op, at=at, model=model, nonce=100 + op, rows=rows, deadline_at=at + 1.0)
    return Entry(intent=intent, outcomes=(Outcome(op=op, at=at + took, **fields),))


def failed(op: int = 0, *, code: str = "UNAVAILABLE", reason: str = "WORKER_LOST", message: str = "the worker went away", **more: float):
    return entry(op, kind=Kind.FAIL, code=code, reason=reason, message=message, version="", answer=(), **more)


def names(found: list[inv.Violation]) -> list[str]:
    return [one.invariant for one in found]


def test_one_answer_in_time_satisfies_i1():
    assert inv.one_terminal_answer([entry(), failed(1)]) == []


@pytest.mark.parametrize(
    "broken",
    [
        Entry(intent=entry().intent, outcomes=()),
        Entry(intent=entry().intent, outcomes=entry().outcomes * 2),
        entry(took=9.0),
        entry(kind=Kind.UNKNOWN),
    ],
    ids=["hangs", "answered twice", "late", "nobody answered"],
)
def test_a_call_that_does_not_end_once_and_in_time_breaks_i1(broken: Entry):
    assert names(inv.one_terminal_answer([entry(), broken])) == ["I1"]


def test_a_cut_way_excuses_unknown_outcomes_but_not_none_at_all():
    assert inv.one_terminal_answer([entry(kind=Kind.UNKNOWN)], may_be_unknown=True) == []
    assert names(inv.one_terminal_answer([Entry(intent=entry().intent, outcomes=())], may_be_unknown=True)) == ["I1"]


@pytest.mark.parametrize(
    "answer",
    [
        expected("alpha", "1", 999, 2),
        expected("alpha", "2", 100, 2),
        expected("beta", "1", 100, 2),
        expected("alpha", "1", 100, 2)[:-1],
        (),
    ],
    ids=["of another request", "of another version", "of another model", "cut short", "empty"],
)
def test_a_wrong_answer_breaks_i2(answer: tuple[int, ...]):
    assert names(inv.right_answer([entry(rows=2), entry(rows=2, answer=answer)], expected)) == ["I2"]


def test_swapped_rows_break_i2():
    right = expected("alpha", "1", 100, 2)

    assert names(inv.right_answer([entry(rows=2, answer=right[4:8] + right[:4] + right[8:])], expected)) == ["I2"]


def test_failures_of_others_break_i7_and_failures_of_the_hit_do_not():
    def spares_beta(intent: Intent) -> bool:
        return intent.model == "beta"

    good = [entry(number, model="beta") for number in range(100)]

    assert inv.blast_radius([*good, failed(100)], spares_beta) == []
    assert names(inv.blast_radius([*good, failed(100, model="beta")], spares_beta)) == ["I7"]
    assert names(inv.blast_radius([failed(0)], spares_beta)) == ["I7"]


def counted(at: float, sent: float, retried: float) -> inv.Counted:
    return inv.Counted(at=at, sent=sent, retried=retried)


def test_retries_within_the_budget_satisfy_i8():
    assert inv.amplification([counted(0, 0, 0), counted(5, 10_000, 1_000), counted(30, 10_000, 1_200)]) == []
    assert inv.amplification([counted(0, 0, 0), counted(1, 300, 256)]) == []


def test_a_storm_of_retries_breaks_i8_even_when_the_long_run_is_calm():
    calm = [counted(float(second), 10_000.0 * second, 0) for second in range(20)]

    assert names(inv.amplification([*calm, counted(20, 190_100, 0), counted(30, 190_200, 900)])) == ["I8"]


def held(descriptors: int = 30, threads: int = 5, megabytes: int = 90) -> inv.Held:
    return inv.Held(resident_bytes=megabytes << 20, descriptors=descriptors, threads=threads)


@pytest.mark.parametrize(
    "after",
    [
        {"router-0": held(descriptors=60)},
        {"router-0": held(threads=30)},
        {"router-0": held(megabytes=300)},
        {},
        {"router-0": held(), "x": held()},
    ],
    ids=["descriptors", "threads", "memory", "a dead process", "an orphan"],
)
def test_what_is_not_given_back_breaks_i12(after: dict[str, inv.Held]):
    assert inv.resources_return({"router-0": held()}, {"router-0": held(descriptors=33)}) == []
    assert names(inv.resources_return({"router-0": held()}, after)) == ["I12"]


def test_an_answer_from_a_version_that_was_not_ready_breaks_i13():
    period = inv.Readiness(model="alpha", version="1", ready_at=2.0, draining_at=4.0)

    assert inv.readiness_truth([entry(at=2.5)], [period]) == []
    assert names(inv.readiness_truth([entry(at=1.0)], [period])) == ["I13"]
    assert names(inv.readiness_truth([entry(at=6.0)], [period])) == ["I13"]
    assert names(inv.readiness_truth([entry(at=2.5, model="beta")], [period])) == ["I13"]


@pytest.mark.parametrize(
    "broken",
    [
        failed(reason="", message="connection reset"),
        failed(reason="MY_OWN"),
        failed(code="INTERNAL"),
        failed(message='File "/work/main/services/x.py", line 3'),
        failed(message="cannot connect to 10.0.0.7:8123"),
        failed(message="x" * 600),
        failed(message="two\nlines"),
        failed(code="INTERNAL", reason="INTERNAL", message="list index out of range"),
    ],
    ids=["no reason", "unknown reason", "wrong code", "path", "address", "too long", "line break", "a stranger's text"],
)
def test_a_failure_outside_of_the_contract_breaks_i14(broken: Entry):
    assert inv.error_contract([entry(), failed(1)]) == []
    assert names(inv.error_contract([broken])) == ["I14"]


def test_success_that_comes_back_in_time_satisfies_i17():
    ledger = [failed(number, at=10.0 + number / 100) for number in range(50)] + [entry(50 + n, at=10.5 + n / 100) for n in range(200)]

    assert inv.seconds_to_live(ledger, 10.0) == pytest.approx(0.5)
    assert inv.liveness(ledger, 10.0) == []


@pytest.mark.parametrize(("bad", "good_from"), [(1200, 1200), (250, 250), (0, 250)], ids=["too late", "never", "nobody asked"])
def test_success_that_comes_late_or_never_breaks_i17(bad: int, good_from: int):
    ledger = [failed(number, at=10.0 + number / 100) for number in range(bad)]
    if bad > 1000:
        ledger += [entry(number, at=10.0 + number / 100) for number in range(good_from, good_from + 200)]

    assert names(inv.liveness(ledger, 10.0)) == ["I17"]


def test_one_failure_in_a_second_is_no_return_to_life():
    ledger = [failed(n, at=10 + n / 100) if n % 50 == 0 else entry(n, at=10 + n / 100) for n in range(500)]

    assert inv.seconds_to_live(ledger, 10.0) is None


def test_a_ledger_reads_back_as_it_was_written(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first, second = ledger.intend("alpha", 7, rows=2, deadline_seconds=3.0), ledger.intend("beta", 8)
    ledger.conclude(Outcome(op=first.op, at=2.0, kind=Kind.OK, version="1", answer=expected("alpha", "1", 7, 2)))
    ledger.close()

    assert list(read(tmp_path / "ledger.jsonl")) == list(ledger.entries())
    assert names(inv.one_terminal_answer(ledger.entries())) == ["I1"]
    assert ledger.entries()[1].intent == second
