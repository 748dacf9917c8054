"""One writer at a time: who holds the lease, by the database's clock and with an epoch that grows with every take-over.

    nobody's, or another's that has run out   take it: epoch + 1
    one's own                                 renew it, even when it has run out: nobody has taken it
    another's                                 stand by
    the bus has heard of a higher epoch       go past it (`catching_up`)

A holder that was stopped and wakes up late finds its epoch gone: the catalogue refuses it inside every transaction, and whoever reads the
topics drops records of an older epoch.
"""

from __future__ import annotations

from dataclasses import replace

from services.controller.ledger_values import Lease
from services.controller.ports import Catalogue


def next_lease(held: Lease | None, mine: Lease | None, wanted: Lease, now: float) -> Lease | None:
    """Return the lease that a holder may write, None while it is another's.

    Args:
        held: what stands in the catalogue.
        mine: what the holder had last, None when it has none.
        wanted: whose it would be, until when, and the least epoch that it may have.
        now: time of the database.
    """
    if held is not None and mine is not None and (held.holder, held.epoch) == (mine.holder, mine.epoch):
        return replace(wanted, epoch=max(held.epoch, wanted.epoch))
    if held is not None and held.expires_time > now:
        return None
    return replace(wanted, epoch=max((held.epoch if held else 0) + 1, wanted.epoch))


class LeaseKeeping:
    """Takes, renews and gives back the lease of one process."""

    def __init__(self, catalogue: Catalogue, *, holder: str, life_seconds: float) -> None:
        """Keep the arguments; `holder` names this process and no other."""
        self._catalogue = catalogue
        self._holder = holder
        self._life_seconds = life_seconds
        self._least_epoch = 1

    def go_past(self, epoch: int) -> None:
        """Have a higher epoch than one that somebody else wrote under, from the next claim on."""
        self._least_epoch = max(self._least_epoch, epoch + 1)

    async def claim(self, mine: Lease | None) -> Lease | None:
        """Take or renew the lease; None while another holds it.

        Raises:
            Unavailable: the database is away.
        """
        async with self._catalogue.writing() as unit:
            wanted = Lease(holder=self._holder, epoch=self._least_epoch, expires_time=unit.time + self._life_seconds)
            lease = next_lease(unit.lease, mine, wanted, unit.time)
            if lease is not None:
                await unit.leases.put(lease)
            return lease

    async def give_back(self, mine: Lease) -> None:
        """Let the next one take over at once."""
        async with self._catalogue.writing() as unit:
            if unit.lease is not None and unit.lease.epoch == mine.epoch:
                await unit.leases.put(Lease(holder=mine.holder, epoch=mine.epoch, expires_time=0.0))
