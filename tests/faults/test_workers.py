"""Workers die, hang, drain and are replaced under load; callers see answers.

The load is an open loop of idempotent calls with one try each, so that nothing a client library does hides a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults import invariants as inv
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Load, Plan, percentile
from tests.faults.oracle import write_models, write_version
from tests.faults.truths import held_true
from tests.faults.world import World, world

pytestmark = pytest.mark.timeout(180)

PLAN = Plan(rate=80.0, models=("alpha", "slow"), rows=(1, 1, 2))
GONE = {"UNAVAILABLE", "NO_READY_REPLICA", "WORKER_LOST", "REPLICA_GONE", "MODEL_LOADING"}


async def under_load(running: World, ledger: Ledger, strike: Callable[[], Awaitable[None]], plan: Plan = PLAN) -> list[inv.Counted]:
    """Ask all the time while `strike` happens; return the router's counters before and after."""
    before = running.counted()
    async with Caller(running.target, ledger) as caller:
        load = Load(caller, plan)
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(0.4)
        await strike()
        await asyncio.sleep(0.4)
        load.stop()
        await loading
    return [before, running.counted()]


def ends_of(running: World, name: str) -> list[str]:
    """Return how the lives of a child have ended, those that ended as they were asked to last."""
    died = [line["status"] for line in running.served.events("child_died") if line["child"] == name]
    return died + ["exit code 0" for line in running.served.events("child_ended") if line["child"] == name]


async def until(running: World, condition: Callable[[], bool]) -> float:
    """Wait for something; return how long it took."""
    started = time.monotonic()
    await asyncio.to_thread(lambda: running.served.until(condition, seconds=60.0))
    return time.monotonic() - started


async def test_p2_a_worker_killed_in_the_middle_of_batches_costs_nobody_an_answer(running: World, ledger: Ledger):
    took = 0.0

    async def kill() -> None:
        nonlocal took
        running.signal("worker-0", signal.SIGKILL)
        await until(running, lambda: running.links_up() == 1)
        took = await until(running, running.is_settled)

    counted = await under_load(running, ledger, kill)

    held_true(running, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    assert inv.amplification(counted) == []
    record("P2", capacity_back_s=took, p50_ms=1000 * percentile(ledger.entries(), 0.5), p99_ms=1000 * percentile(ledger.entries(), 0.99))


async def test_p8_a_stopped_worker_is_out_of_rotation_and_costs_nobody_an_answer(running: World, ledger: Ledger):
    took = 0.0

    async def stop() -> None:
        nonlocal took
        silences = len(running.served.events("link_silent"))
        stopped = running.signal("worker-1", signal.SIGSTOP)
        try:
            # Not by /metrics: whoever collects them waits for the stopped worker too.
            took = await until(running, lambda: len(running.served.events("link_silent")) > silences)
            await asyncio.sleep(0.3)
        finally:
            os.kill(stopped, signal.SIGCONT)
        await until(running, running.is_settled)

    await under_load(running, ledger, stop)

    held_true(running, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    # 0.4 s of silence end it; here only that nobody waits for a deadline
    assert max(entry.seconds for entry in ledger.entries()) < PLAN.deadline_seconds
    record("P8", out_of_rotation_s=took, slowest_ms=1000 * max(entry.seconds for entry in ledger.entries()))


def refused_over_http(running: World) -> tuple[int, str | None]:
    """Ask by HTTP until that is refused or everybody is back; return the status and when to come back."""
    tensor = {"name": "x", "datatype": "INT64", "shape": [1, 4], "data": [1, 1, 1, 1]}
    body, headers = json.dumps({"inputs": [tensor]}).encode(), {"content-type": "application/json"}
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{running.served.http}/v2/models/alpha/infer", body, headers), timeout=30):
                if running.is_settled():
                    return 200, None
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers["retry-after"]


async def test_p5_without_any_worker_callers_are_told_to_come_back_and_then_answered(running: World, ledger: Ledger):
    lifted_at, told = 0.0, (0, None)

    async def kill_all() -> None:
        nonlocal lifted_at, told
        for name in running.workers:
            running.signal(name, signal.SIGKILL)
        lifted_at = time.monotonic()
        await until(running, lambda: running.links_up() == 0)
        told = await asyncio.to_thread(refused_over_http, running)
        await until(running, running.is_settled)
        await asyncio.sleep(1.2)

    await under_load(running, ledger, kill_all)
    lost = [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok]

    held_true(running, ledger)
    assert lost
    assert {outcome.reason for outcome in lost} <= GONE
    assert told == (503, "1")
    took = inv.seconds_to_live(ledger.entries(), lifted_at)
    assert took is not None
    record("P5", answers_again_s=took, refused=len(lost))


async def test_p1_an_idle_worker_that_dies_gets_no_traffic_before_it_is_warm(running: World, ledger: Ledger):
    died = len(running.served.events("child_died"))
    running.signal("worker-0", signal.SIGKILL)
    took = 0.0

    async def wait() -> None:
        nonlocal took
        took = await until(
            running, lambda: len(running.served.events("child_died")) > died and running.links_up() == 2 and running.is_settled()
        )

    await under_load(running, ledger, wait, Plan(rate=80.0))

    held_true(running, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    record("P1", capacity_back_s=took)


@pytest.mark.parametrize(
    ("version", "step"),
    [(2, "replica_loading"), *(pytest.param(*one, marks=pytest.mark.long) for one in ((3, "replica_draining"), (4, "replica_ready")))],
)
async def test_p19_a_hot_swap_and_the_death_of_a_worker_meanwhile_cost_nobody_an_answer(
    running: World, ledger: Ledger, version: int, step: str
):
    def is_at_it() -> bool:
        own = [line for line in running.served.events(step) if line["process_id"] == running.served.child("worker-1")]
        return any(line["model"] == "beta" and (step == "replica_draining" or line["version"] == str(version)) for line in own)

    async def swap() -> None:
        write_version(running.repository / "beta", version)
        await until(running, is_at_it)
        running.signal("worker-1", signal.SIGKILL)
        await until(running, lambda: running.is_settled({"beta": str(version)}))

    await under_load(running, ledger, swap, Plan(rate=80.0, models=("beta",)))

    held_true(running, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    answered_by = {entry.outcomes[0].version for entry in ledger.entries()}
    assert (len(answered_by), max(answered_by)) == (2, str(version))


async def test_p11_a_terminated_router_finishes_what_it_took_and_is_started_again(running: World, ledger: Ledger):
    lifted_at = 0.0

    async def end() -> None:
        nonlocal lifted_at
        before = ends_of(running, "router-0")
        running.signal("router-0", signal.SIGTERM)
        lifted_at = time.monotonic()
        await until(running, lambda: len(ends_of(running, "router-0")) > len(before))
        assert set(ends_of(running, "router-0")[len(before) :]) == {"exit code 0"}
        await until(running, running.is_settled)
        async with asyncio.timeout(60):
            while inv.seconds_to_live([entry for entry in ledger.entries() if entry.outcomes], lifted_at) is None:
                await asyncio.sleep(0.1)

    await under_load(running, ledger, end)
    told = {entry.outcomes[0].reason for entry in ledger.entries() if entry.is_failed}

    held_true(running, ledger, may_be_unknown=True)
    assert told <= {"DRAINING"} | GONE
    # What was not refused was answered, or never reached a router: no call of the old one ends in silence.
    assert {outcome.code for entry in ledger.entries() for outcome in entry.outcomes if outcome.kind is Kind.UNKNOWN} <= {"UNAVAILABLE"}
    record("P11", answers_again_s=inv.seconds_to_live(ledger.entries(), lifted_at) or 0.0)


async def test_p18_without_its_supervisor_nothing_goes_on_running(tmp_path: Path, short_dir: Path):
    with world(short_dir, write_models(tmp_path / "models", ("alpha",))) as running:
        children = [running.served.child(name) for name in (*running.workers, "router-0")]
        running.served.process.kill()
        running.served.process.wait()
        started = time.monotonic()
        while any(_is_alive(process_id) for process_id in children):
            assert time.monotonic() < started + 15.0
            await asyncio.sleep(0.01)
        record("P18", orphans_gone_s=time.monotonic() - started)


async def test_sigterm_finishes_every_call_in_flight_and_leaves_nobody_behind(tmp_path: Path, short_dir: Path, ledger: Ledger):
    with world(short_dir, write_models(tmp_path / "models", ("alpha", "slow")), workers=1) as running:
        children = [running.served.child(name) for name in (*running.workers, "router-0")]

        async def end() -> None:
            running.served.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(running.served.process.wait, 40)

        async with Caller(running.target, ledger) as caller:
            load = Load(caller, PLAN)
            loading = asyncio.create_task(load.run())
            await asyncio.sleep(0.8)
            await end()
            load.stop()
            await loading

        held_true(running, ledger, may_be_unknown=True)
        assert running.served.process.returncode == 0
        assert sum(entry.is_ok for entry in ledger.entries()) >= 40
        assert {entry.outcomes[0].reason for entry in ledger.entries() if entry.is_failed} <= {"DRAINING"}
        assert not [process_id for process_id in children if _is_alive(process_id)]


def _is_alive(process_id: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
