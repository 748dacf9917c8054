"""Settings of `penstock up`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from services.chassis.config import Settings
from services.chassis.logs import Level

NAMES = ("redis", "postgres", "kafka", "temporal")
"""Every kind of server, in the order in which they are started."""

FACES = ("http", "grpc", "metrics", "controller", "controller-http")
"""Ports of the mesh."""

LARGEST_PORT = 65535

Port = Annotated[int, Field(ge=0, le=LARGEST_PORT)]

_ADDRESS = re.compile(r"[A-Za-z0-9_.-]+:\d{1,5}")


class StackSettings(Settings, env_prefix="PENSTOCK_STACK__"):
    """Settings of the supervisor of real servers."""

    name: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    """Name of the stack; several run side by side."""
    state_dir: Path
    """Folder of data, logs and `stack.json`; it is kept."""
    cache_dir: Path
    """Folder of servers that were downloaded or built."""
    servers: tuple[str, ...] = ("redis", "kafka", "temporal")
    """What to start."""
    ports: dict[str, Port] = Field(default_factory=dict[str, int])
    """By server; 0 or no entry takes the port of the last time, or a free one."""
    addresses: dict[str, str] = Field(default_factory=dict[str, str])
    """`host:port` of servers that run already and are only used, by server."""
    mesh: bool = True
    """Start controller, workers and routers as well; they need Kafka."""
    routers: int = Field(default=1, ge=1, le=64)
    """Router processes; they share the ports."""
    workers: int = Field(default=1, ge=1, le=64)
    """Worker processes."""
    runtime_dir: Path | None = None
    """The user's folder in which running serves are listed, so that commands find the mesh; none lists it nowhere."""
    start_seconds: float = Field(default=120.0, gt=0)
    """Longest wait for the first answer of a server, once it is there to be started."""
    log_level: Level = "info"
    """Least level that is logged."""

    @field_validator("servers", "ports", "addresses")
    @classmethod
    def known_servers(cls, value: Any) -> Any:
        """Refuse names that are no server."""
        unknown = sorted(set(value) - {*NAMES, *FACES})
        if unknown:
            raise ValueError(f"no such server: {', '.join(unknown)}; there are {', '.join((*NAMES, *FACES))}")
        return value

    @field_validator("addresses")
    @classmethod
    def whole_addresses(cls, value: dict[str, str]) -> dict[str, str]:
        """Refuse what is not host:port."""
        for name, address in value.items():
            if not _ADDRESS.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) <= LARGEST_PORT:
                raise ValueError(f"{name}: {address!r} is no address; write host:port, with a port from 1 to {LARGEST_PORT}")
        return value

    @property
    def log_path(self) -> Path:
        """The supervisor's own log."""
        return self.state_dir / "logs" / "up.log"
