"""What accompanies every write: the audit record, the rows of the outbox, the answer kept for a repeated request, the writer's lease."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

FIRST_HASH = "0" * 64
"""What the first audit record follows."""

DONE = "done"
"""Outcome of a change that was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Who changed what, when, from what to what, and why; `hash` covers all of it and the hash before."""

    number: int
    """Place in the chain, from 1."""
    time: float
    actor: str
    action: str
    """What was done, for example `route.weights`."""
    subject: str
    """What it was done to, for example `model/fraud`."""
    outcome: str = DONE
    """DONE, or the reason of the refusal."""
    before: str = ""
    """Canonical JSON; empty for absence."""
    after: str = ""
    """As `before`; what was asked for when it was refused."""
    why: str = ""
    change_id: str = ""
    revision: int = 0
    """Revision that the change made; 0 when it made none."""
    sequence: int = 0
    """Number of its last message in the outbox; 0 when it has none."""
    previous_hash: str = FIRST_HASH
    hash: str = ""

    def sealed(self) -> AuditRecord:
        """Return the record with its hash."""
        return replace(self, hash=self.expected_hash())

    def expected_hash(self) -> str:
        """Return the SHA-256 of every field but the hash; lengths are written before texts, so that nothing can move between fields."""
        held = [getattr(self, each.name) for each in fields(self) if each.name != "hash"]
        parts = [part.hex() if isinstance(part, float) else str(part) for part in held]
        digest = hashlib.sha256()
        for part in parts:
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The newest record of the audit: what an auditor writes down elsewhere to notice that the end was cut off."""

    number: int = 0
    hash: str = FIRST_HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which audit records are asked for."""

    subject: str = ""
    """With all that is inside it: `model/fraud` has `model/fraud/version/3`; empty for all."""
    since_time: float = 0.0
    """At or after it, in seconds since the Unix epoch."""
    before: int | None = None
    """Only records with a smaller number."""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One message that is to be published; `value` None deletes the key from a compacted topic."""

    sequence: int
    topic: str
    key: str
    value: bytes | None
    created_time: float = 0.0
    published_time: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What a request with an idempotency key was answered."""

    scope: str
    """Who sent it: keys of two tenants never meet."""
    key: str
    request_digest: str
    answer: str
    """Canonical JSON."""
    created_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may write: one holder at a time, with an epoch that grows with every take-over."""

    holder: str
    epoch: int
    expires_time: float
    """By the database's clock, in seconds since the Unix epoch."""
