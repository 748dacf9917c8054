"""How long a write of the controller takes: `python -m bench.catalogue_writes [MODELS] [WRITES] [URL]`.

A catalogue of so many models, each with two ready versions and a route; then changes of weights and rollbacks, one after the other and
eight at a time, and what placement and a list of everything cost. Without a URL the catalogue is an SQLite file in a folder that goes away.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bench.catalogue_filling import Fleet, filled
from penstock.contracts.routes import WHOLE
from services.controller.changes import Changes, Intent
from services.controller.deployment_values import DeploymentSpec
from services.controller.deployments import Deployments
from services.controller.lease import LeaseKeeping
from services.controller.live import Live
from services.controller.placement import PlacementRounds
from services.controller.rollback import Rollback
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.traffic import Traffic

BENCH = Intent(actor="bench")
Write = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What so many writes took."""

    milliseconds: tuple[float, ...]
    """Of each, in ascending order."""
    cpu_milliseconds: float
    """Of this process, for one write."""
    seconds: float
    """Of all."""

    def quantile(self, share: float) -> float:
        """Return the milliseconds within which a share of the writes was done."""
        return self.milliseconds[min(len(self.milliseconds) - 1, int(len(self.milliseconds) * share))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A catalogue that this process may write."""

    catalogue: SqlCatalogue
    epoch: int
    """Of the lease."""


class Writes:
    """Changes that no two times are the same, over all models in turn."""

    def __init__(self, changes: Changes, models: int) -> None:
        """Keep the arguments; the models are those of `filled`."""
        self._traffic = Traffic(changes)
        self._rollback = Rollback(changes)
        self._models = models

    async def weights(self, number: int) -> None:
        """Give a model's two versions other shares."""
        candidate = 100 + number // self._models % 5_000
        await self._traffic.set_weights(self._name(number), {"1": WHOLE - candidate, "2": candidate}, BENCH)

    async def roll_back(self, number: int) -> None:
        """Put a model's shares back."""
        await self._rollback.roll_back(self._name(number), "", BENCH)

    async def both(self, number: int) -> None:
        """Give other shares and put them back, in turn."""
        await (self.roll_back if number % 2 else self.weights)(number // 2)

    def _name(self, number: int) -> str:
        return f"model-{number % self._models:05}"


@asynccontextmanager
async def catalogue_of(url: str, models: int) -> AsyncGenerator[Held]:
    """Open a catalogue of so many models, to write in.

    Raises:
        SystemExit: somebody else writes there.
    """
    engine = open_engine(url)
    try:
        await migrate(engine)
        catalogue = SqlCatalogue(engine)
        lease = await LeaseKeeping(catalogue, holder="bench", life_seconds=3600).claim(None)
        if lease is None:
            sys.exit("another controller holds the lease of this catalogue")
        await filled(catalogue, models)
        yield Held(catalogue=catalogue, epoch=lease.epoch)
    finally:
        await engine.dispose()


async def measured(count: int, together: int, work: Write) -> Spent:
    """Do so many pieces of work, so many at a time."""
    times: list[float] = []

    async def lane(first: int) -> None:
        for number in range(first, count, together):
            begun = time.perf_counter()
            await work(number)
            times.append((time.perf_counter() - begun) * 1000)

    begun, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane(first) for first in range(together)))
    cpu = (time.process_time() - worked) * 1000 / count
    return Spent(milliseconds=tuple(sorted(times)), cpu_milliseconds=cpu, seconds=time.perf_counter() - begun)


async def main(models: int, writes: int, url: str) -> None:
    """Fill a catalogue, measure, and print."""
    async with catalogue_of(url, models) as held:
        changes = Changes(held.catalogue, epoch=lambda: held.epoch, committed=lambda: None)
        made, fleet = Writes(changes, models), Fleet(models)
        rounds = PlacementRounds(changes, fleet)

        async def deploy(number: int) -> None:
            spec = DeploymentSpec(model=f"model-{number % models:05}", version="3")
            await Deployments(changes, fleet).create(spec, replace(BENCH, dry_run=True))

        print(f"{url.partition(':')[0]}, {models} models, {writes} writes of each kind; milliseconds")
        print(f"{'':34}{'p50':>9}{'p99':>9}{'worst':>9}{'CPU':>9}{'a second':>10}")
        await _shown("weights, one after the other", writes, 1, made.weights)
        await _shown("rollback, one after the other", writes, 1, made.roll_back)
        await _shown("weights, eight at a time", writes, 8, lambda number: made.weights(number + 7 * models))
        await _shown("deployment, dry run", min(writes, models), 1, deploy)
        await _shown("placement, first round", 1, 1, lambda _: rounds.round())
        await _shown("placement, round without change", 5, 1, lambda _: rounds.round())
        await _shown("newest route of every model", 5, 1, lambda _: Live(held.catalogue).routes())


async def _shown(what: str, count: int, together: int, work: Write) -> None:
    spent = await measured(count, together, work)
    quantiles = f"{spent.quantile(0.5):9.2f}{spent.quantile(0.99):9.2f}{spent.milliseconds[-1]:9.2f}"
    print(f"{what:34}{quantiles}{spent.cpu_milliseconds:9.2f}{count / spent.seconds:10.0f}", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        given = arguments[2] if len(arguments) > 2 else f"sqlite+aiosqlite:///{folder}/catalogue.db"
        asyncio.run(main(int(arguments[0]) if arguments else 1_000, int(arguments[1]) if len(arguments) > 1 else 1_000, given))
