"""What the use cases need of the catalogue: one unit of work, and in it one collection a kind of value.

A unit is one transaction. Everything read in a writing unit is what it will be at the commit: writers follow one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.controller.ledger_values import AuditHead, AuditQuery, AuditRecord, KeptAnswer, Lease, OutboxRow
from services.controller.model_ports import Aliases, Deployments, Models, Versions
from services.controller.route_values import AssignmentRevision, RouteRevision
from services.controller.tenant_values import ApiKey, Setting, Tenant


class Routes(Protocol):
    """Every revision of every route."""

    async def latest(self, model: str) -> RouteRevision | None:
        """Return the newest revision of a model's route."""
        ...

    async def at(self, model: str, revision: int) -> RouteRevision | None:
        """Return one revision."""
        ...

    async def history(self, model: str, limit: int, before: int | None = None) -> tuple[RouteRevision, ...]:
        """Return revisions older than `before`, newest first."""
        ...

    async def all_latest(self) -> tuple[RouteRevision, ...]:
        """Return the newest revision of every model, by model."""
        ...

    async def since(self, sequence: int, limit: int) -> tuple[RouteRevision, ...]:
        """Return revisions with a later number in the outbox, oldest first."""
        ...

    async def add(self, revision: RouteRevision) -> None:
        """Add a new revision."""
        ...


class Assignments(Protocol):
    """What every worker is to hold, by revision."""

    async def all_latest(self) -> tuple[AssignmentRevision, ...]:
        """Return the newest revision of every worker, by worker."""
        ...

    async def history(self, worker_id: str, limit: int) -> tuple[AssignmentRevision, ...]:
        """Return a worker's revisions, newest first."""
        ...

    async def add(self, revision: AssignmentRevision) -> None:
        """Add a new revision; all but the newest of a worker are forgotten in time."""
        ...


class Tenants(Protocol):
    """Tenants, by name."""

    async def get(self, name: str) -> Tenant | None:
        """Return the tenant of that name."""
        ...

    async def all(self) -> tuple[Tenant, ...]:
        """Return all tenants, by name."""
        ...

    async def add(self, tenant: Tenant) -> None:
        """Add a new tenant."""
        ...

    async def replace(self, tenant: Tenant) -> None:
        """Write all fields of one that is there."""
        ...


class Keys(Protocol):
    """API keys, by id."""

    async def get(self, key_id: str) -> ApiKey | None:
        """Return the key of that id."""
        ...

    async def of(self, tenant: str) -> tuple[ApiKey, ...]:
        """Return a tenant's keys, oldest first."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Add a new key."""
        ...

    async def replace(self, key: ApiKey) -> None:
        """Write all fields of one that is there."""
        ...

    async def used(self, uses: Mapping[str, float]) -> None:
        """Note when keys were last used, by id; an earlier time than the one that is there, and an id that nobody has, change nothing."""
        ...


class Settings(Protocol):
    """Settings of the platform, by name."""

    async def get(self, name: str) -> Setting | None:
        """Return the setting of that name."""
        ...

    async def all(self) -> tuple[Setting, ...]:
        """Return all settings, by name."""
        ...

    async def put(self, setting: Setting) -> None:
        """Add or replace one."""
        ...


class Audit(Protocol):
    """The chain of audit records: it only grows."""

    async def head(self) -> AuditHead:
        """Return where the chain ends."""
        ...

    async def add(self, record: AuditRecord) -> None:
        """Add a record that follows the head."""
        ...

    async def after(self, number: int, limit: int) -> tuple[AuditRecord, ...]:
        """Return records after that one, oldest first."""
        ...

    async def matching(self, query: AuditQuery) -> tuple[AuditRecord, ...]:
        """Return what a query asks for, newest first."""
        ...


class Outbox(Protocol):
    """Messages to publish, in order."""

    async def add(self, topic: str, key: str, encode: Callable[[int], bytes | None]) -> int:
        """Add a message made from its own number, and return the number."""
        ...

    async def newest(self) -> int:
        """Return the number of the newest message; 0 when there was none."""
        ...

    async def skip_to(self, sequence: int) -> None:
        """Number what follows after a number that is on the bus already."""
        ...

    async def waiting_keys(self) -> frozenset[tuple[str, str]]:
        """Return topic and key of everything that is not published."""
        ...

    async def waiting(self, limit: int) -> tuple[OutboxRow, ...]:
        """Return what is not published, oldest first."""
        ...

    async def count(self) -> int:
        """Return how much is not published."""
        ...

    async def mark(self, through: int, time: float) -> None:
        """Note that everything up to a number is published."""
        ...

    async def prune(self, before: float) -> int:
        """Forget what was published before a time, the newest excepted, and return how much it was."""
        ...


class KeptAnswers(Protocol):
    """Answers to requests with idempotency keys."""

    async def get(self, scope: str, key: str) -> KeptAnswer | None:
        """Return the answer of that request."""
        ...

    async def add(self, kept: KeptAnswer) -> None:
        """Keep an answer."""
        ...

    async def prune(self, before: float) -> int:
        """Forget the older ones and return how many they were."""
        ...


class Leases(Protocol):
    """The one lease."""

    async def put(self, lease: Lease) -> None:
        """Write it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One transaction."""

    time: float
    """Of the database, in seconds since the Unix epoch."""
    lease: Lease | None
    """Who may write, as of this transaction."""
    models: Models
    versions: Versions
    aliases: Aliases
    deployments: Deployments
    routes: Routes
    assignments: Assignments
    tenants: Tenants
    keys: Keys
    settings: Settings
    audit: Audit
    outbox: Outbox
    kept_answers: KeptAnswers
    leases: Leases


class Catalogue(Protocol):
    """The only truth."""

    def reading(self) -> AbstractAsyncContextManager[Unit]:
        """Open a unit that sees one state of everything.

        Raises:
            Unavailable: the database cannot be reached.
        """
        ...

    def writing(self, *, keep: bool = True) -> AbstractAsyncContextManager[Unit]:
        """Open a unit that commits when its block ends, and undoes everything when the block raises or nothing is to be kept.

        Raises:
            Unavailable: the database cannot be reached, or went away; whether a commit was done is then unknown.
        """
        ...
