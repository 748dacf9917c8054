"""The routes that this router goes by: which record is taken, what it was compiled to, and what the router says of it.

Records come by the feed of the bus or past it (the admin service); both ask `supersedes` first. A break-glass record is verified before
anything else, and one that is refused is counted and logged, for somebody meant it. What the snapshot holds was verified when it came.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from penstock.contracts.errors import TenantForbidden
from penstock.contracts.route_records import RouteRecord, supersedes
from penstock.contracts.router_status import REMEMBERED_ROUTES, AppliedRoute, RouterStatus
from services.chassis.operator_keys import OperatorKeys, check_time
from services.mesh.asked_versions import AskedVersions
from services.mesh.plan import Plan

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RouteCounters:
    """What happened, since the start."""

    applied: int = 0
    break_glass_applied: int = 0
    break_glass_refused: int = 0


class RoutesInForce:
    """Compiled routes by model, and what was applied when."""

    def __init__(self, keys: OperatorKeys, *, router_id: str, instance_id: str, wall_seconds: Callable[[], float] = time.time) -> None:
        """Start without routes."""
        self.counters = RouteCounters()
        self.plans: dict[str, Plan] = {}
        self.asked = AskedVersions(wall_seconds)
        """What was asked for lately although no route sends anybody to it."""
        self.admin_address = ""
        self.is_draining = False
        self._keys = keys
        self._router_id = router_id
        self.instance_id = instance_id
        self._wall_seconds = wall_seconds
        self._records: dict[str, RouteRecord] = {}
        self._recent: deque[AppliedRoute] = deque(maxlen=REMEMBERED_ROUTES)
        self._sequence = 0
        self._revision = 0
        self._listeners: list[Callable[[str], object]] = []

    @property
    def records(self) -> Mapping[str, RouteRecord]:
        """The records in force, by model."""
        return MappingProxyType(self._records)

    def on_change(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the model's name after every change of a route."""
        self._listeners.append(listener)

    def is_admitted(self, raw: bytes, heard_time: float) -> bool:
        """Whether a record of the topic counts; a break-glass record that does not is counted and logged."""
        is_good = self._keys.is_admitted(raw, heard_time)
        self.counters.break_glass_refused += not is_good
        return is_good

    def supersedes(self, new: RouteRecord, held: RouteRecord | None) -> bool:
        """Whether a record that came by the bus is applied."""
        if not new.break_glass:
            return supersedes(new, held)
        try:
            self.check(new)
        except TenantForbidden as error:
            log.error("break_glass_refused", key=new.key_id, model=new.route.model if new.route else "", reason=error.message)  # noqa: TRY400
            return False
        return supersedes(new, held)

    def check_offer(self, record: RouteRecord) -> None:
        """Return when a break-glass record that is offered now is an operator's, and was signed not long ago.

        Raises:
            TenantForbidden: it is not; it was counted.
        """
        self.check(record)
        try:
            check_time(record, self._wall_seconds())
        except TenantForbidden:
            self.counters.break_glass_refused += 1
            raise

    def check(self, record: RouteRecord) -> None:
        """Return when a break-glass record is an operator's.

        Raises:
            TenantForbidden: it is not; it was counted.
        """
        try:
            self._keys.check(record)
        except TenantForbidden:
            self.counters.break_glass_refused += 1
            raise

    def apply(self, model: str, record: RouteRecord | None) -> None:
        """Put a record in force that supersedes the one held; without one, or without a route in it, the model has none any more."""
        route = record.route if record is not None else None
        if route is not None and route.model != model:
            log.error("route_of_another_model", key=model, model=route.model)
            return
        if route is None or record is None:
            self.plans.pop(model, None)
            self._records.pop(model, None)
            self._recent.append(AppliedRoute(model=model, revision=0, change_id=""))
        else:
            self.plans[model] = Plan(route)
            self._records[model] = record
            self._recent.append(AppliedRoute(model=model, revision=route.revision, change_id=route.change_id))
            self._sequence = max(self._sequence, route.sequence)
            if record.break_glass:
                self.counters.break_glass_applied += 1
                log.warning("break_glass_applied", model=model, revision=route.revision, key=record.key_id)
        self.counters.applied += 1
        for listener in self._listeners:
            listener(model)

    def note_use(self, model: str, version: str) -> None:
        """Note that a version answered; what a route sends somebody to needs no further reason to stay."""
        plan = self.plans.get(model)
        backend = plan.backend(version) if plan is not None else None
        if backend is None or not backend.weight_basis_points:
            self.asked.used(model, version)

    def status(self) -> RouterStatus:
        """Return what the router says of itself now."""
        self._revision += 1
        return RouterStatus(
            router_id=self._router_id,
            instance_id=self.instance_id,
            revision=self._revision,
            applied_sequence=self._sequence,
            applied=tuple(self._recent),
            admin_address=self.admin_address,
            draining=self.is_draining,
            observed_time=self._wall_seconds(),
            asked=self.asked.newest(),
            signed_records=tuple(record.to_bytes() for record in self._records.values() if record.break_glass),
        )
