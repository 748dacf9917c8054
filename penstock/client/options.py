"""How a client behaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.client.retry import RetryPolicy

DEFAULT_TARGET = "127.0.0.1:8001"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of a TLS connection; `certificate` and `key` make it mutual."""

    authority: str
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Settings of a client."""

    api_key: str | None = None
    timeout_seconds: float = 10.0
    """Deadline of a call that names none; retries happen within it."""
    connections: int = 1
    """Connections among which calls are spread; one carries about 100 calls at a time."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    coalesce: bool = False
    """Send calls that wait at the same time, for the same model and shape, as one request."""
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.timeout_seconds <= 0 or self.connections < 1:
            raise ValueError("timeout_seconds must be above 0 and connections at least 1")

    def deadline(self, now: float, timeout_seconds: float | None) -> float:
        """Return when a call that begins `now` (monotonic seconds) ends at the latest."""
        return now + (self.timeout_seconds if timeout_seconds is None else timeout_seconds)
