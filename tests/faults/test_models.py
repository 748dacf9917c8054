"""Models misbehave; whoever did nothing wrong gets an answer."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger, Outcome
from tests.faults.load import Load, Plan
from tests.faults.truths import held_true
from tests.faults.world import World, world

ABSENT = {"WORKER_LOST", "NO_READY_REPLICA", "UNAVAILABLE", "REPLICA_GONE", "MODEL_LOADING"}


def third(nonce: int, value: int, *, fourth: int | None = None, rows: int = 1, at: int = 0) -> np.ndarray:
    """Return rows of which one holds a value in its third place that makes a model misbehave."""
    x = oracle.rows_of(nonce, rows)
    x[at, 2] = value
    if fourth is not None:
        x[at, 3] = fourth
    return x


BAD = {"value": oracle.BAD_ROW["dividend"], "fourth": oracle.BAD_ROW["divisor"]}


async def bad_and_good(running: World, ledger: Ledger, model: str, bad: np.ndarray, *, good: int) -> tuple[Outcome, list[Outcome]]:
    """Send one bad request among good ones, all at once."""
    async with Caller(running.target, ledger) as caller, Caller(running.target, Ledger()) as other, asyncio.TaskGroup() as group:
        before = [group.create_task(caller.ask(model, nonce)) for nonce in range(good // 2)]
        guilty = group.create_task(other.send(model, bad))
        after = [group.create_task(caller.ask(model, 1000 + nonce)) for nonce in range(good - good // 2)]
    return guilty.result(), [task.result() for task in (*before, *after)]


async def test_m3_of_thirty_two_requests_only_the_bad_one_fails(running: World, ledger: Ledger):
    executions = running.metric('nv_inference_exec_count{model="fragile"')
    guilty, others = await bad_and_good(running, ledger, "fragile", third(7, **BAD), good=31)

    held_true(running, ledger)
    # Alone in its batch it is the model that failed; among others it is the row.
    assert guilty.reason in {"POISON_ROW", "EXECUTION_FAILED"}
    assert [one for one in others if one.kind is not Kind.OK] == []
    # However they were batched: a batch each at worst, and to find one row among 32 takes at most 2·log2(32) more.
    spent = await asyncio.to_thread(running.metric, 'nv_inference_exec_count{model="fragile"')
    assert spent - executions <= 32 + 2 * math.log2(32)


async def test_m3_the_bad_row_of_a_request_is_named(running: World):
    async with Caller(running.target, Ledger()) as caller:
        outcome = await caller.send("fragile", third(7, rows=32, at=19, **BAD))

    assert (outcome.kind, outcome.code, outcome.reason) == (Kind.FAIL, "INTERNAL", "POISON_ROW")
    assert "19" in outcome.message


async def test_m4_a_loop_without_end_is_stopped_at_its_deadline_and_the_next_request_is_answered(running: World, ledger: Ledger):
    x = oracle.rows_of(3, 1)
    x[0, 1] = oracle.FOR_EVER
    async with Caller(running.target, ledger) as caller, Caller(running.target, Ledger()) as other:
        outcomes = await asyncio.gather(*[other.send("endless", x, deadline_seconds=0.6) for _ in range(2)])
        started = time.monotonic()
        after = [await caller.ask("endless", nonce, deadline_seconds=10.0) for nonce in range(4)]

    held_true(running, ledger)
    assert {outcome.reason for outcome in outcomes} == {"DEADLINE_EXCEEDED"}
    assert {outcome.kind for outcome in after} == {Kind.OK}
    record("M4", usable_again_ms=1000 * (time.monotonic() - started))


async def test_m1_an_answer_that_is_no_number_passes_where_the_model_does_not_mind(running: World, ledger: Ledger):
    guilty, others = await bad_and_good(running, ledger, "loose", third(7, oracle.NEGATIVE), good=15)

    held_true(running, ledger)
    assert {one.kind for one in (guilty, *others)} == {Kind.OK}


async def test_m1_an_answer_that_is_no_number_is_an_error_where_the_model_minds(running: World, ledger: Ledger):
    guilty, others = await bad_and_good(running, ledger, "strict", third(7, oracle.NEGATIVE), good=15)

    held_true(running, ledger)
    assert (guilty.code, guilty.reason) == ("INTERNAL", "OUTPUT_NOT_FINITE")
    assert {one.kind for one in others} == {Kind.OK}


async def test_m1_an_answer_that_is_no_number_is_counted_where_the_model_asks_for_it(running: World, ledger: Ledger):
    series = 'penstock_requests_not_finite_total{model="counted"'
    before = running.metric(series)
    guilty, others = await bad_and_good(running, ledger, "counted", third(7, oracle.NEGATIVE), good=15)

    held_true(running, ledger)
    assert {one.kind for one in (guilty, *others)} == {Kind.OK}
    assert await asyncio.to_thread(running.metric, series) - before == 1


def told(running: World, since: int) -> set[tuple[str, str, int]]:
    """Return which version was called unhealthy by which process."""
    return {(line["model"], line["version"], line["process_id"]) for line in running.served.events("version_unhealthy")[since:]}


async def test_m2_a_model_that_breaks_its_signature_fails_its_batch_is_marked_for_it_and_heals_by_answers(running: World, ledger: Ledger):
    marked = len(running.served.events("version_unhealthy"))
    async with Caller(running.target, ledger) as caller, Caller(running.target, Ledger()) as other:
        guilty = [await other.send("shape", third(7, oracle.DROPPED)) for _ in range(2)]
        assert running.unhealthy("shape") == 0
        while running.unhealthy("shape") != len(running.workers):
            guilty.append(await other.send("shape", third(7, oracle.DROPPED)))
        await asyncio.to_thread(running.served.until, lambda: len(told(running, marked)) == len(running.workers))
        # Nobody is left who could stand in, so it is asked all the same; neighbours never notice.
        neighbours = [await caller.ask("alpha", nonce) for nonce in range(8)]
        after = [await caller.ask("shape", 0)]
        while running.unhealthy("shape"):
            after.append(await caller.ask("shape", len(after)))

    held_true(running, ledger)
    assert {(one.code, one.reason) for one in guilty} == {("INTERNAL", "OUTPUT_CONTRACT")}
    assert len(guilty) >= 3 * len(running.workers)
    assert {(model, version) for model, version, _ in told(running, marked)} == {("shape", "1")}
    assert {one.kind for one in (*after, *neighbours)} == {Kind.OK}
    record("M2", breaches=len(guilty), answers_until_healthy=len(after))


async def test_p7_a_request_that_kills_workers_kills_two_and_is_named_and_its_company_is_answered(running: World, ledger: Ledger):
    died = len(running.served.events("child_died"))
    async with Caller(running.target, ledger) as caller, Caller(running.target, Ledger()) as other:
        load = Load(caller, Plan(rate=50.0))
        loading = asyncio.create_task(load.run())
        killer = third(7, oracle.KILLER["dividend"], fourth=oracle.KILLER["divisor"])
        # All at once, so that innocent ones share the batch of the guilty one.
        company = [asyncio.create_task(other.ask("fragile", nonce, deadline_seconds=10.0)) for nonce in range(12)]
        guilty = asyncio.create_task(other.send("fragile", killer, deadline_seconds=10.0))
        company += [asyncio.create_task(other.ask("fragile", nonce, deadline_seconds=10.0)) for nonce in range(12, 24)]
        outcome = await guilty
        beside = [await task for task in company]
        lifted_at = time.monotonic()
        async with asyncio.timeout(30):
            while inv.seconds_to_live([entry for entry in ledger.entries() if entry.outcomes], lifted_at) is None:
                await asyncio.sleep(0.1)
        load.stop()
        await loading
    await asyncio.to_thread(running.settle)
    deaths = running.served.events("child_died")[died:]

    held_true(running, ledger)
    assert (outcome.code, outcome.reason) == ("INTERNAL", "POISON_REQUEST")
    assert len(deaths) == 2
    # Nobody else is called poison; who has to come back is told so.
    assert {one.reason for one in beside} <= {"", *ABSENT}
    assert {line["status"] for line in deaths} == {"SIGFPE"}
    assert {entry.outcomes[0].reason for entry in ledger.entries() if entry.is_failed} <= ABSENT
    answered = sum(one.kind is Kind.OK for one in beside)
    record(
        "P7",
        deaths=len(deaths),
        company=len(beside),
        company_answered=answered,
        others_refused=sum(entry.is_failed for entry in ledger.entries()),
    )


@pytest.fixture
def with_poison(tmp_path: Path, short_dir: Path) -> Iterator[World]:
    repository = oracle.write_models(tmp_path / "models", ("alpha",))
    with world(short_dir, repository) as served:
        served.settle({"alpha": "1"})
        yield served


@pytest.mark.timeout(150)
async def test_p6_a_version_that_kills_whoever_loads_it_is_given_up_and_the_rest_goes_on_serving(with_poison: World, ledger: Ledger):
    served = with_poison
    async with Caller(served.target, ledger) as caller:
        load = Load(caller, Plan(rate=50.0, models=("alpha",)))
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(0.5)
        started = time.monotonic()
        await asyncio.to_thread(oracle.write_version, served.repository / "poison", 1)
        await asyncio.to_thread(served.served.until, lambda: bool(served.served.events("version_failed")), seconds=90)
        took = time.monotonic() - started
        await asyncio.sleep(0.5)
        load.stop()
        await loading
    deaths = [line["child"] for line in served.served.events("child_died")]
    await asyncio.to_thread(shutil.rmtree, served.repository / "poison")
    await asyncio.to_thread(served.settle, {"alpha": "1"})

    held_true(served, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    # One worker tries and dies until the version is given up; the other one is never away.
    assert len(deaths) == 3
    assert len(set(deaths)) == 1
    record("P6", deaths=len(deaths), given_up_after_s=took, others_refused=0)
