"""Processes hang, stop and are replaced one after the other; the others go on, and what is hung is ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import invariants as inv
from tests.faults.caller import RETRYING, Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Load, Plan
from tests.faults.oracle import write_models
from tests.faults.truths import held_true
from tests.faults.world import World, status_of, world

HANG_SECONDS = 1.5
SHORT_ROUNDS = 3
LONG_ROUNDS = 100
CONNECTIONS = 12
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def _twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two of everything, and a supervisor with little patience."""
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "p"
    folder.mkdir()
    models = write_models(tmp_path_factory.mktemp("models"), ("alpha", "slow"))
    with world(folder, models, "--set", f"hang_seconds={HANG_SECONDS}", routers=2, plants=("hang-on-signal",)) as running:
        yield running


@pytest.fixture
async def pair(_twice: World) -> World:
    await asyncio.to_thread(_twice.settle)
    return _twice


async def happens(running: World, event: str, count: int) -> None:
    """Wait until an event stands `count` times in the log."""
    await asyncio.to_thread(running.served.until, lambda: len(running.served.events(event)) >= count)


async def test_p9_a_worker_that_hangs_with_the_gil_is_passed_by_and_then_ended(pair: World, ledger: Ledger):
    silences, hangs = len(pair.served.events("link_silent")), len(pair.served.events("child_hung"))
    async with Caller(pair.target, ledger) as caller:
        # A machine that is overrun may be seconds behind with one worker less: nobody is refused for that here.
        load = Load(caller, Plan(rate=60.0, models=("alpha", "slow"), deadline_seconds=20.0))
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(0.4)
        hung = pair.signal("worker-1", signal.SIGUSR2)
        struck_at = time.monotonic()
        await happens(pair, "link_silent", silences + 1)
        ejected = time.monotonic() - struck_at
        await happens(pair, "child_hung", hangs + 1)
        ended = time.monotonic() - struck_at
        await asyncio.to_thread(pair.served.until, lambda: pair.served.child("worker-1") != hung and pair.is_settled())
        back = time.monotonic() - struck_at
        load.stop()
        await loading

    held_true(pair, ledger)
    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    # 0.4 s of silence and a ping; what is above is the machine, which others use as well
    assert ejected < 20.0
    assert HANG_SECONDS - 0.3 <= ended < 20 * HANG_SECONDS
    died = [line for line in pair.served.events("child_died") if line["child"] == "worker-1"][-1]
    assert (died["status"], died["cause"]) == ("SIGKILL", "hung")
    record("P9", ejected_ms=1000 * ejected, killed_after_s=ended, capacity_back_s=back)


async def test_p12_a_stopped_router_keeps_its_connections_waiting_until_it_is_ended_and_the_other_one_goes_on(pair: World, ledger: Ledger):
    hangs = len(pair.served.events("child_hung"))
    callers = [Caller(pair.served.grpc, ledger, connections=1) for _ in range(CONNECTIONS)]
    try:
        assert {(await caller.ask("alpha", 1)).kind for caller in callers} == {Kind.OK}
        pair.signal("router-0", signal.SIGSTOP)
        struck_at = time.monotonic()
        asking = [asyncio.create_task(caller.ask("alpha", 2, deadline_seconds=10.0)) for caller in callers]
        # As many as are connections of the other router: which ones the kernel decides.
        done, waiting = await asyncio.wait(asking, timeout=HANG_SECONDS / 2)
        passed = [task.result().kind for task in done]
        await happens(pair, "child_hung", hangs + 1)
        ended = time.monotonic() - struck_at
        cut = [task.result() for task in (await asyncio.wait(waiting))[0]] if waiting else []
        took = await answered_again(callers, struck_at)
    finally:
        for caller in callers:
            await caller.__aexit__()
    await asyncio.to_thread(pair.settle)

    held_true(pair, ledger, may_be_unknown=True)
    assert set(passed) == {Kind.OK}
    assert cut
    assert {(outcome.kind, outcome.code) for outcome in cut} == {(Kind.UNKNOWN, "UNAVAILABLE")}
    died = [line for line in pair.served.events("child_died") if line["child"] == "router-0"][-1]
    assert (died["status"], died["cause"]) == ("SIGKILL", "stopped")
    record("P12", answered_beside=len(done), cut_off=len(cut), ended_after_s=ended, all_answer_again_s=took)


async def answered_again(callers: list[Caller], since: float) -> float:
    """Ask on every connection until each of them answers; return how long that took."""
    open_callers = list(callers)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while open_callers:
            outcomes = await asyncio.gather(*[caller.ask("alpha", 3, deadline_seconds=2.0) for caller in open_callers])
            open_callers = [caller for caller, outcome in zip(open_callers, outcomes, strict=True) if outcome.kind is not Kind.OK]
            await asyncio.sleep(0.05)
    return time.monotonic() - since


async def test_a_stopped_process_slows_no_scrape_and_is_marked(pair: World):
    stopped = pair.signal("worker-0", signal.SIGSTOP)
    try:
        started = time.monotonic()
        first = await asyncio.to_thread(pair.metrics)
        seconds = time.monotonic() - started
    finally:
        os.kill(stopped, signal.SIGCONT)
    await asyncio.to_thread(pair.served.until, lambda: pair.metrics()['penstock_scrape_stale{process="worker-0"}'] == 0.0)

    assert first['penstock_scrape_stale{process="worker-0"}'] == 1.0
    assert first['penstock_scrape_stale{process="worker-1"}'] == 0.0
    record("scrape beside a stopped worker", seconds=seconds)


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(SHORT_ROUNDS, marks=pytest.mark.timeout(180)),  # one on the function would be the nearer one of both
        pytest.param(LONG_ROUNDS, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_p13_everything_is_restarted_in_turn_and_nobody_sees_it(pair: World, ledger: Ledger, rounds: int):
    async with Caller(pair.served.grpc, ledger, connections=4, options=RETRYING) as caller:
        load = Load(caller, Plan(rate=60.0, models=("alpha", "slow"), rows=(1, 1, 2)))
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(1.0)
        await asyncio.to_thread(restart, pair, "worker-0")
        before = await asyncio.to_thread(pair.held)
        started = time.monotonic()
        for _ in range(rounds):
            for together in zip(pair.workers, pair.routers, strict=True):
                await asyncio.gather(*[asyncio.to_thread(restart, pair, name) for name in together])
        took = (time.monotonic() - started) / rounds
        load.stop()
        await loading
    await asyncio.to_thread(pair.settle)
    after = await asyncio.to_thread(pair.held)

    assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
    held_true(pair, ledger)
    assert [f"{one.invariant} {one.text}" for one in inv.resources_return(before, after, megabytes=48)] == []
    record("P13", rounds=rounds, calls=len(ledger.entries()), seconds_a_round=took)


def restart(running: World, name: str) -> None:
    """Ask a child to end, and wait until its successor serves."""
    former = running.signal(name, signal.SIGTERM)
    running.served.until(lambda: running.served.child(name) != former and is_serving(running, name), seconds=PATIENCE_SECONDS)


def is_serving(running: World, name: str) -> bool:
    """Say whether the present life of a child serves; metrics do not tell, a router between two lives is shown as last seen."""
    process_id, state = running.served.child(name), running.served.state_dir
    if name in running.workers:
        status = status_of(state, name)
        return status is not None and status.process_id == process_id and status.settled
    try:
        return bool(json.loads((state / "ready" / name).read_bytes())["pid"] == process_id)
    except FileNotFoundError:
        return False
