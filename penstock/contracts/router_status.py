"""What routers report: which routes they have applied, so that a change can be confirmed, and which versions are missed."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from penstock.contracts.errors import MalformedBody
from penstock.v1 import observations_pb2 as pb

REMEMBERED_ROUTES = 64
"""How many of the latest applied routes a status names."""
REMEMBERED_VERSIONS = 64
"""How many of the versions that were asked for it names."""
TOLD_KEYS = 128
"""How many uses of keys it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRoute:
    """A route that a router has applied."""

    model: str
    revision: int
    change_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedVersion:
    """A version that somebody asked for although the route sends nobody to it."""

    model: str
    version: str
    asked_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """That a key opened something in a minute, which `used_time` begins."""

    key_id: str
    used_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterStatus:
    """What one router is and has applied; field meanings and units are those of observations.proto."""

    router_id: str
    instance_id: str
    revision: int = 0
    applied_sequence: int = 0
    applied: tuple[AppliedRoute, ...] = ()
    admin_address: str = ""
    draining: bool = False
    observed_time: float = 0.0
    asked: tuple[AskedVersion, ...] = ()
    signed_records: tuple[bytes, ...] = ()
    key_uses: tuple[KeyUse, ...] = ()

    def has_applied(self, sequence: int, change_id: str) -> bool:
        """Whether a change is in force here: by its number in the outbox, or by name when it came past the controller."""
        if sequence:
            return self.applied_sequence >= sequence
        return any(one.change_id == change_id for one in self.applied)

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        return pb.RouterStatus(
            router_id=self.router_id,
            instance_id=self.instance_id,
            revision=self.revision,
            applied_sequence=self.applied_sequence,
            applied=[pb.AppliedRoute(model=one.model, revision=one.revision, change_id=one.change_id) for one in self.applied],
            admin_address=self.admin_address,
            draining=self.draining,
            observed_time=self.observed_time,
            asked=[pb.AskedVersion(model=one.model, version=one.version, asked_time=one.asked_time) for one in self.asked],
            signed_records=self.signed_records,
            key_uses=[pb.KeyUse(key_id=one.key_id, used_time=one.used_time) for one in self.key_uses],
        ).SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> RouterStatus:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no RouterStatus.
        """
        try:
            proto = pb.RouterStatus.FromString(raw)
        except DecodeError:
            raise MalformedBody("the bytes are no RouterStatus") from None
        return cls(
            router_id=proto.router_id,
            instance_id=proto.instance_id,
            revision=proto.revision,
            applied_sequence=proto.applied_sequence,
            applied=tuple(AppliedRoute(model=one.model, revision=one.revision, change_id=one.change_id) for one in proto.applied),
            admin_address=proto.admin_address,
            draining=proto.draining,
            observed_time=proto.observed_time,
            asked=tuple(AskedVersion(model=one.model, version=one.version, asked_time=one.asked_time) for one in proto.asked),
            signed_records=tuple(proto.signed_records),
            key_uses=tuple(KeyUse(key_id=one.key_id, used_time=one.used_time) for one in proto.key_uses),
        )
