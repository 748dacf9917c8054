"""A route made quick: which version answers a request, and why. Pure.

A route is compiled once a revision. In this order: a frozen model answers nobody; a version that was named answers unless it is killed;
a pinned tenant gets its version; else the weights choose by the routing key's bucket. A kill switch stands above all of it: who was
pinned to a killed version, or whose bucket is its, is drawn again among the versions that are left, by the same key and their weights,
and nobody else moves. So a share that grows from 1 % to 5 % keeps the first 1 %, and a kill moves only those whom it must.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate

from penstock.contracts.errors import Unavailable
from penstock.contracts.names import version_order
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, KeySource, Route

LATEST = "latest"
"""Alias of the newest version that has traffic, unless the route gives the name to another."""

_SECOND_DRAW = 0x9E3779B9
_SHADOW_DRAW = 0x7F4A7C15


class Reason(IntEnum):
    """Why a request got its version; the value is its number on the wire (observations.proto)."""

    WEIGHT = 1
    ASKED = 2
    PIN = 3
    FALLBACK = 4
    SHADOW = 5


class Plan:
    """One route, compiled."""

    __slots__ = ("_again", "_killed", "_killed_for", "_shadow_seed", "aliases", "by_version", "keeps_stale", "needs_key", "only", "route")

    def __init__(self, route: Route) -> None:
        """Compile a route."""
        self.route = route
        self.by_version = {backend.version: backend for backend in route.backends}
        self._killed = frozenset(switch.version for switch in route.kill_switches if not switch.tenant)
        self._killed_for = frozenset((switch.version, switch.tenant) for switch in route.kill_switches if switch.tenant)
        self._again: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
        self._shadow_seed = route.seed ^ _SHADOW_DRAW
        serving = [backend.version for backend in route.backends if backend.weight_basis_points]
        self.aliases = {LATEST: max(serving, key=version_order), **route.aliases}
        is_open = not (route.pins or route.kill_switches or route.frozen)
        self.only = serving[0] if len(serving) == 1 and is_open else None
        """The version of everybody who names none; None when it depends on who asks."""
        self.keeps_stale = any(step.kind is FallbackKind.CACHED for step in route.fallback)
        """Whether answers are of use after their time."""
        self.needs_key = route.shadow is not None or self.only is None
        """Whether a request's routing key and tenant matter."""

    @property
    def source(self) -> KeySource:
        """Where the routing key is taken from."""
        return self.route.routing_key.source

    @property
    def has_choice(self) -> bool:
        """Whether it matters who got which version."""
        return len(self.by_version) > 1 or bool(self.route.pins)

    @property
    def needs_unit(self) -> bool:
        """Whether why and by which key a request got its version is to be kept with it."""
        return self.has_choice or self.route.shadow is not None

    def choose(self, tenant: str, routing_key: bytes) -> tuple[str, Reason]:
        """Return the version for a request that names none.

        Raises:
            Unavailable: the model is frozen, or every version with a share is killed.
        """
        route = self.route
        if route.frozen:
            raise _frozen(route.model)
        if route.pins:
            pinned = route.pins.get(tenant)
            if pinned is not None and not self.is_killed(pinned, tenant):
                return pinned, Reason.PIN
        version = route.backends[bisect_right(route.bounds, zlib.crc32(routing_key, route.seed) % WHOLE)].version
        if (self._killed or self._killed_for) and self.is_killed(version, tenant):
            version = self._drawn_again(tenant, routing_key)
        return version, Reason.WEIGHT

    def named(self, name: str, tenant: str) -> str:
        """Return the version that a name stands for.

        Raises:
            Unavailable: the model is frozen, or the version is killed.
        """
        if self.route.frozen:
            raise _frozen(self.route.model)
        version = self.aliases.get(name, name)
        if self.is_killed(version, tenant):
            raise _killed(self.route.model, version)
        return version

    def is_killed(self, version: str, tenant: str) -> bool:
        """Whether a version must not answer a tenant."""
        return version in self._killed or (version, tenant) in self._killed_for

    def is_fixed(self, name: str) -> bool:
        """Whether a name, or none, means the same version whoever asks."""
        if not name:
            return self.only is not None and not self.needs_key
        return not self.route.frozen and not self._killed_for

    def is_shadowed(self, routing_key: bytes) -> bool:
        """Whether the shadow sees a copy; the same keys are sampled while the sample stands."""
        shadow = self.route.shadow
        return shadow is not None and zlib.crc32(routing_key, self._shadow_seed) % WHOLE < shadow.sample_basis_points

    def backend(self, version: str) -> Backend | None:
        """Return what the route says of a version."""
        return self.by_version.get(version)

    def _drawn_again(self, tenant: str, routing_key: bytes) -> str:
        tenant_matters = any(tenant == one for _, one in self._killed_for)
        left = self._again.get(tenant if tenant_matters else "")
        if left is None:
            left = self._again[tenant if tenant_matters else ""] = _left(
                [backend for backend in self.route.backends if not self.is_killed(backend.version, tenant)]
            )
        bounds, versions = left
        if not versions:
            raise all_killed(self.route.model)
        return versions[bisect_right(bounds, zlib.crc32(routing_key, self.route.seed ^ _SECOND_DRAW) % bounds[-1])]


def no_route(model: str) -> Unavailable:
    """Return the refusal of a model that no route was written for."""
    return Unavailable(
        f"model {model!r} has no route: its versions can be called by name, or give it one (penstock traffic set)",
        reason="NO_ROUTE",
        retry_after_seconds=1.0,
    )


def all_killed(model: str) -> Unavailable:
    """Return the refusal of a model of which every version with a share is killed, for everybody or for who asks."""
    return Unavailable(
        f"every version of model {model!r} that has a share is switched off", reason="VERSION_KILLED", retry_after_seconds=5.0
    )


def _left(backends: Sequence[Backend]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    weighted = [backend for backend in backends if backend.weight_basis_points]
    return tuple(accumulate(backend.weight_basis_points for backend in weighted)), tuple(backend.version for backend in weighted)


def _frozen(model: str) -> Unavailable:
    return Unavailable(f"model {model!r} is frozen: it answers nobody for now", reason="MODEL_FROZEN", retry_after_seconds=5.0)


def _killed(model: str, version: str) -> Unavailable:
    return Unavailable(f"version {version!r} of model {model!r} is switched off", reason="VERSION_KILLED", retry_after_seconds=5.0)
