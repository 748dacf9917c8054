"""Disks that take nothing any more, under everything that a serve keeps: its log, its statuses, its last good state."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Ledger
from tests.faults.load import Plan, asking, more_answers
from tests.faults.world import World, world

pytestmark = pytest.mark.timeout(240)

PLAN = Plan(rate=40.0, models=("alpha",), deadline_seconds=20.0)


async def until(running: World, condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(lambda: running.served.until(condition, seconds=60.0))


@contextmanager
def full_disk(process_ids: list[int]) -> Iterator[None]:
    """Refuse every byte that these processes write into files (EFBIG, as a full disk says ENOSPC); sockets and memory are not files."""
    before = {process_id: resource.prlimit(process_id, resource.RLIMIT_FSIZE) for process_id in process_ids}
    for process_id, (_, hard) in before.items():
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for process_id, limits in before.items():
            resource.prlimit(process_id, resource.RLIMIT_FSIZE, limits)


async def test_h2_h3_with_a_disk_that_takes_nothing_it_serves_on_counts_what_it_lost_and_recovers(
    tmp_path: Path, short_dir: Path, ledger: Ledger
):
    models = oracle.write_models(tmp_path / "models", ("alpha",))
    file = tmp_path / "serve.toml"
    file.write_text('log_level = "info"\n')
    with world(short_dir, models, "--config", str(file)) as running:
        running.settle({"alpha": "1"})
        children = {name: running.served.child(name) for name in (*running.workers, "router-0")}
        async with asking(running.target, ledger, PLAN):
            with full_disk([running.served.process.pid, *children.values()]):
                # A version that comes meanwhile is loaded; nobody can be told of it as long as statuses cannot be written.
                oracle.write_version(running.repository / "alpha", 2)
                await until(running, lambda: running.metric("penstock_log_lines_dropped_total") > 0)
                await more_answers(ledger, 50)
            await until(running, lambda: running.is_settled({"alpha": "2"}))
            await until(running, lambda: bool(running.served.events("log_lines_dropped")))
        async with Caller(running.target, ledger) as caller:
            last = [await caller.ask("alpha", 100_000 + nonce) for nonce in range(5)]

        entries = ledger.entries()
        assert [entry.outcomes for entry in entries if not entry.is_ok] == []
        assert inv.one_terminal_answer(entries) == []
        assert inv.right_answer(entries, oracle.expected) == []
        assert {outcome.version for outcome in last} == {"2"}
        assert {name: running.served.child(name) for name in children} == children
        dropped = running.metric("penstock_log_lines_dropped_total")
        record("H2", calls=len(entries), refused=0, lines_dropped=dropped)
        record("H3", calls=len(entries), refused=0, lines_dropped=dropped)
