"""Audit records, the outbox and kept answers in SQL."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.controller import sql_schema as schema
from services.controller.ledger_values import AuditHead, AuditQuery, AuditRecord, KeptAnswer, Lease, OutboxRow
from services.controller.sql_tables import Rows

_HEAD = select(schema.audit_head.c.number, schema.audit_head.c.hash).subquery()
_NEWEST = select(func.max(schema.outbox.c.sequence).label("sequence")).subquery()
# The head has a row or none, the other side one always: together they are one.
_ENDS = select(_NEWEST.c.sequence, _HEAD.c.number, _HEAD.c.hash).select_from(_NEWEST).outerjoin(_HEAD, true())
_MOVED = update(schema.audit_head)
_FIRST = insert(schema.audit_head)


class Ends:
    """Where the audit's chain and the outbox end, in one transaction: read together and once, for nobody else adds to them meanwhile."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection; nothing is read before it is asked for."""
        self._connection = connection
        self._head: AuditHead | None = None
        self._sequence = 0

    async def head(self) -> AuditHead:
        """Return the newest record of the audit."""
        return self._head or await self._read()

    async def sequence(self) -> int:
        """Return the newest number of the outbox; 0 when there is none."""
        await self.head()
        return self._sequence

    async def add_record(self, head: AuditHead) -> None:
        """Make a record the newest one of the audit."""
        place = {"number": head.number, "hash": head.hash}
        moved = await self._connection.execute(_MOVED, place)
        if moved.rowcount == 0:
            await self._connection.execute(_FIRST, place | {"id": 1})
        await self.head()
        self._head = head

    async def next_sequence(self) -> int:
        """Take the next number of the outbox."""
        self._sequence = await self.sequence() + 1
        return self._sequence

    async def skip_to(self, sequence: int) -> None:
        """Count a number of the outbox as taken, and all below it."""
        self._sequence = max(await self.sequence(), sequence)

    async def _read(self) -> AuditHead:
        row = (await self._connection.execute(_ENDS)).one()
        self._sequence = row.sequence or 0
        self._head = AuditHead() if row.number is None else AuditHead(number=row.number, hash=row.hash)
        return self._head


class SqlAudit:
    """The chain of audit records."""

    def __init__(self, connection: AsyncConnection, ends: Ends) -> None:
        """Keep the connection, and where the chain ends."""
        self._rows = Rows(connection, schema.audit, AuditRecord)
        self._ends = ends

    async def head(self) -> AuditHead:
        """Return where the chain ends."""
        return await self._ends.head()

    async def add(self, record: AuditRecord) -> None:
        """Add a record that follows the head."""
        await self._rows.add(record)
        await self._ends.add_record(AuditHead(number=record.number, hash=record.hash))

    async def after(self, number: int, limit: int) -> tuple[AuditRecord, ...]:
        """Return records after that one, oldest first."""
        column = schema.audit.c.number
        return await self._rows.many(self._rows.query().where(column > number).order_by(column).limit(limit))

    async def matching(self, query: AuditQuery) -> tuple[AuditRecord, ...]:
        """Return what a query asks for, newest first."""
        columns = schema.audit.c
        chosen = self._rows.query().where(columns.time >= query.since_time).order_by(columns.number.desc()).limit(query.limit)
        if query.subject:
            inside = f"{query.subject}/"
            chosen = chosen.where((columns.subject == query.subject) | (func.substr(columns.subject, 1, len(inside)) == inside))
        return await self._rows.many(chosen if query.before is None else chosen.where(columns.number < query.before))


class SqlOutbox:
    """Messages to publish, in order: writers follow one another, so the order of the numbers is the order of the commits."""

    def __init__(self, connection: AsyncConnection, ends: Ends, time: float) -> None:
        """Keep the connection, where the outbox ends, and the time of the transaction."""
        self._rows = Rows(connection, schema.outbox, OutboxRow)
        self._ends = ends
        self._time = time

    async def add(self, topic: str, key: str, encode: Callable[[int], bytes | None]) -> int:
        """Add a message made from its own number, and return the number."""
        sequence = await self._ends.next_sequence()
        await self._rows.add(OutboxRow(sequence=sequence, topic=topic, key=key, value=encode(sequence), created_time=self._time))
        return sequence

    async def newest(self) -> int:
        """Return the number of the newest message; 0 when there was none."""
        return await self._ends.sequence()

    async def skip_to(self, sequence: int) -> None:
        """Number what follows after a number that is on the bus already: a row that nobody publishes holds the place."""
        if sequence > await self._ends.sequence():
            await self._ends.skip_to(sequence)
            await self._rows.add(
                OutboxRow(sequence=sequence, topic="", key="", value=None, created_time=self._time, published_time=self._time)
            )

    async def waiting_keys(self) -> frozenset[tuple[str, str]]:
        """Return topic and key of everything that is not published."""
        columns = schema.outbox.c
        found = await self._rows.connection.execute(select(columns.topic, columns.key).where(columns.published_time.is_(None)).distinct())
        return frozenset((row.topic, row.key) for row in found)

    async def waiting(self, limit: int) -> tuple[OutboxRow, ...]:
        """Return what is not published, oldest first."""
        columns = schema.outbox.c
        return await self._rows.many(self._rows.query().where(columns.published_time.is_(None)).order_by(columns.sequence).limit(limit))

    async def count(self) -> int:
        """Return how much is not published."""
        query = select(func.count()).where(schema.outbox.c.published_time.is_(None))
        return await self._rows.connection.scalar(query) or 0

    async def mark(self, through: int, time: float) -> None:
        """Note that everything up to a number is published."""
        columns = schema.outbox.c
        change = update(schema.outbox).where(columns.published_time.is_(None), columns.sequence <= through)
        await self._rows.connection.execute(change.values(published_time=time))

    async def prune(self, before: float) -> int:
        """Forget what was published before a time and return how much it was; the newest stays, for it is what numbers go on from."""
        columns = schema.outbox.c
        newest = select(func.max(columns.sequence)).scalar_subquery()
        result = await self._rows.connection.execute(
            delete(schema.outbox).where(columns.published_time < before, columns.sequence < newest)
        )
        return result.rowcount


class SqlKeptAnswers:
    """Answers to requests with idempotency keys."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.kept_answers, KeptAnswer)

    async def get(self, scope: str, key: str) -> KeptAnswer | None:
        """Return the answer of that request."""
        columns = schema.kept_answers.c
        return await self._rows.one(columns.scope == scope, columns.key == key)

    async def add(self, kept: KeptAnswer) -> None:
        """Keep an answer."""
        await self._rows.add(kept)

    async def prune(self, before: float) -> int:
        """Forget the older ones and return how many they were."""
        result = await self._rows.connection.execute(delete(schema.kept_answers).where(schema.kept_answers.c.created_time < before))
        return result.rowcount


class SqlLeases:
    """The one lease."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._connection = connection

    async def put(self, lease: Lease) -> None:
        """Write it."""
        await self._connection.execute(update(schema.lease).values(holder=lease.holder, epoch=lease.epoch, expires_time=lease.expires_time))
