"""Assignments: which versions a worker is to hold, as the controller decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import DecodeError

from penstock.contracts.artefacts import configured_digest
from penstock.contracts.errors import MalformedBody
from penstock.contracts.names import check_model_name, check_version_name
from penstock.v1 import assignments_pb2 as pb


class Holding(Enum):
    """What a held version is for; the value is its number on the wire."""

    ACTIVE = 1
    STANDBY = 2
    DRAINING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedReplica:
    """One version that a worker is to hold; `config_json` speaks the vocabulary of model.toml."""

    model: str
    version: str
    digest: str
    holding: Holding = Holding.ACTIVE
    config_json: str = ""
    deployment_id: str = ""

    def __post_init__(self) -> None:
        """Refuse names that are not valid."""
        check_model_name(self.model)
        check_version_name(self.version)

    @property
    def loaded_digest(self) -> str:
        """The digest that a worker reports of its replica once the version's files have been read."""
        return configured_digest(self.digest, self.config_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Everything that one worker is to hold, in order of loading; what it does not name is unloaded."""

    worker_id: str
    revision: int
    writer_epoch: int = 0
    sequence: int = 0
    replicas: tuple[AssignedReplica, ...] = ()

    def supersedes(self, held: Assignment | None) -> bool:
        """Whether it takes the place of the one held: of a later writer, or newer of the same one."""
        return held is None or (self.writer_epoch, self.revision) > (held.writer_epoch, held.revision)

    def to_bytes(self) -> bytes:
        """Return the serialised wire form."""
        return pb.Assignment(
            worker_id=self.worker_id,
            revision=self.revision,
            writer_epoch=self.writer_epoch,
            sequence=self.sequence,
            replicas=[
                pb.AssignedReplica(
                    model=replica.model,
                    version=replica.version,
                    digest=replica.digest,
                    holding=f"HOLDING_{replica.holding.name}",
                    config_json=replica.config_json,
                    deployment_id=replica.deployment_id,
                )
                for replica in self.replicas
            ],
        ).SerializeToString()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Assignment:
        """Read the serialised wire form.

        Raises:
            MalformedBody: the bytes are no Assignment, or a holding is unknown.
            InvalidInput: a name is not valid.
        """
        try:
            proto = pb.Assignment.FromString(raw)
            replicas = tuple(
                AssignedReplica(
                    model=replica.model,
                    version=replica.version,
                    digest=replica.digest,
                    holding=Holding(replica.holding),
                    config_json=replica.config_json,
                    deployment_id=replica.deployment_id,
                )
                for replica in proto.replicas
            )
        except (DecodeError, ValueError):
            raise MalformedBody("the bytes are no Assignment that this release knows") from None
        return cls(
            worker_id=proto.worker_id,
            revision=proto.revision,
            writer_epoch=proto.writer_epoch,
            sequence=proto.sequence,
            replicas=replicas,
        )
