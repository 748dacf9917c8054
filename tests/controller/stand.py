"""A catalogue with its one writer, and short words for what tests do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Route
from penstock.contracts.worker_status import WorkerStatus
from services.controller.catching_up import CatchingUp
from services.controller.changes import Changes, Intent, Outcome
from services.controller.deployment_values import Deployment, DeploymentSpec, DeploymentStatus
from services.controller.deployments import Deployments
from services.controller.lease import LeaseKeeping
from services.controller.ledger_values import AuditQuery, AuditRecord, Lease, OutboxRow
from services.controller.model_values import Version
from services.controller.registry import Description, Registry
from services.controller.republishing import Republishing, TopicLooks
from services.controller.rollback import Rollback
from services.controller.route_values import RouteRevision
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.traffic import Traffic

ANN = Intent(actor="ann", why="because")
DIGEST = "d" * 64


@dataclass
class FakeFleet:
    known: tuple[WorkerStatus, ...] = ()

    def workers(self) -> tuple[WorkerStatus, ...]:
        return self.known


@dataclass
class Stand:
    engine: AsyncEngine
    catalogue: SqlCatalogue
    lease: Lease
    commits: list[None] = field(default_factory=list)
    fleet: FakeFleet = field(default_factory=FakeFleet)

    @property
    def changes(self) -> Changes:
        return Changes(self.catalogue, epoch=lambda: self.lease.epoch, committed=lambda: self.commits.append(None))

    def republishing(self, looks: TopicLooks) -> Republishing:
        return Republishing(self.changes, looks, CatchingUp(self.changes, self))

    async def go_past(self, epoch: int) -> None:
        """Hold the lease under a higher epoch, as the lease loop would."""
        claims = LeaseKeeping(self.catalogue, holder=self.lease.holder, life_seconds=3600)
        claims.go_past(epoch)
        lease = await claims.claim(self.lease)
        assert lease is not None
        self.lease = lease

    @property
    def registry(self) -> Registry:
        return Registry(self.changes)

    @property
    def deployments(self) -> Deployments:
        return Deployments(self.changes, self.fleet)

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.changes)

    async def roll_back(self, model: str, to_version: str = "", intent: Intent = ANN) -> Outcome[RouteRevision]:
        return await Rollback(self.changes).roll_back(model, to_version, intent)

    async def registered(self, model: str, *versions: str) -> None:
        for version in versions:
            await self.registry.register(Version(model=model, version=version, digest=DIGEST), Description(), ANN)

    async def active(self, model: str, *versions: str) -> None:
        """Register versions and have a ready deployment of each, as the placement loop would leave them."""
        await self.registered(model, *versions)
        for version in versions:
            outcome = await self.deployments.create(DeploymentSpec(model=model, version=version), ANN)
            async with self.catalogue.writing() as unit:
                await unit.deployments.replace(replace(outcome.value, status=DeploymentStatus.ACTIVE, ready_time=unit.time))
                await unit.versions.set_healthy(model, version, unit.time)

    async def deployment(self, model: str, version: str) -> Deployment:
        async with self.catalogue.reading() as unit:
            return next(each for each in await unit.deployments.of(model) if each.version == version)

    async def route(self, model: str) -> Route:
        async with self.catalogue.reading() as unit:
            held = await unit.routes.latest(model)
        assert held is not None
        assert held.route is not None
        return held.route

    async def shares(self, model: str) -> dict[str, int]:
        return {backend.version: backend.weight_basis_points for backend in (await self.route(model)).backends}

    async def audit(self, subject: str = "") -> list[AuditRecord]:
        async with self.catalogue.reading() as unit:
            return list(reversed(await unit.audit.matching(AuditQuery(subject=subject, limit=1000))))

    async def outbox(self) -> tuple[OutboxRow, ...]:
        async with self.catalogue.reading() as unit:
            return await unit.outbox.waiting(1000)

    async def published_route(self) -> Route:
        """Return the route of the newest message."""
        value = (await self.outbox())[-1].value
        assert value is not None
        route = RouteRecord.from_bytes(value).route
        assert route is not None
        return route

    async def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement past everything, as somebody with access to the database would."""
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []


@asynccontextmanager
async def standing(url: str) -> AsyncIterator[Stand]:
    engine = open_engine(url)
    try:
        catalogue = SqlCatalogue(engine)
        lease = await LeaseKeeping(catalogue, holder="controller-1", life_seconds=3600).claim(None)
        assert lease is not None
        yield Stand(engine=engine, catalogue=catalogue, lease=lease)
    finally:
        await engine.dispose()
