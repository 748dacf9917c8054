"""What happened, and who is there: changes, the audit's chain, members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.v1 import controller_pb2 as pb
from services.controller.audit_trail import AuditTrail
from services.controller.callers import Caller
from services.controller.ledger_values import AuditQuery
from services.controller.ports import Catalogue
from services.controller.routers import Routers
from services.controller.servicer_messages import record_message

MOST_CHANGES = 10_000
USUAL_CHANGES = 100


class HeardWorkers(Protocol):
    """The workers that were heard of."""

    def heard(self) -> tuple[tuple[str, str, float], ...]:
        """Return name, instance and monotonic time of the last word of each."""
        ...


class LedgerServicer:
    """Answers for changes, and says who is there."""

    def __init__(self, catalogue: Catalogue, routers: Routers, workers: HeardWorkers, now: Callable[[], float]) -> None:
        """Keep what was written, who reports, and the monotonic clock."""
        self._catalogue = catalogue
        self._trail = AuditTrail(catalogue)
        self._routers = routers
        self._workers = workers
        self._now = now

    async def list_changes(self, _: Caller, request: pb.ListChangesRequest) -> pb.ListChangesResponse:
        """List changes, newest first, and walk the chain when that is asked for."""
        limit = min(request.most_changes or USUAL_CHANGES, MOST_CHANGES)
        query = AuditQuery(subject=request.subject, since_time=request.since_time, limit=limit)
        found = await self._trail.changes(query)
        broken = await self._trail.broken() if request.verify else ""
        return pb.ListChangesResponse(changes=[record_message(record) for record in found], broken=broken)

    async def get_mesh(self, _: Caller, __: pb.GetMeshRequest) -> pb.GetMeshResponse:
        """Show who is there."""
        now = self._now()
        async with self._catalogue.reading() as unit:
            lease, unpublished = unit.lease, await unit.outbox.count()
        members = [pb.Member(role="controller", name=lease.holder, instance_id=f"epoch {lease.epoch}", leader=True)] if lease else []
        members += [
            pb.Member(
                role="router",
                name=one.status.router_id,
                instance_id=one.status.instance_id,
                silent_seconds=now - one.at,
                applied_sequence=one.status.applied_sequence,
            )
            for one in self._routers.all()
        ]
        members += [
            pb.Member(role="worker", name=name, instance_id=instance_id, silent_seconds=now - at)
            for name, instance_id, at in self._workers.heard()
        ]
        return pb.GetMeshResponse(members=members, unpublished=unpublished)
