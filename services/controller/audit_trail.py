"""What changed since, and whether anybody has touched the record of it."""

from __future__ import annotations

from collections.abc import Iterable

from services.controller.ledger_values import AuditHead, AuditQuery, AuditRecord
from services.controller.ports import Catalogue

PAGE_RECORDS = 1_000


class AuditTrail:
    """Reads and verifies the chain."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Keep where it stands."""
        self._catalogue = catalogue

    async def changes(self, query: AuditQuery) -> tuple[AuditRecord, ...]:
        """Return the records that are asked for, newest first."""
        async with self._catalogue.reading() as unit:
            return await unit.audit.matching(query)

    async def head(self) -> AuditHead:
        """Return where the chain ends: whoever keeps it elsewhere can tell later that nothing was cut off or written anew."""
        async with self._catalogue.reading() as unit:
            return await unit.audit.head()

    async def broken(self, known: AuditHead | None = None) -> str:
        """Return what is wrong with the chain, from its beginning; empty when it holds.

        Args:
            known: a head that was written down elsewhere earlier, which the chain has to go through.
        """
        async with self._catalogue.reading() as unit:
            last = AuditHead()
            while records := await unit.audit.after(last.number, PAGE_RECORDS):
                if fault := broken_link(last, records, known):
                    return fault
                last = AuditHead(number=records[-1].number, hash=records[-1].hash)
            head = await unit.audit.head()
        if last != head:
            return f"the chain ends with record {last.number}, and record {head.number} was written: the end is gone"
        if known is not None and known.number > last.number:
            return f"the chain ends with record {last.number}, and record {known.number} was known: the end is gone"
        return ""


def broken_link(last: AuditHead, records: Iterable[AuditRecord], known: AuditHead | None = None) -> str:
    """Return the first fault of records that are to follow one; empty when there is none.

    An edited record differs from its hash, a deleted one leaves a gap, a moved one follows the wrong hash.
    """
    for record in records:
        if record.number != last.number + 1:
            return f"record {last.number + 1} is missing: {record.number} follows {last.number}"
        if record.previous_hash != last.hash:
            return f"record {record.number} does not follow record {last.number}: it was moved, or the one before was written anew"
        if record.hash != record.expected_hash():
            return f"record {record.number} was edited: it is not what its hash says"
        if known is not None and record.number == known.number and record.hash != known.hash:
            return f"record {record.number} is another one than was known: the chain was written anew"
        last = AuditHead(number=record.number, hash=record.hash)
    return ""
