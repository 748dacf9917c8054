"""The wire form of routes, and which of two routes is in force."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from penstock.contracts.errors import MalformedBody
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, KeySource, KillSwitch, Route, RoutingKey, Shadow
from penstock.v1 import routes_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """A route as it stands on the topic; `signature` is over `route_bytes`, and only break-glass records carry one."""

    route: Route | None
    route_bytes: bytes = b""
    break_glass: bool = False
    signature: bytes = b""
    key_id: str = ""

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        return pb.RouteRecord(
            route=self.route_bytes or (route_to_bytes(self.route) if self.route else b""),
            break_glass=self.break_glass,
            signature=self.signature,
            key_id=self.key_id,
        ).SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> RouteRecord:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no RouteRecord.
            InvalidInput: the route breaks its own rules.
        """
        try:
            proto = pb.RouteRecord.FromString(raw)
        except DecodeError:
            raise MalformedBody("the bytes are no RouteRecord") from None
        return cls(
            route=route_from_bytes(proto.route) if proto.route else None,
            route_bytes=proto.route,
            break_glass=proto.break_glass,
            signature=proto.signature,
            key_id=proto.key_id,
        )


def supersedes(new: RouteRecord, held: RouteRecord | None) -> bool:
    """Whether a record takes the place of the one held.

    The higher revision wins; at one revision a break-glass record wins over a normal one, and of two of a kind the first stays. Of two
    normal records that of the writer with the higher fencing epoch wins, whatever the revisions say: an older epoch is a writer that was
    replaced, and a lower revision under a newer epoch comes from a catalogue that was restored from an older copy.
    """
    if new.route is None or held is None or held.route is None:
        return True
    if not new.break_glass and not held.break_glass and new.route.writer_epoch != held.route.writer_epoch:
        return new.route.writer_epoch > held.route.writer_epoch
    if new.route.revision != held.route.revision:
        return new.route.revision > held.route.revision
    return new.break_glass and not held.break_glass


def route_to_bytes(route: Route) -> bytes:
    """Return a route's serialised wire form; the same route gives the same bytes."""
    proto = pb.Route(
        model=route.model,
        revision=route.revision,
        writer_epoch=route.writer_epoch,
        sequence=route.sequence,
        change_id=route.change_id,
        changed_time=route.changed_time,
        backends=[_backend_to_proto(backend) for backend in route.backends],
        routing_key=pb.RoutingKey(
            source=f"KEY_SOURCE_{route.routing_key.source.name}",
            parameter=route.routing_key.parameter,
            salt=route.routing_key.salt,
        ),
        pins=[pb.Pin(tenant=tenant, version=version) for tenant, version in sorted(route.pins.items())],
        aliases=dict(route.aliases),
        fallback=[_step_to_proto(step) for step in route.fallback],
        kill_switches=[pb.KillSwitch(version=switch.version, tenant=switch.tenant) for switch in route.kill_switches],
        frozen=route.frozen,
        previous_backends=[_backend_to_proto(backend) for backend in route.previous],
    )
    if route.shadow is not None:
        proto.shadow.version = route.shadow.version
        proto.shadow.sample_basis_points = route.shadow.sample_basis_points
        proto.shadow.concurrency_limit_requests = route.shadow.concurrency_limit
    return proto.SerializeToString(deterministic=True)


def route_from_bytes(raw: bytes) -> Route:
    """Read a route's serialised wire form.

    Raises:
        MalformedBody: the bytes are no Route.
        InvalidInput: the route breaks its own rules.
    """
    try:
        proto = pb.Route.FromString(raw)
    except DecodeError:
        raise MalformedBody("the bytes are no Route") from None
    return Route(
        model=proto.model,
        revision=proto.revision,
        writer_epoch=proto.writer_epoch,
        sequence=proto.sequence,
        change_id=proto.change_id,
        changed_time=proto.changed_time,
        backends=tuple(_backend_from_proto(backend) for backend in proto.backends),
        routing_key=_key_from_proto(proto.routing_key),
        pins={pin.tenant: pin.version for pin in proto.pins},
        aliases=dict(proto.aliases),
        shadow=_shadow_from_proto(proto.shadow) if proto.HasField("shadow") else None,
        fallback=tuple(_step_from_proto(step) for step in proto.fallback),
        kill_switches=tuple(KillSwitch(version=switch.version, tenant=switch.tenant) for switch in proto.kill_switches),
        frozen=proto.frozen,
        previous=tuple(_backend_from_proto(backend) for backend in proto.previous_backends),
    )


def _backend_to_proto(backend: Backend) -> pb.Backend:
    return pb.Backend(
        version=backend.version,
        weight_basis_points=backend.weight_basis_points,
        attempts=backend.attempts,
        try_timeout_seconds=backend.try_timeout_seconds,
    )


def _backend_from_proto(proto: pb.Backend) -> Backend:
    return Backend(
        version=proto.version,
        weight_basis_points=proto.weight_basis_points,
        attempts=proto.attempts,
        try_timeout_seconds=proto.try_timeout_seconds,
    )


def _key_from_proto(proto: pb.RoutingKey) -> RoutingKey:
    # A source of a later release is drawn by request: the split holds, only stickiness is lost.
    known = {source.value for source in KeySource}
    if proto.source not in known:
        return RoutingKey(salt=proto.salt)
    return RoutingKey(source=KeySource(proto.source), parameter=proto.parameter, salt=proto.salt)


def _shadow_from_proto(proto: pb.Shadow) -> Shadow:
    return Shadow(
        version=proto.version,
        sample_basis_points=proto.sample_basis_points,
        **({"concurrency_limit": proto.concurrency_limit_requests} if proto.concurrency_limit_requests else {}),
    )


def _step_to_proto(step: FallbackStep) -> pb.FallbackStep:
    if step.kind is FallbackKind.VERSION:
        return pb.FallbackStep(version=step.version)
    if step.kind is FallbackKind.CACHED:
        return pb.FallbackStep(cached=True)
    return pb.FallbackStep(declared_response=step.declared_response)


def _step_from_proto(proto: pb.FallbackStep) -> FallbackStep:
    match proto.WhichOneof("kind"):
        case "version":
            return FallbackStep(kind=FallbackKind.VERSION, version=proto.version)
        case "cached":
            return FallbackStep(kind=FallbackKind.CACHED)
        case "declared_response":
            return FallbackStep(kind=FallbackKind.DECLARED, declared_response=proto.declared_response)
        case _:
            raise MalformedBody("a fallback step of a kind that this release does not know")
