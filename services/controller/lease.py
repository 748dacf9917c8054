"""One writer at a time: who holds the lease, by the database's clock and with an epoch that grows with every take-over.

    nobody's, or another's that has run out   take it: epoch + 1
    one's own                                 renew it, even when it has run out: nobody has taken it
    another's                                 stand by

A holder that was stopped and wakes up late finds its epoch gone: the catalogue refuses it inside every transaction, and whoever reads the
topics drops records of an older epoch.
"""

from __future__ import annotations

from services.controller.ledger_values import Lease
from services.controller.ports import Catalogue


def next_lease(held: Lease | None, mine: Lease | None, holder: str, expires_time: float, now: float) -> Lease | None:
    """Return the lease that a holder may write, None while it is another's.

    Args:
        held: what stands in the catalogue.
        mine: what the holder had last, None when it has none.
        holder: identity of the process.
        expires_time: until when it would hold.
        now: time of the database.
    """
    if held is not None and mine is not None and (held.holder, held.epoch) == (mine.holder, mine.epoch):
        return Lease(holder=holder, epoch=held.epoch, expires_time=expires_time)
    if held is not None and held.expires_time > now:
        return None
    return Lease(holder=holder, epoch=(held.epoch if held else 0) + 1, expires_time=expires_time)


class LeaseKeeping:
    """Takes, renews and gives back the lease of one process."""

    def __init__(self, catalogue: Catalogue, *, holder: str, life_seconds: float) -> None:
        """Keep the arguments; `holder` names this process and no other."""
        self._catalogue = catalogue
        self._holder = holder
        self._life_seconds = life_seconds

    async def claim(self, mine: Lease | None) -> Lease | None:
        """Take or renew the lease; None while another holds it.

        Raises:
            Unavailable: the database is away.
        """
        async with self._catalogue.writing() as unit:
            lease = next_lease(unit.lease, mine, self._holder, unit.time + self._life_seconds, unit.time)
            if lease is not None:
                await unit.leases.put(lease)
            return lease

    async def give_back(self, mine: Lease) -> None:
        """Let the next one take over at once."""
        async with self._catalogue.writing() as unit:
            if unit.lease is not None and unit.lease.epoch == mine.epoch:
                await unit.leases.put(Lease(holder=mine.holder, epoch=mine.epoch, expires_time=0.0))
