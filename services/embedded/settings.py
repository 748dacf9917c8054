"""Settings of `penstock serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from penstock.contracts.model_config_values import MAX_THREADS
from services.chassis.config import Settings
from services.chassis.logs import Level


class EmbeddedSettings(Settings, env_prefix="PENSTOCK_EMBEDDED__"):
    """Settings of the supervisor; `router` and `worker` hold further settings of its children, under the children's own names."""

    repository: Path
    """Folder of models: `<model>/<version>/model.onnx`, optionally `config.pbtxt` or `model.toml`."""
    host: str = "127.0.0.1"
    """Address that HTTP and gRPC listen on; see `insecure_bind`."""
    insecure_bind: bool = False
    """Let routers listen where other machines reach them without TLS, or without a tenants file."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free port."""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    """0 takes a free port."""
    metrics_host: str = "127.0.0.1"
    """Address of /metrics, which nobody needs a key for: not that of the faces, unless it is named here too."""
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    """0 takes a free port."""
    workers: int = Field(default=1, ge=1, le=64)
    """Worker processes; each serves every model."""
    routers: int = Field(default=1, ge=1, le=64)
    """Router processes; they share the ports."""
    state_dir: Path | None = None
    """Folder of sockets, statuses and overrides; none makes one that goes away with the process."""
    runtime_dir: Path | None = None
    """The user's folder in which running serves are listed; none lists this one nowhere."""
    tenants_file: Path | None = None
    """Tenants, keys and quotas (TOML); none means that everybody may call everything."""
    memory_budget_bytes: int = Field(default=0, ge=0)
    """Memory that the models of one worker may use; 0 means no limit."""
    intra_op_threads: int = Field(default=1, ge=0, le=MAX_THREADS)
    """Threads of one execution; 0 leaves it to ONNX Runtime."""
    repository_poll_seconds: float = Field(default=0.5, gt=0)
    """Time between two looks at the repository."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Longest wait for calls in flight when the process ends."""
    hang_seconds: float = Field(default=5.0, ge=0)
    """A child whose event loop stands still so long is killed and started again; 0 means never."""
    log_level: Level = "info"
    """Least level that is logged, by the children too."""
    router: dict[str, Any] = Field(default_factory=dict)
    """Further settings of every router, for example `message_limit_bytes`."""
    worker: dict[str, Any] = Field(default_factory=dict)
    """Further settings of every worker."""
