"""A controller that writes whenever it believes it may: `python -m tests.controller.writer_child URL NAME LOG`.

It is stubborn: once it has held the lease it goes on under that epoch, as a process does that was stopped between looking and writing.
What it was told stands in LOG, a word a line. It stops itself once LOG.between or LOG.inside is there: where no transaction is open, or
in the middle of one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from penstock.contracts.errors import Unavailable
from penstock.contracts.topics import ROUTES
from services.chassis.clock import SystemClock
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.lease import LeaseKeeping
from services.controller.lease_loop import LeaseLoop
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine

LIFE_SECONDS = 2.0
PACE_SECONDS = 0.02


async def main(url: str, name: str, log: Path) -> None:
    engine = open_engine(url)
    catalogue = SqlCatalogue(engine)
    lease = LeaseLoop(
        LeaseKeeping(catalogue, holder=name, life_seconds=LIFE_SECONDS), SystemClock(), life_seconds=LIFE_SECONDS, renew_seconds=0.2
    )
    async with lease.holding():
        await lease.taken()
        first = lease.epoch
        changes = Changes(catalogue, epoch=lambda: first, committed=lambda: None)
        while True:
            try:
                await changes.make(Intent(actor=name), Command(action="test", answer=str, subject="test"), _work(log))
                word = f"wrote {first} {lease.epoch}"
            except Unavailable as refusal:
                word = f"{refusal.reason} {first} {lease.epoch}"
            with log.open("a") as file:
                file.write(word + "\n")
            await asyncio.sleep(PACE_SECONDS)
            if engine.sync_engine.pool.checkedout() == 0:  # type: ignore[attr-defined]
                stopped(log.with_suffix(".between"))


def stopped(wish: Path) -> None:
    """Stop the whole process when it is wished, once."""
    if wish.exists():
        wish.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)


def _work(log: Path):
    async def work(writing: Writing) -> Made[str]:
        await writing.publish(ROUTES, "m", lambda number: str(writing.epoch).encode())
        stopped(log.with_suffix(".inside"))
        return Made(value="", before=None, after=writing.change_id)

    return work


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
