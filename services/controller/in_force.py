"""What readers of the topics have to know, as the catalogue has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from penstock.contracts.assignments import Assignment
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS, Topic
from services.controller.ports import Unit
from services.controller.tenancy import tenant_record


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One record as it has to stand in its topic."""

    topic: Topic
    key: str
    record: TenantRecord | RouteRecord | Assignment

    def as_it_is(self, _sequence: int) -> bytes:
        """Return it with the numbers that it has."""
        return self.record.to_bytes()

    def under(self, epoch: int, sequence: int) -> bytes:
        """Return it as a writer of that epoch tells it under a number of the outbox; its revision stays."""
        record = self.record
        if not isinstance(record, RouteRecord):
            return replace(record, writer_epoch=epoch, sequence=sequence).to_bytes()
        route = record.route
        return RouteRecord(route=replace(route, writer_epoch=epoch, sequence=sequence) if route else None).to_bytes()


async def in_force(unit: Unit, epoch: int) -> AsyncIterator[InForce]:
    """Yield every record, who may call before what there is to call; tenants carry the epoch of whoever tells them."""
    for tenant in await unit.tenants.all():
        yield InForce(topic=TENANTS, key=tenant.name, record=tenant_record(tenant, await unit.keys.of(tenant.name), epoch))
    for held in await unit.routes.all_latest():
        yield InForce(topic=ROUTES, key=held.model, record=RouteRecord(route=held.route))
    for given in await unit.assignments.all_latest():
        yield InForce(topic=ASSIGNMENTS, key=given.worker_id, record=given.assignment)
