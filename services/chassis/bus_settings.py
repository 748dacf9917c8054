"""How Kafka is reached; apart from what reaches it, so that a process without a bus reads its settings without importing a client."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BusSettings(BaseModel):
    """How to reach Kafka."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = ""
    """`host:port[,host:port]`; empty means that there is no bus: routes come from what workers report, and nothing is published."""
    retry_seconds: float = Field(default=0.2, gt=0, le=60)
    """Shortest wait before a lost broker is tried again; it doubles up to `retry_limit_seconds`."""
    retry_limit_seconds: float = Field(default=2.0, gt=0, le=600)
    """Longest such wait."""

    @property
    def is_set(self) -> bool:
        """Whether there is a bus."""
        return bool(self.bootstrap_servers)
