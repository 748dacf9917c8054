"""The machine misbehaves: its clock jumps, its processor is elsewhere, its operator writes nonsense into a file."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import onnx
import pytest

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import OPTIONS, Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Plan, asking
from tests.faults.moved_clock import MovedClock
from tests.faults.truths import held_true
from tests.faults.world import World, environment, status_of, world

PLAN = Plan(rate=50.0, models=("alpha",))
HOUR = 3600


async def until(running: World, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    await asyncio.to_thread(lambda: running.served.until(condition, seconds=seconds))


def answered_rightly(ledger: Ledger) -> None:
    """Check every answer; log lines are not looked at, their times are what was moved."""
    entries = ledger.entries()
    assert [entry.outcomes[0] for entry in entries if not entry.is_ok] == []
    assert inv.one_terminal_answer(entries) == []
    assert inv.right_answer(entries, oracle.expected) == []


def logged_hours(running: World, event: str) -> int:
    """Return by how many hours the last line of an event is off."""
    line = running.served.events(event)[-1]
    return round((datetime.fromisoformat(line["time"]).timestamp() - time.time()) / HOUR)


async def test_h1_a_wall_clock_that_jumps_changes_time_stamps_and_nothing_else(tmp_path: Path, short_dir: Path, ledger: Ledger):
    clock = MovedClock(tmp_path)
    with environment(**clock.variables):
        serve = world(short_dir, oracle.write_models(tmp_path / "models", ("alpha", "beta")))
        running = serve.__enter__()
    try:
        running.settle({"alpha": "1", "beta": "1"})
        started = len(running.served.events("child_started"))
        async with asking(running.target, ledger, Plan(rate=50.0, models=("alpha", "beta")), OPTIONS):
            await asyncio.sleep(0.5)
            clock.move(HOUR)
            await asyncio.sleep(1.0)
            clock.move(-HOUR)
            await asyncio.sleep(1.0)
            # A version that is deployed by a clock that went back is newer all the same.
            oracle.write_version(running.repository / "beta", 2)
            await until(running, lambda: running.is_settled({"beta": "2"}))
            assert logged_hours(running, "replica_ready") == -1
            clock.move(0)
            await asyncio.sleep(0.5)
        async with Caller(running.target, ledger) as caller:
            last = [await caller.ask("beta", 50_000 + nonce) for nonce in range(10)]
        clock.move(-HOUR)
        await replaced_in_place(running)

        answered_rightly(ledger)
        assert {outcome.version for outcome in last} == {"2"}
        assert len(running.served.events("child_started")) == started
        assert running.served.events("link_silent") == []
        assert running.served.events("link_lost") == []
        status = status_of(running.served.state_dir, "worker-0")
        assert status is not None
        stamped = {one.model: one.changed_time for one in status.replicas if (one.model, one.version) == ("beta", "2")}
        assert stamped["beta"] < time.time() - 0.5 * HOUR
        record("H1", calls=len(ledger.entries()), refused=0)
    finally:
        serve.__exit__(None, None, None)


async def replaced_in_place(running: World) -> None:
    """Put other files in the place of `beta`'s version 2 and wait until only they answer, although their replicas say they are older."""
    staged = running.repository.parent / "replacing.onnx"
    onnx.save(oracle.graph("beta", 3), staged)
    staged.rename(running.repository / "beta" / "2" / "model.onnx")
    wanted, in_a_row = oracle.expected("beta", "3", 1, 1), 0
    async with Caller(running.target, Ledger()) as caller, asyncio.timeout(30):
        while in_a_row < 40:
            outcome = await caller.ask("beta", 1)
            assert outcome.kind is Kind.OK, outcome
            in_a_row = in_a_row + 1 if outcome.answer == wanted else 0
            await asyncio.sleep(0.01)


async def starve(process_ids: list[int], share: float, seconds: float) -> None:
    """Let processes run for a share of the time only, in turns of 100 ms, as a quota of the kernel does."""
    ends_at = time.monotonic() + seconds
    try:
        while time.monotonic() < ends_at:
            for process_id in process_ids:
                os.kill(process_id, signal.SIGSTOP)
            await asyncio.sleep(0.1 * (1.0 - share))
            for process_id in process_ids:
                os.kill(process_id, signal.SIGCONT)
            await asyncio.sleep(0.1 * share)
    finally:
        for process_id in process_ids:
            os.kill(process_id, signal.SIGCONT)


@pytest.mark.parametrize("seconds", [3.0, pytest.param(20.0, marks=pytest.mark.long)])
async def test_h4_with_a_fifth_of_the_processor_nobody_is_thrown_out_and_everybody_recovers(running: World, ledger: Ledger, seconds: float):
    children = {name: running.served.child(name) for name in (*running.workers, "router-0")}
    died, silences = len(running.served.events("child_died")), len(running.served.events("link_silent"))
    async with asking(running.target, ledger, Plan(rate=30.0, models=("alpha",)), OPTIONS):
        await asyncio.sleep(0.3)
        await starve([running.served.process.pid, *children.values()], 0.2, seconds)
        lifted_at = time.monotonic()
        await until(running, running.is_settled)
        settled_seconds = time.monotonic() - lifted_at
        await asyncio.sleep(1.2)

    held_true(running, ledger)
    entries = ledger.entries()
    refused = [entry.outcomes[0] for entry in entries if not entry.is_ok]
    assert {outcome.reason for outcome in refused} <= {"DEADLINE_EXCEEDED", "REPLICA_OVERLOADED", "OVERLOADED"}
    assert len(refused) <= 0.5 * len(entries), refused
    assert len(running.served.events("child_died")) == died
    assert {name: running.served.child(name) for name in children} == children
    took = inv.seconds_to_live(entries, lifted_at)
    assert took is not None
    ejections = len(running.served.events("link_silent")) - silences
    record("H4", settled_s=settled_seconds, refused_share=len(refused) / len(entries), ejections=ejections, answers_again_s=took)


async def test_h6_a_configuration_of_junk_changes_nothing_and_a_good_one_holds(tmp_path: Path, short_dir: Path, ledger: Ledger):
    file = tmp_path / "serve.toml"
    file.write_text('log_level = "info"\n')
    models = oracle.write_models(tmp_path / "models", ("alpha",))
    with world(short_dir, models, "--config", str(file), workers=1) as running:
        running.settle({"alpha": "1"})
        children = [running.served.child(name) for name in ("worker-0", "router-0")]
        async with asking(running.target, ledger, PLAN, OPTIONS):
            for number, junk in enumerate((b"log_level = ", b"\xff\xfe\0", b'log_level = "loud"\n'), 1):
                file.write_bytes(junk)
                running.served.process.send_signal(signal.SIGHUP)
                await until(running, lambda number=number: len(running.served.events("config_rejected")) >= number)
            assert running.served.events("config_changed") == []
            file.write_text('log_level = "debug"\n')
            running.served.process.send_signal(signal.SIGHUP)
            await until(running, lambda: {line["level"] for line in running.served.events("config_changed")} == {"info"})
            # The supervisor, the router and the worker have it.
            await until(running, lambda: len({line["process_id"] for line in running.served.events("config_changed")}) == 3)

        held_true(running, ledger)
        assert [entry.outcomes[0] for entry in ledger.entries() if not entry.is_ok] == []
        assert {outcome.kind for entry in ledger.entries() for outcome in entry.outcomes} == {Kind.OK}
        assert all(line["problems"] for line in running.served.events("config_rejected"))
        assert [running.served.child(name) for name in ("worker-0", "router-0")] == children
