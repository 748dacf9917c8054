"""Short stories that find bugs: each returns what it saw broken, and nothing of a product that is well."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults import invariants as inv
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.ledger import Kind, Ledger
from tests.faults.load import Load, Plan
from tests.faults.world import World

SETTLE_SECONDS = 20.0
MEGABYTES = 52
NOBODY = frozenset({"UNAVAILABLE", "NO_READY_REPLICA", "WORKER_LOST", "REPLICA_GONE", "MODEL_LOADING"})
AT_REST = ("penstock_requests_in_flight", "penstock_link_rows_in_flight")

Story = Callable[[World, Caller], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A story, the models that it needs, and which failures it makes inevitable."""

    story: Story
    models: tuple[str, ...] = ("alpha", "beta")
    excused: frozenset[str] = frozenset()


async def tell(scenario: Scenario, world: World) -> list[str]:
    """Let the story happen and return everything that is wrong after it."""
    ledger = Ledger()
    async with Caller(world.target, ledger, connections=1) as caller:
        found = await scenario.story(world, caller)
    entries = ledger.entries()
    told = [
        *inv.one_terminal_answer(entries),
        *inv.right_answer(entries, oracle.expected),
        *inv.readiness_truth(entries, world.readiness()),
        *inv.error_contract(entries),
    ]
    found += [f"{one.invariant} {one.text}" for one in told]
    failed = {outcome.reason for entry in entries for outcome in entry.outcomes if outcome.kind is Kind.FAIL} - scenario.excused
    found += [f"I7 {reason} without a fault that explains it" for reason in sorted(failed)]
    return found + await asyncio.to_thread(_at_rest, world)


async def burst(_world: World, caller: Caller) -> list[str]:
    """Ask much at once, so that requests share waves, chunks and batches."""
    for start in range(0, 600, 100):
        asked = [
            caller.ask(("alpha", "beta")[nonce % 2], nonce, rows=1 + nonce % 3, deadline_seconds=2.0) for nonce in range(start, start + 100)
        ]
        if any(outcome.kind is not Kind.OK for outcome in await asyncio.gather(*asked)):
            break
    return []


async def heavy(world: World, caller: Caller) -> list[str]:
    """Send many large requests; the workers' memory must come back."""
    await asyncio.gather(*[caller.ask("alpha", nonce, rows=3000, deadline_seconds=30.0) for nonce in range(16)])
    before = world.held()
    for start in range(0, 1600, 16):
        await asyncio.gather(*[caller.ask("alpha", nonce, rows=3000, deadline_seconds=30.0) for nonce in range(start, start + 16)])
    return [f"{one.invariant} {one.text}" for one in inv.resources_return(before, world.held(), megabytes=MEGABYTES)]


async def bad_rows(world: World, caller: Caller) -> list[str]:
    """Send bad rows among good ones, so often that some share a batch with them."""
    bad = oracle.rows_of(1, 1)
    bad[0, 2:] = oracle.BAD_ROW["dividend"], oracle.BAD_ROW["divisor"]
    async with Caller(world.served.grpc, Ledger(), connections=1) as other:
        for _ in range(40):
            guilty = [other.send("fragile", bad) for _ in range(2)]
            await asyncio.gather(
                *[caller.ask("fragile", nonce) for nonce in range(20)], *guilty, *[caller.ask("fragile", 9) for _ in range(20)]
            )
    return []


async def kill(world: World, caller: Caller) -> list[str]:
    """Kill a worker under load."""
    async with _under_load(caller, Plan(rate=150.0, models=("alpha", "slow"))):
        await asyncio.sleep(0.5)
        world.signal("worker-0", signal.SIGKILL)
        await asyncio.sleep(0.7)
    return []


async def kill_all(world: World, caller: Caller) -> list[str]:
    """Kill all workers under load."""
    async with _under_load(caller, Plan(rate=100.0)):
        await asyncio.sleep(0.3)
        for name in world.workers:
            world.signal(name, signal.SIGKILL)
        await asyncio.sleep(0.7)
    return []


async def stop(world: World, caller: Caller) -> list[str]:
    """Stop a worker for longer than anybody may wait."""
    async with _under_load(caller, Plan(rate=80.0, deadline_seconds=2.0)):
        stopped = world.signal("worker-0", signal.SIGSTOP)
        try:
            await asyncio.sleep(3.0)
        finally:
            os.kill(stopped, signal.SIGCONT)
    return []


async def storm(world: World, caller: Caller) -> list[str]:
    """Kill a worker that holds more requests than may be asked again."""
    samples = [world.counted()]
    asking = [asyncio.create_task(caller.ask("slow", nonce, deadline_seconds=30.0)) for nonce in range(900)]
    while samples[-1].sent < samples[0].sent + 850:
        samples.append(await asyncio.to_thread(world.counted))
    world.signal("worker-0", signal.SIGKILL)
    # What a window holds is judged, so a storm that takes longer than a window must be looked at more than once.
    while (await asyncio.wait(asking, timeout=1.0))[1]:
        samples.append(await asyncio.to_thread(world.counted))
    samples.append(world.counted())
    return [f"{one.invariant} {one.text}" for one in inv.amplification(samples)]


async def flood(_world: World, caller: Caller) -> list[str]:
    """Ask for far more than two queues hold."""
    outcomes = await asyncio.gather(*[caller.ask("narrow", nonce, deadline_seconds=30.0) for nonce in range(300)])
    shed = sum(outcome.reason == "REPLICA_OVERLOADED" for outcome in outcomes)
    return [] if shed else [f"O1 300 requests found room in queues of {oracle.QUEUE}"]


async def swap(world: World, caller: Caller) -> list[str]:
    """Deploy a version under load; it has to take over."""
    async with _under_load(caller, Plan(rate=80.0, models=("beta",))):
        await asyncio.to_thread(oracle.write_version, world.repository / "beta", 2)
        try:
            await asyncio.to_thread(world.served.until, lambda: world.is_settled({"beta": "2"}), seconds=SETTLE_SECONDS)
        except AssertionError:
            return ["I17 the new version was not loaded"]
        await asyncio.sleep(1.5)
    last = [entry.outcomes[0].version for entry in caller.ledger.entries()[-20:]]
    return [] if set(last) == {"2"} else [f"I17 after the swap version {sorted(set(last))} answers"]


async def leave(world: World, caller: Caller) -> list[str]:
    """Leave while waiting in the queue; nobody may compute for those who left."""
    before = world.metric('nv_inference_count{model="slow"')
    async with Caller(world.served.grpc, Ledger(), connections=1) as other:
        leaving = [asyncio.create_task(other.ask("slow", nonce, deadline_seconds=30.0)) for nonce in range(300)]
        # The first answer says that the others wait; how many are answered meanwhile is the machine's.
        await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
    await caller.ask("slow", 1, deadline_seconds=30.0)
    await caller.ask("slow", 2, deadline_seconds=30.0)
    computed = world.metric('nv_inference_count{model="slow"') - before
    return [] if computed < 150 else [f"C1 {computed:.0f} of 300 requests were computed after their callers had left"]


async def endless(_world: World, caller: Caller) -> list[str]:
    """Ask for what never ends, on every worker; the next requests must be answered."""
    for_ever = oracle.rows_of(1, 1)
    for_ever[0, 1] = oracle.FOR_EVER
    async with Caller(_world.served.grpc, Ledger(), connections=1) as other:
        for _ in range(4):
            await other.send("endless", for_ever, deadline_seconds=0.3)
    # One by one, so that each chooses its worker for itself.
    for nonce in range(10):
        if (await caller.ask("endless", nonce, deadline_seconds=2.0)).kind is not Kind.OK:
            break
    return []


async def cache(_world: World, caller: Caller) -> list[str]:
    """Ask a cached model different and equal questions."""
    for _ in range(2):
        await asyncio.gather(*[caller.ask("cached", nonce) for nonce in range(30)])
    return []


class _under_load:  # noqa: N801 - reads as the block it is
    """Ask all the time within the block."""

    def __init__(self, caller: Caller, plan: Plan) -> None:
        self._load = Load(caller, plan)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._load.run())

    async def __aexit__(self, *failure: object) -> None:
        self._load.stop()
        await self._task


def _at_rest(world: World) -> list[str]:
    """Return what did not come back: processes, links, and what is counted as in flight."""
    try:
        world.served.until(world.is_settled, seconds=SETTLE_SECONDS)
    except AssertionError:
        return ["I17 the serve did not come back to what it should run"]
    return [f"I12 {name} is {value:g} at rest" for name in AT_REST if (value := world.metric(name))]


SCENARIOS = {
    "burst": Scenario(story=burst),
    "heavy": Scenario(story=heavy, models=("alpha",)),
    "bad_rows": Scenario(story=bad_rows, models=("fragile",)),
    "kill": Scenario(story=kill, models=("alpha", "slow")),
    "kill_all": Scenario(story=kill_all, excused=NOBODY),
    "stop": Scenario(story=stop),
    "storm": Scenario(story=storm, models=("slow",), excused=frozenset({"WORKER_LOST"})),
    "flood": Scenario(story=flood, models=("narrow",), excused=frozenset({"REPLICA_OVERLOADED"})),
    "swap": Scenario(story=swap, models=("beta",)),
    "leave": Scenario(story=leave, models=("slow",)),
    "endless": Scenario(story=endless, models=("endless",)),
    "cache": Scenario(story=cache, models=("cached",)),
}
