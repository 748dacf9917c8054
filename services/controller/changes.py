"""The one way to write: state, audit record and messages in one transaction, by the one writer, once for every idempotency key.

    fence → not frozen → asked before? → the change itself → audit → kept answer → commit → wake the relay

A refusal because of the system's state (a stale revision, a rollback with no target) leaves an audit record too: of two people who act
at once, both are seen. What is secret in either is not kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.contracts.errors import AlreadyExists, Conflict, RevisionConflict, Unavailable
from penstock.contracts.topics import Topic
from services.controller.documents import Difference, canonical, differences, digest_of, from_document, read, to_document
from services.controller.ledger_values import AuditRecord, KeptAnswer
from services.controller.ports import Catalogue, Unit
from services.controller.secrecy import audit_text, redacted_text
from services.controller.write_freeze import check_not_frozen

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Who asks for a change, why, and under which conditions."""

    actor: str
    why: str = ""
    scope: str = ""
    """Whose idempotency keys these are: the tenant."""
    idempotency_key: str = ""
    expected_revision: int | None = None
    """Revision of the subject that the caller has seen."""
    dry_run: bool = False
    """Say what would change, and write nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both sides of a conflict of revisions."""

    expected: int
    found: int
    current: object
    """What stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[T]):
    """What is asked for: the same command twice under one idempotency key is one change."""

    action: str
    """For the audit, for example `route.weights`."""
    answer: type[T]
    """What a kept answer is read back as."""
    subject: str
    """What it changes, for example `model/fraud`."""
    request: object = None
    """All that the caller said, for the comparison of repeated requests."""
    is_emergency: bool = False
    """Done while writes are frozen, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Generic[T]):
    """What a change has come to; equal sides mean that there was nothing to do, and nothing is recorded."""

    value: T
    before: object
    after: object
    revision: int = 0
    """Revision that it made; 0 when its subject has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What the caller is told."""

    value: T
    change: AuditRecord | None = None
    """What the audit keeps; None when there was nothing to do."""
    differences: tuple[Difference, ...] = ()
    is_dry_run: bool = False
    is_repeat: bool = False
    """The answer is that of an earlier request with the same idempotency key."""


class Writing:
    """One change in the making."""

    def __init__(self, unit: Unit, intent: Intent, action: str, epoch: int) -> None:
        """Keep the arguments, and give the change its identity."""
        self.unit = unit
        self.intent = intent
        self.action = action
        self.epoch = epoch
        self.change_id = uuid.uuid4().hex
        self.sequence = 0
        """Number of the newest message."""

    @property
    def time(self) -> float:
        """Time of the change, in seconds since the Unix epoch."""
        return self.unit.time

    async def publish(self, topic: Topic, key: str, encode: Callable[[int], bytes | None]) -> int:
        """Put a message, made from its own number, into the outbox; return the number."""
        self.sequence = await self.unit.outbox.add(topic.name, key, encode)
        return self.sequence


Work = Callable[[Writing], Awaitable[Made[T]]]


class Changes:
    """Makes changes."""

    def __init__(self, catalogue: Catalogue, *, epoch: Callable[[], int], committed: Callable[[], None]) -> None:
        """Keep the arguments.

        Args:
            catalogue: where it is written.
            epoch: the fencing epoch of this process's lease; 0 while it has none.
            committed: called after every commit, to wake the relay.
        """
        self._catalogue = catalogue
        self._epoch = epoch
        self._committed = committed

    def reading(self) -> AbstractAsyncContextManager[Unit]:
        """Open a unit to look before a change."""
        return self._catalogue.reading()

    async def check_writer(self) -> None:
        """Refuse, before long work, what could not be written after it; raises Unavailable."""
        async with self.reading() as unit:
            self._fence(unit)

    async def make(self, intent: Intent, command: Command[T], work: Work[T]) -> Outcome[T]:
        """Do the work in one transaction, or do nothing.

        Raises:
            Unavailable: this process is not the writer, or the database is away.
            AlreadyExists: the idempotency key belongs to another request.
            Conflict: writes are frozen, or the work refuses.
        """
        try:
            outcome = await self._attempt(intent, command, work)
        except Conflict as refusal:
            await self._note(refusal, intent, command)
            raise
        if not outcome.is_dry_run:
            self._committed()
        return outcome

    async def _attempt(self, intent: Intent, command: Command[T], work: Work[T]) -> Outcome[T]:
        async with self._catalogue.writing(keep=not intent.dry_run) as unit:
            return await self._done(unit, intent, command, work)

    async def _done(self, unit: Unit, intent: Intent, command: Command[T], work: Work[T]) -> Outcome[T]:
        epoch = self._fence(unit)
        if kept := await _kept(unit, intent, command):
            return kept
        if not command.is_emergency:
            await check_not_frozen(unit)
        writing = Writing(unit, intent, command.action, epoch)
        made = await work(writing)
        changed = differences(made.before, made.after)
        change = await _audit(writing, command, made) if changed else None
        outcome = Outcome(value=made.value, change=change, differences=changed, is_dry_run=intent.dry_run)
        await _keep(unit, intent, command, outcome)
        return outcome

    def within(self, unit: Unit) -> Changes:
        """Return changes that are parts of a greater one: all are made in its unit, or none."""
        return _Parts(self._catalogue, unit, epoch=self._epoch, committed=self._committed)

    def _fence(self, unit: Unit) -> int:
        mine = self._epoch()
        if mine == 0 or unit.lease is None or unit.lease.epoch != mine:
            holder = f"{unit.lease.holder!r} in epoch {unit.lease.epoch}" if unit.lease else "nobody"
            raise Unavailable(
                f"this controller may not write: the writer is {holder}, this one's epoch is {mine}; ask the writer",
                reason="NOT_THE_WRITER",
                retry_after_seconds=1.0,
            )
        return mine

    async def _note(self, refusal: Conflict, intent: Intent, command: Command[T]) -> None:
        if intent.dry_run:
            return
        async with self._catalogue.writing(keep=True) as unit:
            self._fence(unit)
            head = await unit.audit.head()
            record = AuditRecord(
                number=head.number + 1,
                time=unit.time,
                actor=intent.actor,
                action=command.action,
                subject=redacted_text(command.subject),
                outcome=refusal.reason,
                after=audit_text(command.request),
                why=redacted_text(intent.why),
                previous_hash=head.hash,
            )
            await unit.audit.add(record.sealed())


class _Parts(Changes):
    """Changes in a unit that somebody else opened and commits."""

    def __init__(self, catalogue: Catalogue, unit: Unit, *, epoch: Callable[[], int], committed: Callable[[], None]) -> None:
        super().__init__(catalogue, epoch=epoch, committed=committed)
        self._unit = unit

    def reading(self) -> AbstractAsyncContextManager[Unit]:
        return nullcontext(self._unit)

    async def make(self, intent: Intent, command: Command[T], work: Work[T]) -> Outcome[T]:
        return await self._done(self._unit, intent, command, work)


def check_revision(intent: Intent, found: int, current: object) -> None:
    """Refuse a change of something that the caller has not seen as it stands; a caller may say nothing.

    Raises:
        RevisionConflict: it has another revision now.
    """
    if intent.expected_revision is not None and intent.expected_revision != found:
        raise RevisionConflict(
            f"revision {intent.expected_revision} was expected and {found} stands: read it again, then repeat the whole change",
            details=Sides(expected=intent.expected_revision, found=found, current=current),
        )


async def _audit(writing: Writing, command: Command[T], made: Made[T]) -> AuditRecord:
    head = await writing.unit.audit.head()
    record = AuditRecord(
        number=head.number + 1,
        time=writing.time,
        actor=writing.intent.actor,
        action=command.action,
        subject=redacted_text(command.subject),
        before=audit_text(made.before),
        after=audit_text(made.after),
        why=redacted_text(writing.intent.why),
        change_id=writing.change_id,
        revision=made.revision,
        sequence=writing.sequence,
        previous_hash=head.hash,
    ).sealed()
    await writing.unit.audit.add(record)
    return record


async def _kept(unit: Unit, intent: Intent, command: Command[T]) -> Outcome[T] | None:
    if not intent.idempotency_key:
        return None
    kept = await unit.kept_answers.get(intent.scope, intent.idempotency_key)
    if kept is None:
        return None
    if kept.request_digest != _digest(intent, command):
        raise AlreadyExists(
            f"the idempotency key {intent.idempotency_key!r} belongs to another request: use a new one", reason="IDEMPOTENCY_MISMATCH"
        )
    answer = read(_Answer, kept.answer)
    value = from_document(command.answer, answer.value)
    return Outcome(value=value, change=answer.change, differences=answer.differences, is_repeat=True)


async def _keep(unit: Unit, intent: Intent, command: Command[T], outcome: Outcome[T]) -> None:
    if not intent.idempotency_key or intent.dry_run:
        return
    answer = _Answer(value=to_document(outcome.value), change=outcome.change, differences=outcome.differences)
    kept = KeptAnswer(
        scope=intent.scope,
        key=intent.idempotency_key,
        request_digest=_digest(intent, command),
        answer=canonical(answer),
        created_time=unit.time,
    )
    await unit.kept_answers.add(kept)


def _digest(intent: Intent, command: Command[T]) -> str:
    return digest_of([command.action, command.subject, command.request, intent.expected_revision])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    value: object
    change: AuditRecord | None
    differences: tuple[Difference, ...]
