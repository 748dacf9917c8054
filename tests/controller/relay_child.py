"""A writer with its relay that kills itself at a given place: `python -m tests.controller.relay_child URL FOLDER PLACE`.

Every change is noted in FOLDER/acknowledged once it is answered; FOLDER/bus is what the bus has taken, a number a line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.contracts.topics import ROUTES
from services.chassis.clock import SystemClock
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.lease import LeaseKeeping
from services.controller.ledger_values import OutboxRow
from services.controller.relay_loop import RelayLoop
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine

CHANGES = 6
ROWS = 3
"""Messages of every change."""
DEADLY = 4
"""How often the place is passed before it kills."""


class Death:
    """Kills the process when it comes by a place for the DEADLY-th time."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._passed = 0

    def passes(self, place: str) -> None:
        self._passed += place == self._place
        if self._passed == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)


class FileBus:
    """Takes rows into a file, each safely before the next."""

    def __init__(self, path: Path, death: Death) -> None:
        self._path = path
        self._death = death

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            noted(self._path, str(row.sequence))
            self._death.passes("in_publish")
        self._death.passes("before_mark")


def noted(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


async def main(url: str, folder: Path, place: str) -> None:
    death, engine = Death(place), open_engine(url)
    catalogue = SqlCatalogue(engine)
    # A lease that has run out when the next one looks: nobody was stopped here, somebody died.
    lease = await LeaseKeeping(catalogue, holder=place, life_seconds=0.0).claim(None)
    assert lease is not None
    relay = RelayLoop(catalogue, FileBus(folder / "bus", death), SystemClock(), is_writer=lambda: True)
    changes = Changes(catalogue, epoch=lambda: lease.epoch, committed=lambda: death.passes("after_commit"))
    for number in range(CHANGES):
        await changes.make(Intent(actor="ann"), Command(action="test", answer=str, subject="test", request=number), _work(death))
        noted(folder / "acknowledged", str(number))
        await relay.publish_waiting()
        death.passes("after_mark")
    await engine.dispose()


def _work(death: Death):
    async def work(writing: Writing) -> Made[str]:
        for _ in range(ROWS):
            await writing.publish(ROUTES, "m", lambda number: str(number).encode())
        death.passes("before_commit")
        return Made(value="", before=None, after=writing.change_id)

    return work


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
