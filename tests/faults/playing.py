"""Plays a schedule in a world: load with faults on (safety), load with all of them lifted (liveness), then the checks."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from tests.faults import invariants as inv
from tests.faults.caller import Caller
from tests.faults.ledger import Entry, Kind, Ledger, Phase
from tests.faults.load import Load, Plan, percentile
from tests.faults.oracle import expected
from tests.faults.schedules import UNLOADED_MODEL, Excuses, Fault, Schedule, excuses, stream
from tests.faults.striking import Lift, Striker
from tests.faults.world import World

SAMPLE_SECONDS = 0.5
GRACE_SECONDS = 2.0
LEAVE_BEHIND = ("alpha", "beta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a schedule."""

    schedule: Schedule
    violations: tuple[inv.Violation, ...]
    figures: dict[str, float] = field(default_factory=dict)


@dataclass
class Play:
    """One schedule under way."""

    world: World
    schedule: Schedule
    ledger: Ledger
    lifts: list[Lift] = field(default_factory=list)
    samples: list[inv.Counted] = field(default_factory=list)

    async def run(self) -> Result:
        """Play both phases and check."""
        world, schedule = self.world, self.schedule
        await asyncio.to_thread(world.settle)
        before = world.held()
        async with Caller(world.target, self.ledger, connections=3) as caller, Caller(world.served.grpc, Ledger()) as direct:
            striker, plan = Striker(world, direct), Plan(rate=schedule.rate)
            load = Load(caller, plan, stream(schedule.seed, "requests"), nonces=schedule.seed * 100_000)
            async with asyncio.TaskGroup() as group:
                loading = group.create_task(load.run())
                sampling = group.create_task(self._sample())
                await self._safety(striker)
                lifted_at = time.monotonic()
                self.ledger.phase = Phase.LIVENESS
                await self._until_alive(lifted_at)
                load.stop()
                await loading
                sampling.cancel()
        found: list[inv.Violation] = []
        try:
            await asyncio.to_thread(world.settle)
        except AssertionError:
            found.append(inv.Violation(invariant="I17", text="the serve did not come back to what it should run"))
        else:
            found += inv.resources_return(before, await asyncio.to_thread(_settled_held, world, before))
        return self._judged(found, lifted_at)

    async def _safety(self, striker: Striker) -> None:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in self.schedule.faults:
                group.create_task(self._strike(striker, fault))
            await asyncio.sleep(max(0.0, started + self.schedule.seconds - time.monotonic()))
        for lift in reversed(self.lifts):
            with suppress(grpc.aio.AioRpcError):  # what could not be loaded again shows in the liveness phase
                await lift()
        self.world.heal()

    async def _strike(self, striker: Striker, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        try:
            lift = await striker.strike(fault)
        except grpc.aio.AioRpcError:  # an unload that met other faults; its own refusal is no call of the ledger
            return
        self.lifts.append(lift)
        await asyncio.sleep(fault.seconds)
        self.lifts.remove(lift)
        with suppress(grpc.aio.AioRpcError):
            await lift()

    async def _until_alive(self, lifted_at: float) -> None:
        until = lifted_at + inv.RETURN_SECONDS + GRACE_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(0.25)
            if inv.seconds_to_live([entry for entry in self.ledger.entries() if entry.outcomes], lifted_at) is not None:
                return

    async def _sample(self) -> None:
        while True:
            with suppress(OSError, ValueError, KeyError):
                self.samples.append(await asyncio.to_thread(self.world.counted))
            await asyncio.sleep(SAMPLE_SECONDS)

    def _judged(self, found: list[inv.Violation], lifted_at: float) -> Result:
        entries, allowed = self.ledger.entries(), excuses(self.schedule)
        found += judged(entries, self.world, allowed)
        found += inv.amplification(self.samples)
        found += inv.liveness(entries, lifted_at)
        figures = {
            "calls": len(entries),
            "answered": sum(entry.is_ok for entry in entries),
            "refused": sum(entry.is_failed for entry in entries),
            "p50_ms": round(percentile(entries, 0.50) * 1000, 2),
            "p99_ms": round(percentile(entries, 0.99) * 1000, 2),
            "seconds_to_live": round(inv.seconds_to_live(entries, lifted_at) or 0.0, 3),
        }
        return Result(schedule=self.schedule, violations=tuple(found), figures=figures)


def judged(entries: list[Entry], world: World, allowed: Excuses) -> list[inv.Violation]:
    """Return what the ledger alone shows to be broken."""
    return [
        *inv.one_terminal_answer(entries, may_be_unknown=allowed.unknown),
        *inv.right_answer(entries, expected),
        *inv.readiness_truth(entries, world.readiness()),
        *inv.error_contract(entries),
        *without_excuse(entries, allowed),
    ]


def without_excuse(entries: list[Entry], allowed: Excuses) -> list[inv.Violation]:
    """Return the failures that no fault explains; they count against I7, the blast radius of the faults."""
    found: list[inv.Violation] = []
    for entry in entries:
        for outcome in entry.outcomes:
            reasons = allowed.reasons | (allowed.of_unloaded if entry.intent.model == UNLOADED_MODEL else frozenset())
            if outcome.kind is Kind.FAIL and outcome.reason not in reasons:
                text = f"{entry.intent.model}: {outcome.reason} without a fault that explains it: {outcome.message[:120]}"
                found.append(inv.Violation(invariant="I7", op=entry.intent.op, text=text))
    return found


def play(world: World, schedule: Schedule, ledger_path: Path | None = None) -> Result:
    """Play one schedule; its ledger stays at `ledger_path`."""
    ledger = Ledger(ledger_path)
    try:
        return asyncio.run(Play(world, schedule, ledger).run())
    finally:
        ledger.close()


def _settled_held(world: World, before: dict[str, inv.Held]) -> dict[str, inv.Held]:
    """Return what processes hold once connections that were cut are gone."""
    until = time.monotonic() + 5.0
    while inv.resources_return(before, held := world.held()) and time.monotonic() < until:
        time.sleep(0.1)
    return held
