"""The wire form of tenants: who may call what, and the hashes of their keys."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from penstock.contracts.errors import MalformedBody
from penstock.v1 import tenants_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key, as its hash."""

    key_id: str
    hash: str
    expires_time: float = 0.0
    """Seconds since the Unix epoch; 0 means never."""
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """One tenant as it stands on the topic; `settings_json` speaks the vocabulary of the tenants file."""

    tenant: str
    revision: int
    keys: tuple[KeyRecord, ...] = ()
    settings_json: str = ""
    frozen: bool = False
    writer_epoch: int = 0
    sequence: int = 0

    def supersedes(self, held: TenantRecord | None) -> bool:
        """Whether it takes the place of the one held: of a later writer, or newer of the same one."""
        return held is None or (self.writer_epoch, self.revision) > (held.writer_epoch, held.revision)

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        return pb.Tenant(
            tenant=self.tenant,
            revision=self.revision,
            keys=[pb.TenantKey(key_id=key.key_id, hash=key.hash, expires_time=key.expires_time, revoked=key.revoked) for key in self.keys],
            settings_json=self.settings_json,
            frozen=self.frozen,
            writer_epoch=self.writer_epoch,
            sequence=self.sequence,
        ).SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> TenantRecord:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no Tenant.
        """
        try:
            proto = pb.Tenant.FromString(raw)
        except DecodeError:
            raise MalformedBody("the bytes are no Tenant") from None
        return cls(
            tenant=proto.tenant,
            revision=proto.revision,
            keys=tuple(
                KeyRecord(key_id=key.key_id, hash=key.hash, expires_time=key.expires_time, revoked=key.revoked) for key in proto.keys
            ),
            settings_json=proto.settings_json,
            frozen=proto.frozen,
            writer_epoch=proto.writer_epoch,
            sequence=proto.sequence,
        )
