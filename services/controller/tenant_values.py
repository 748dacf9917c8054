"""What the catalogue knows of tenants, their keys and the settings of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who is limited and pays; `settings` speaks the vocabulary of the tenants file."""

    name: str
    revision: int = 1
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    frozen: bool = False
    """Nothing of it is answered."""
    created_time: float = 0.0
    changed_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, as its hash: the key itself is known to nobody but its holder."""

    key_id: str
    """The part of the key that may be shown."""
    tenant: str
    hash: str
    """In the form that `penstock keys create` prints: `sha256:…` or `hmac-sha256:…`."""
    created_by: str = ""
    created_time: float = 0.0
    expires_time: float | None = None
    revoked_time: float | None = None
    last_used_time: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of the platform."""

    name: str
    value: object
    revision: int = 1
    changed_time: float = 0.0
