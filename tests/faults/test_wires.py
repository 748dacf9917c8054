"""Connections between router and worker break in every way that TCP allows; callers see answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Entry, Kind, Ledger
from tests.faults.load import Load, Plan, asking, percentile
from tests.faults.proxy import Toxic
from tests.faults.truths import held_true
from tests.faults.world import World

PLAN = Plan(rate=80.0, models=("alpha", "slow"), rows=(1, 2, 4))


def not_answered(ledger: Ledger) -> Sequence[Entry]:
    return [entry for entry in ledger.entries() if not entry.is_ok]


async def poisoned(running: World, ledger: Ledger, toxic: Toxic, seconds: float, plan: Plan = PLAN) -> list[inv.Counted]:
    """Ask all the time while one link misbehaves; return the router's counters before and after."""
    counted = [running.counted()]
    async with Caller(running.target, ledger) as caller:
        load = Load(caller, plan)
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        running.links["worker-0"].poison(toxic)
        await asyncio.sleep(seconds)
        running.links["worker-0"].heal()
        await asyncio.sleep(0.3)
        load.stop()
        await loading
    return [*counted, running.counted()]


@pytest.mark.parametrize("toxic", [Toxic(hang=True), Toxic(hang_up=True)], ids=["both ways", "towards the worker"])
async def test_n3_a_silent_connection_is_given_up_and_costs_nobody_an_answer(running: World, ledger: Ledger, toxic: Toxic):
    counted = await poisoned(running, ledger, toxic, 1.2)

    held_true(running, ledger)
    assert not_answered(ledger) == []
    assert inv.amplification(counted) == []
    # A silent peer is given up after 0.4 s: nobody waited for a deadline.
    assert max(entry.seconds for entry in ledger.entries()) < PLAN.deadline_seconds
    record("N3", slowest_ms=1000 * max(entry.seconds for entry in ledger.entries()))


async def test_n3_a_connection_that_its_way_forgot_is_replaced_by_another(running: World, ledger: Ledger):
    async with asking(running.target, ledger, PLAN):
        running.links["worker-0"].forget()
        await asyncio.to_thread(lambda: running.served.until(lambda: running.links_up() < len(running.links), seconds=60.0))
        await asyncio.to_thread(lambda: running.served.until(lambda: running.links_up() == len(running.links), seconds=60.0))

    held_true(running, ledger)
    assert not_answered(ledger) == []


async def test_n4_a_reset_connection_costs_nobody_an_answer(running: World, ledger: Ledger):
    counted = await poisoned(running, ledger, Toxic(reset=True), 0.5)

    held_true(running, ledger)
    assert not_answered(ledger) == []
    assert inv.amplification(counted) == []
    record("N4", p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def test_n9_an_answer_in_segments_of_one_byte_is_the_same_answer(running: World, ledger: Ledger):
    for link in running.links.values():
        link.poison(Toxic(slice_bytes=1))
    async with Caller(running.target, ledger) as caller:
        # 2,000 rows: an answer of 80 kB
        outcomes = [await caller.ask("alpha", nonce, rows=2000, deadline_seconds=20.0) for nonce in range(3)]
    running.heal()

    held_true(running, ledger)
    assert {outcome.kind for outcome in outcomes} == {Kind.OK}


async def test_p3_n10_an_answer_that_is_cut_in_the_middle_is_asked_for_again(running: World, ledger: Ledger):
    async with Caller(running.target, ledger) as caller:
        for nonce in range(6):
            running.links["worker-0"].poison(Toxic(limit_bytes=30_000))
            outcome = await caller.ask("alpha", nonce, rows=2000, deadline_seconds=10.0)
            assert outcome.kind is Kind.OK, outcome
    running.heal()

    held_true(running, ledger)


async def test_n10_what_is_always_cut_is_refused_and_never_shortened(running: World, ledger: Ledger):
    for link in running.links.values():
        link.poison(Toxic(limit_bytes=30_000))
    async with Caller(running.target, ledger) as caller:
        outcome = await caller.ask("alpha", 5, rows=2000, deadline_seconds=3.0)
    running.heal()

    held_true(running, ledger)
    assert outcome.reason in {"WORKER_LOST", "NO_READY_REPLICA", "DEADLINE_EXCEEDED"}


async def test_n7_a_client_that_does_not_read_costs_the_router_no_memory(running: World, ledger: Ledger):
    before = running.held()["router-0"].resident_bytes
    running.client.poison(Toxic(bytes_per_second=1000))
    async with Caller(running.target, ledger) as slow, Caller(running.served.grpc, Ledger()) as other, asyncio.TaskGroup() as group:
        for nonce in range(40):
            group.create_task(slow.ask("alpha", nonce, rows=1000, deadline_seconds=1.0))
        started = time.monotonic()
        outcomes = [await other.ask("alpha", nonce) for nonce in range(50)]
        record("N7", others_ms=1000 * (time.monotonic() - started) / 50)
        running.heal()

    held_true(running, ledger, may_be_unknown=True)
    assert {outcome.kind for outcome in outcomes} == {Kind.OK}
    assert running.held()["router-0"].resident_bytes - before < 64 << 20


def test_the_large_answers_of_these_tests_are_large():
    assert len(oracle.expected("alpha", "1", 1, 2000)) * 8 > 64 * 1024
