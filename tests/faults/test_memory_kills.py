"""The kernel kills workers for want of memory: it is said so, others are answered, and the version is given up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger, Outcome
from tests.faults.load import Load, Plan
from tests.faults.test_memory import MEBI, asking
from tests.faults.test_models import ABSENT
from tests.faults.truths import held_true
from tests.faults.world import World, status_of, world

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def pair(tmp_path: Path, short_dir: Path) -> Iterator[World]:
    with world(short_dir, oracle.write_models(tmp_path / "models", ("alpha", "hungry"))) as served:
        served.settle()
        yield served


@contextmanager
def memory_groups(names: Iterable[str]) -> Iterator[Mapping[str, Path]]:
    """Make a group for each worker: in one for both the kernel may kill the one that asked for nothing."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(memory_group(f"penstock-{os.getpid()}-{name}", 300 * MEBI)) for name in names}


@contextmanager
def memory_group(name: str, limit_bytes: int) -> Iterator[Path]:
    """Make a control group whose processes the kernel kills beyond a limit; needs root and cgroup v1."""
    group = MEMORY_GROUPS / name
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        yield group
    finally:
        _emptied(group)
        group.rmdir()


def _emptied(group: Path) -> None:
    for process_id in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (MEMORY_GROUPS / "cgroup.procs").write_text(process_id)


def can_limit_memory() -> bool:
    """Say whether this machine lets us have the kernel kill for want of memory."""
    return os.access(MEMORY_GROUPS / "memory.limit_in_bytes", os.R_OK) and os.geteuid() == 0


@pytest.mark.skipif(not can_limit_memory(), reason="needs root and a writable cgroup v1 memory controller")
@pytest.mark.long
@pytest.mark.timeout(200)
async def test_p20_workers_killed_for_lack_of_memory_say_so_and_the_version_is_given_up(pair: World, ledger: Ledger):
    async with Caller(pair.target, ledger) as caller, Caller(pair.target, Ledger(), connections=1) as other:
        load = Load(caller, Plan(rate=40.0, models=("alpha",)))
        loading = asyncio.create_task(load.run())
        with memory_groups(pair.workers) as groups:
            refused = await until_given_up(pair, other, groups)
        await asyncio.sleep(0.5)
        load.stop()
        await loading
        await asyncio.to_thread(pair.served.until, lambda: pair.links_up() == 2)
        for nonce in range(5):
            await caller.ask("alpha", 100_000 + nonce, deadline_seconds=20.0)
    died = [line for line in pair.served.events("child_died") if line["cause"] == "out_of_memory"]

    held_true(pair, ledger)
    # The request that brings the third death is sent once more, to a worker that may not have heard of the verdict yet.
    assert len(died) in {3, 4}
    assert {one.kind for one in refused} == {Kind.FAIL}
    given_up = pair.served.events("version_failed")
    assert [(line["model"], line["version"]) for line in given_up] == [("hungry", "1")]
    assert "killed for lack of memory" in given_up[0]["reason"]
    await asyncio.to_thread(pair.served.until, lambda: all(says_why(pair, name) for name in pair.workers))
    assert pair.metric('penstock_child_deaths_total{cause="out_of_memory"') in {3, 4}
    # Each request kills both workers, one after the other; meanwhile others are told to come back, and then they are answered.
    assert {entry.outcomes[0].reason for entry in ledger.entries() if entry.is_failed} <= ABSENT
    assert [entry for entry in ledger.entries()[-5:] if not entry.is_ok] == []
    lost = sum(not entry.is_ok for entry in ledger.entries())
    record("P20", deaths=len(died), others_refused=lost, others=len(ledger.entries()))


async def until_given_up(pair: World, other: Caller, groups: Mapping[str, Path]) -> list[Outcome]:
    """Ask for too much until the version is given up, one death at a time; workers join their groups as they come."""
    outcomes = []

    def given_up() -> bool:
        return bool(pair.served.events("version_failed"))

    while not given_up():
        for name, group in groups.items():
            (group / "cgroup.procs").write_text(str(pair.served.child(name)))
        deaths = len(pair.served.events("child_died"))
        outcomes.append(await other.send("hungry", asking(2000), deadline_seconds=20.0))
        await asyncio.to_thread(
            pair.served.until,
            lambda: given_up() or (len(pair.served.events("child_died")) > deaths and pair.is_settled()),  # noqa: B023
            seconds=45.0,
        )
    return outcomes


def says_why(pair: World, name: str) -> bool:
    """Say whether a worker's status tells why it does not hold the version."""
    status = status_of(pair.served.state_dir, name)
    return status is not None and any(one.model == "hungry" and "lack of memory" in one.reason for one in status.replicas)
