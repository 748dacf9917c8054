"""Operators who may break the glass, and what they sign."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from penstock.contracts.route_records import RouteRecord, route_to_bytes
from penstock.contracts.routes import Route, single
from services.chassis.operator_keys import OperatorKeys
from services.router.routes_in_force import RoutesInForce


class Operator:
    """One operator with a key."""

    def __init__(self, name: str = "alice") -> None:
        self.name = name
        self._key = Ed25519PrivateKey.generate()

    def file(self, folder: Path) -> Path:
        encoded = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()
        path = folder / "operators.toml"
        path.write_text(f'[keys]\n{self.name} = "ed25519:{encoded}"\n')
        return path

    def signed(self, route: Route) -> RouteRecord:
        raw = route_to_bytes(route)
        return RouteRecord(route=route, route_bytes=raw, break_glass=True, signature=self._key.sign(raw), key_id=self.name)


def written(model: str, version: str, revision: int) -> RouteRecord:
    """Return what the controller writes: everything to one version."""
    return RouteRecord(route=single(model, version, revision=revision))


def in_force(keys: OperatorKeys | None = None) -> RoutesInForce:
    return RoutesInForce(keys or OperatorKeys({}), router_id="router", instance_id="router-1", wall_seconds=lambda: 5.0)
