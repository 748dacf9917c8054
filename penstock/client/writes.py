"""What a write of the controller's client says: about itself, about a version, about how it runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.routes import FallbackKind, FallbackStep
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What a write says about itself."""

    reason: str = ""
    dry_run: bool = False
    expected_revision: int = 0
    """Revision that the caller has seen; 0 does not mind."""
    idempotency_key: str = ""
    """By default one is made, so that a write that is tried again happens once."""

    def options(self) -> pb.WriteOptions:
        """Return the wire form."""
        return pb.WriteOptions(
            idempotency_key=self.idempotency_key or uuid.uuid4().hex,
            dry_run=self.dry_run,
            expected_revision=self.expected_revision,
            reason=self.reason,
        )


PLAIN = Write()
"""A write without further words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file that the controller has, at its place in a version's folder."""

    name: str
    sha256: str
    size: int


Origin = str | Sequence[SentFile]
"""A URL, or files that were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said about a version and its model; what is empty stays as it was."""

    description: str = ""
    owner: str = ""
    framework: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    signature: bytes = b""
    """Ed25519 over `penstock.contracts.version_signatures.signed_text`; empty when the version is not signed."""
    key_id: str = ""
    """Name of the key that signed; empty leaves it to be found."""


NOTHING_SAID = About()
"""Leaves everything as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a version is to run; zeros and empty texts mean the controller's defaults."""

    replicas: int = 1
    gpu_type: str = ""
    traffic_basis_points: int = 0
    config_json: str = ""
    """Settings in the words of model.toml."""
    memory_bytes: int = 0


ONE_REPLICA = Run()
"""One replica as the version itself says."""


def fallback_message(step: FallbackStep) -> routes_pb2.FallbackStep:
    """Return the wire form of a fallback step."""
    match step.kind:
        case FallbackKind.VERSION:
            return routes_pb2.FallbackStep(version=step.version)
        case FallbackKind.CACHED:
            return routes_pb2.FallbackStep(cached=True)
        case FallbackKind.DECLARED:
            return routes_pb2.FallbackStep(declared_response=step.declared_response)
