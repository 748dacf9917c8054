"""Who calls the controller, and what they may."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

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
    is_viewer: bool = False
    """It may look at everything."""
    is_registrar: bool = False
    """It may register versions of the models that its prefixes allow."""
    models: tuple[str, ...] | None = None
    """Patterns of the models that it may call; None for all."""
    prefixes: tuple[str, ...] = ("",)
    """Starts of the names of models that it may register; none for none."""
    arrived_at: float = 0.0
    """Monotonic seconds."""

    @property
    def sees_all(self) -> bool:
        """Whether answers are not narrowed to what is its own."""
        return self.is_operator or self.is_viewer

    @property
    def may_register(self) -> bool:
        """Whether it may send files and register versions of some model at all."""
        return self.is_operator or self.is_registrar

    def may_see(self, model: str) -> bool:
        """Whether a model is one that it may call, by the patterns that routers go by."""
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)

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
