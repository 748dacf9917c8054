"""Who calls the controller, and what they may."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.controller.changes import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a write says about itself, whatever face it came by."""

    reason: str = ""
    dry_run: bool = False
    expected_revision: int = 0
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody whose credential was recognised."""

    name: str
    """For the audit: tenant and key id."""
    tenant: str
    is_operator: bool
    prefixes: tuple[str, ...] = ("",)
    """Starts of the names of models that may be registered."""
    arrived_at: float = 0.0
    """Monotonic seconds."""

    def arriving(self, at: float) -> Caller:
        """Return the caller of a call that arrived then, in monotonic seconds."""
        return replace(self, arrived_at=at)

    def intent(self, asked: Asked) -> Intent:
        """Return the intent of a write."""
        return Intent(
            actor=self.name,
            why=asked.reason,
            scope=self.tenant,
            idempotency_key=asked.idempotency_key,
            expected_revision=asked.expected_revision or None,
            dry_run=asked.dry_run,
        )
