"""Which version answers a request whose model has a route, and by which key that was decided.

Only requests for which something is to be decided come here: a route whose answer is the same for everybody is looked up once and then
recognised with the name (understanding.py). The routing key is read where the route says: from what the caller is known by (tenant),
from a request parameter, or from a header. A request that has none is drawn by itself, and counted: whoever splits by user wants to know
how many came without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from penstock.contracts.errors import ServingError, Unavailable
from penstock.contracts.routes import FallbackKind, KeySource
from services.mesh.plan import Plan, Reason
from services.mesh.route_table import Deployment, RouteTable
from services.router.front import Affinity
from services.router.scan import Parameters

USER_PARAMETER = "user"
SESSION_PARAMETER = "session"
ASKED = -1
BARRED = -2
"""Steps of requests that no chain began for: for a named version, and for one that must not answer, not from the cache either."""
MOVED = 1
"""Step of requests that a derived route chose a version for, and then another one; written routes count the steps of their chain."""


class Unit(NamedTuple):
    """Why a request got its version, and by which key."""

    reason: Reason
    key: bytes


class Chosen(NamedTuple):
    """Where a request goes."""

    deployment: Deployment
    step: int
    """ASKED for a named version, 0 for the chosen one, n for what the nth step of the fallback chain put in its place."""
    unit: Unit | None
    """None where the route leaves no choice."""


@dataclass(slots=True, kw_only=True)
class Asking:
    """What is known of who asks, as far as a route may want to know it."""

    tenant: str
    affinity: Affinity | None
    parameters: Parameters
    identity: bytes
    """The request's id, as a field."""
    named: Callable[[str], bytes | None]
    """Reads a request parameter by name; called only when the route wants one."""


@dataclass(slots=True)
class ChoosingCounters:
    """What happened, since the start."""

    keyless: int = 0
    """Requests without the key that their route splits by."""


class Choosing:
    """Chooses by the routes in force."""

    def __init__(self, table: RouteTable, random: Random) -> None:
        """Keep the collaborators."""
        self.counters = ChoosingCounters()
        self._table = table
        self._random = random
        self._last: dict[tuple[str, str], Deployment] = {}

    def choose(self, plan: Plan, version: str, asking: Asking) -> Chosen:
        """Return where a request goes.

        Raises:
            NotFound, Unavailable: nothing may or can answer.
        """
        model = plan.route.model
        if version:
            unit = Unit(Reason.ASKED, b"") if plan.has_choice else None
            return Chosen(self._table.resolve(model, version, tenant=asking.tenant), ASKED, unit)
        key = self._key(plan, asking)
        try:
            chosen, reason = plan.choose(asking.tenant, key)
        except Unavailable as error:
            return self._stood_in(plan, None, Unit(Reason.FALLBACK, key), asking.tenant, error)
        deployment = self._table.deployment(model, chosen)
        if deployment is not None:
            return Chosen(deployment, 0, Unit(reason, key) if plan.needs_unit else None)
        return self._stood_in(plan, chosen, Unit(Reason.FALLBACK, key), asking.tenant, None)

    def drawn(self, asking: Asking) -> bytes:
        """Return what decides for a request without a key: its id, else a draw; one key for all of them would send all to one version."""
        return asking.identity or self._random.getrandbits(64).to_bytes(8, "little")

    def remember(self, deployment: Deployment) -> None:
        """Keep what went away: steps of a fallback chain that need no worker still need to know its inputs."""
        self._last[deployment.model, deployment.version] = replace(deployment, replicas=())

    def forget(self, model: str) -> None:
        """Drop what was kept of a model."""
        for key in [key for key in self._last if key[0] == model]:
            del self._last[key]

    def _stood_in(self, plan: Plan, chosen: str | None, unit: Unit, tenant: str, error: ServingError | None) -> Chosen:
        """Return what answers in the place of a version that is not there, or must not (`chosen` is None)."""
        route = plan.route
        if route.frozen and error is not None:
            raise error
        for number, step in enumerate(route.fallback, start=1):
            if step.kind is not FallbackKind.VERSION:
                break
            found = self._table.deployment(route.model, step.version)
            if found is not None and not plan.is_killed(step.version, tenant):
                return Chosen(found, number, unit)
        version = chosen or route.backends[0].version
        last = self._last.get((route.model, version)) or self._table.deployment(route.model, version)
        if last is not None and route.fallback:
            # It has no replicas, so the mesh refuses it, and the chain goes on from there.
            if chosen is None:
                return Chosen(replace(last, replicas=(), response_cache=False), BARRED, unit)
            return Chosen(last if not last.replicas else replace(last, replicas=()), 0, unit)
        if error is not None:
            raise error
        self._table.resolve(route.model, version, tenant=tenant)
        raise Unavailable(f"no version of model {route.model!r} is there", retry_after_seconds=1.0)

    def _key(self, plan: Plan, asking: Asking) -> bytes:
        if not plan.needs_key:
            return b""
        key = self._stated(plan, asking)
        if key:
            return key
        if plan.source is not KeySource.REQUEST:
            self.counters.keyless += 1
        return self.drawn(asking)

    @staticmethod
    def _stated(plan: Plan, asking: Asking) -> bytes | None:
        affinity = asking.affinity
        match plan.source:
            case KeySource.TENANT:
                return asking.tenant.encode()
            case KeySource.USER:
                return asking.named(USER_PARAMETER) or (affinity.user.encode() if affinity is not None and affinity.user else None)
            case KeySource.SESSION:
                return asking.named(SESSION_PARAMETER) or (affinity.session.encode() if affinity is not None and affinity.session else None)
            case KeySource.PARAMETER:
                return asking.named(plan.route.routing_key.parameter)
            case _:
                return asking.parameters.routing_key
