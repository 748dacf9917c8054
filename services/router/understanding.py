"""Understands a request: which deployment it is for, what its inputs are, which parameters it brings.

The name and version bytes a request begins with are looked up as they are; what they stand for is worked out once and forgotten
whenever the routes change. See scan.py and templates.py for the two other shortcuts; a request that fits none of them is parsed
and checked in full.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from penstock.contracts.errors import InvalidInput, ServingError
from services.mesh.route_table import Deployment, RouteTable
from services.router.choosing import ASKED, MOVED, Asking, Choosing, Unit
from services.router.front import Affinity
from services.router.layouts import LayoutBook
from services.router.outcomes import RouterMetrics
from services.router.scan import (
    INPUTS,
    NO_PARAMETERS,
    Parameters,
    id_field,
    interpret,
    is_in_order,
    parameters_in,
    parse,
    scan,
    text_in,
    text_of,
)
from services.router.targets import Target
from services.router.templates import Learnt

KNOWN_LIMIT = 4096
ID_LIMIT = 256
"""Longest request id, in characters."""


Parts = tuple[Target, Learnt, list[bytes], Parameters, bytes, Unit | None]
"""An `Understood` without its names: making a named tuple for every request cost 0.45 of 3.2 µs."""


class Understood(NamedTuple):
    """One request, ready to be admitted."""

    target: Target
    learnt: Learnt
    parts: list[bytes]
    """Raw bytes of each input, in the template's order."""
    parameters: Parameters
    id_field: bytes
    """The id as it goes into the answer."""
    unit: Unit | None = None
    """Why it got its version, where the route had a choice."""


class Known(NamedTuple):
    """What a name and version that requests begin with stand for."""

    model: str
    version: str
    target: Target | None
    """The one that serves everybody; None when it depends on the request."""
    unit: Unit | None


class NotUnderstood(Exception):
    """A request that is refused; carries the model's name and the target as far as they are known."""

    def __init__(self, error: ServingError, model: str, target: Target | None) -> None:
        """Keep them: who may not call the model is refused in other words, and refusals are counted by target."""
        super().__init__(error.message)
        self.error = error
        self.model = model
        self.target = target


class Understanding:
    """Turns payloads into `Understood`."""

    def __init__(self, table: RouteTable, metrics: RouterMetrics, choosing: Choosing | None = None) -> None:
        """Start knowing no names; `choosing` is needed where routes are written."""
        self.targets: dict[tuple[str, str, int], Target] = {}
        self.choosing = choosing or Choosing(table, Random())
        self.layouts = LayoutBook()
        """What whole requests look like, learnt from those that were understood one by one."""
        self._table = table
        self._metrics = metrics
        self._known: dict[bytes, Known] = {}
        self._parameters: dict[bytes, Parameters] = {}

    def forget(self) -> None:
        """Look names up anew: the routes changed."""
        self._known.clear()
        self.layouts.forget()
        for key, target in list(self.targets.items()):
            newest = self._table.deployment(key[0], key[1])
            if newest is not None and newest.is_same(target.deployment):
                target.deployment = newest
                continue
            if newest is None and target.plan is not None and target.plan.route.fallback:
                self.choosing.remember(target.deployment)
            del self.targets[key]

    def follow_route(self, model: str) -> None:
        """Take note that the route of one model changed, so that its next request is decided anew."""
        self._known.clear()
        self.layouts.forget()
        plan = self._table.plan(model)
        if plan is None or not plan.route.fallback:
            self.choosing.forget(model)
        for key in [key for key in self.targets if key[0] == model]:
            self.targets[key] = self.targets[key].under(plan)

    def __call__(self, payload: bytes, tenant: str = "", affinity: Affinity | None = None) -> Parts:
        """Understand a request; the parts are those of `Understood`, in its order.

        Args:
            payload: the request.
            tenant: name of who asks.
            affinity: whom it is for, where headers say so.

        Raises:
            NotUnderstood: it breaks the protocol or its model's signature, or names nothing that is served.
        """
        head = scan(payload)
        if head is None or head[3] != INPUTS:
            return self._in_full(payload, (None, b""), tenant, affinity)
        key_end, id_end, start, _ = head
        known = self._known.get(payload[:key_end])
        identity = payload[key_end:id_end]
        if known is None or not identity.isascii():
            return self._in_full(payload, (start, payload[:key_end]), tenant, affinity)
        model, version, target, unit = known
        parameters = NO_PARAMETERS
        if start != id_end:
            cached = self._parameters.get(payload[id_end:start])
            parameters = cached if cached is not None else self._read_parameters(payload[id_end:start], target)
        if target is None:
            encoded = payload[id_end:start]
            asking = Asking(
                tenant=tenant, affinity=affinity, parameters=parameters, identity=identity, named=lambda name: text_in(encoded, name)
            )
            target, unit = self._chosen(model, version, asking)
        found = target.book.recognise(payload, start)
        if found is None:
            return self._in_full(payload, (start, payload[:key_end]), tenant, affinity, (target, unit))
        if parameters is NO_PARAMETERS and known.target is not None and unit is None:
            self.layouts.learn(payload, key_end, start, target, found[0])
        return target, found[0], found[1], parameters, identity, unit

    def _in_full(
        self,
        payload: bytes,
        place: tuple[int | None, bytes],
        tenant: str,
        affinity: Affinity | None,
        chosen: tuple[Target, Unit | None] | None = None,
    ) -> Parts:
        """Parse a request; `place` is where its inputs begin and the bytes of its name, as far as they are known."""
        start, name = place
        model, target = "", None
        try:
            request = parse(payload)
            if start is not None and not is_in_order(payload, start):
                start, name, chosen = None, b"", None  # what the head says is not all there is to know
            model = request.model_name
            parameters = interpret(request)
            identity = id_field(_checked(request.id))
            asking = Asking(
                tenant=tenant, affinity=affinity, parameters=parameters, identity=identity, named=lambda name: text_of(request, name)
            )
            target, unit = chosen or self._resolved(model, request.model_version, asking)
            learnt, parts = target.book.read(request, payload, start)
        except ServingError as error:
            raise NotUnderstood(error, model, target) from None
        if name and name not in self._known:
            self._remember(name, target, request.model_version, unit)
        return target, learnt, parts, parameters, identity, unit

    def _chosen(self, model: str, version: str, asking: Asking) -> tuple[Target, Unit | None]:
        try:
            return self._resolved(model, version, asking)
        except ServingError as error:
            raise NotUnderstood(error, model, None) from None

    def _resolved(self, model: str, version: str, asking: Asking) -> tuple[Target, Unit | None]:
        plan = self._table.plan(model)
        if plan is None:
            deployment = self._table.resolve(model, version, asking.parameters.routing_key or self.choosing.drawn(asking))
            return self.target_of(deployment, ASKED if version else 0), None
        deployment, step, unit = self.choosing.choose(plan, version, asking)
        return self.target_of(deployment, step), unit

    def target_of(self, deployment: Deployment, step: int = 0) -> Target:
        """Return what the router keeps of a deployment, as what was chosen or as a step of a fallback chain."""
        key = (deployment.model, deployment.version, step)
        target = self.targets.get(key)
        if target is None or not target.deployment.is_same(deployment):
            plan = self._table.plan(deployment.model)
            target = self.targets[key] = Target(deployment, self._metrics.of(key[0], key[1]), plan=plan, step=step)
        elif target.deployment is not deployment:
            target.deployment = deployment
        return target

    def successor_of(self, target: Target) -> Target | None:
        """Return what serves by now in the place of a target that a derived route chose; None if nothing else, or if it was named."""
        found = self._table.successor(target.deployment) if target.plan is None and target.step == 0 else None
        return None if found is None else self.target_of(found, MOVED)

    def _remember(self, name: bytes, target: Target, version: str, unit: Unit | None) -> None:
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        model = target.name
        if target.plan is not None:
            is_fixed = target.plan.is_fixed(version) and target.step <= 0 and bool(target.deployment.replicas)
        else:
            route = self._table.route(model)
            is_fixed = bool(version) or route is None or len(route.backends) == 1
        self._known[name] = Known(model, version, target if is_fixed else None, unit if is_fixed else None)

    def _read_parameters(self, encoded: bytes, target: Target | None) -> Parameters:
        try:
            parameters = parameters_in(encoded)
        except ServingError as error:
            raise NotUnderstood(error, target.name if target is not None else "", target) from None
        if len(self._parameters) >= KNOWN_LIMIT:
            self._parameters.clear()
        self._parameters[encoded] = parameters
        return parameters


def _checked(request_id: str) -> str:
    if len(request_id) > ID_LIMIT or not (request_id.isprintable() or not request_id):
        raise InvalidInput(
            f"the request id has {len(request_id)} characters or control characters; up to {ID_LIMIT} printable ones are allowed",
            reason="BAD_ID",
            field="id",
        )
    return request_id
