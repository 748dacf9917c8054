"""Understands a request: which deployment it is for, what its inputs are, which parameters it brings.

The name and version bytes a request begins with are looked up as they are; what they stand for is worked out once and forgotten
whenever the routes change. See scan.py and templates.py for the two other shortcuts; a request that fits none of them is parsed
and checked in full.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.contracts.errors import InvalidInput, ServingError
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.route_table import Deployment, RouteTable
from services.router.layouts import LayoutBook
from services.router.outcomes import RouterMetrics
from services.router.scan import INPUTS, NO_PARAMETERS, Parameters, id_field, interpret, parameters_in, parse, scan
from services.router.targets import Target
from services.router.templates import Learnt

KNOWN_LIMIT = 4096
ID_LIMIT = 256
"""Longest request id, in characters."""


Parts = tuple[Target, Learnt, list[bytes], Parameters, bytes]
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

    def __init__(self, table: RouteTable, metrics: RouterMetrics) -> None:
        """Start knowing no names."""
        self.targets: dict[tuple[str, str], Target] = {}
        self.layouts = LayoutBook()
        """What whole requests look like, learnt from those that were understood one by one."""
        self._table = table
        self._metrics = metrics
        self._known: dict[bytes, tuple[str, str, Target | None]] = {}
        self._parameters: dict[bytes, Parameters] = {}

    def forget(self) -> None:
        """Look names up anew: the routes changed."""
        self._known.clear()
        self.layouts.forget()
        for key, target in list(self.targets.items()):
            newest = self._table.deployment(*key)
            if newest is None or not newest.is_same(target.deployment):
                del self.targets[key]
            else:
                target.deployment = newest

    def __call__(self, payload: bytes) -> Parts:
        """Understand a request; the parts are those of `Understood`, in its order.

        Raises:
            NotUnderstood: it breaks the protocol or its model's signature, or names nothing that is served.
        """
        head = scan(payload)
        if head is None or head[3] != INPUTS:
            return self._in_full(payload, None, b"")
        key_end, id_end, start, _ = head
        known = self._known.get(payload[:key_end])
        identity = payload[key_end:id_end]
        if known is None or not identity.isascii():
            return self._in_full(payload, start, payload[:key_end])
        parameters = NO_PARAMETERS
        if start != id_end:
            cached = self._parameters.get(payload[id_end:start])
            parameters = cached if cached is not None else self._read_parameters(payload[id_end:start], known[2])
        target = known[2] or self._choose(known[0], known[1], parameters, identity)
        found = target.book.recognise(payload, start)
        if found is None:
            return self._in_full(payload, start, payload[:key_end])
        if parameters is NO_PARAMETERS and known[2] is not None:
            self.layouts.learn(payload, key_end, start, target, found[0])
        return target, found[0], found[1], parameters, identity

    def _in_full(self, payload: bytes, start: int | None, name: bytes) -> Parts:
        model, target = "", None
        try:
            request = parse(payload)
            model = request.model_name
            parameters = interpret(request)
            identity = id_field(_checked(request.id))
            target = self._resolve(request, parameters, identity)
            learnt, parts = target.book.read(request, payload, start)
        except ServingError as error:
            raise NotUnderstood(error, model, target) from None
        if name and name not in self._known:
            self._remember(name, request.model_name, request.model_version)
        return target, learnt, parts, parameters, identity

    def _resolve(self, request: pb.ModelInferRequest, parameters: Parameters, identity: bytes) -> Target:
        key = parameters.routing_key or identity
        return self.target_of(self._table.resolve(request.model_name, request.model_version, key))

    def _choose(self, model: str, version: str, parameters: Parameters, identity: bytes) -> Target:
        try:
            return self.target_of(self._table.resolve(model, version, parameters.routing_key or identity))
        except ServingError as error:
            raise NotUnderstood(error, model, None) from None

    def target_of(self, deployment: Deployment) -> Target:
        """Return what the router keeps of a deployment."""
        key = (deployment.model, deployment.version)
        target = self.targets.get(key)
        if target is None or not target.deployment.is_same(deployment):
            target = self.targets[key] = Target(deployment, self._metrics.of(*key))
        return target

    def _remember(self, name: bytes, model: str, version: str) -> None:
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        route = self._table.route(model)
        has_choice = not version and route is not None and len(route.backends) > 1
        only = None if has_choice else self.target_of(self._table.resolve(model, version))
        self._known[name] = (model, version, only)

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
