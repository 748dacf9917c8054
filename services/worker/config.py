"""Settings of a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from services.chassis.config import Settings
from services.chassis.logs import Level


class WorkerSettings(Settings, env_prefix="PENSTOCK_WORKER__"):
    """Settings of a worker process."""

    worker_id: str = Field(default="worker-0", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Stable name of the worker; names its sockets and its status."""
    repository: Path
    """Folder of models: `<model>/<version>/model.onnx`, optionally `config.pbtxt` or `model.toml`."""
    state_dir: Path
    """Folder that the processes of one mesh share; see services/embedded."""
    repository_poll_seconds: float = Field(default=0.5, gt=0)
    """Time between two looks at the repository."""
    settle_seconds: float = Field(default=0.5, gt=0)
    """How long files that were just written have to look the same before they count as complete."""
    notice_seconds: float = Field(default=0.5, ge=0)
    """Time between saying that a version drains and refusing requests for it: ten times the interval at which routers look."""
    memory_budget_bytes: int = Field(default=0, ge=0)
    """Memory that models may use; 0 means no limit."""
    intra_op_threads: int = Field(default=1, ge=0)
    """Threads of one execution, for models that do not say; 0 leaves it to ONNX Runtime."""
    device_id: int = Field(default=0, ge=0)
    """Number of the GPU, where there is one."""
    load_timeout_seconds: float = Field(default=300.0, gt=0)
    """Longest load of one version, from its files to ready."""
    warm_up_timeout_seconds: float = Field(default=30.0, gt=0)
    """Longest part of it in which the version is executed: warm-up, golden examples, measurement. Other versions wait meanwhile."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Longest wait for requests in flight when a version is unloaded or the process ends."""
    credit_rows: int = Field(default=65_536, ge=1)
    """Rows that one router may have unanswered at this worker."""
    link_host: str | None = None
    """Address to listen on for routers of other machines; none means a Unix socket in `state_dir`."""
    link_port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free port."""
    link_certificate: Path | None = None
    """PEM file of this worker's certificate, for links over TCP."""
    link_key: Path | None = None
    """PEM file of its key."""
    link_authorities: Path | None = None
    """PEM file of the authorities that routers' certificates must come from: the links are mutual TLS then."""
    log_level: Level = "info"
    """Least level that is logged."""

    @model_validator(mode="after")
    def check_link(self) -> Self:
        """Refuse half a TLS setting."""
        if (self.link_certificate is None) != (self.link_key is None):
            raise ValueError("link_certificate and link_key go together")
        if self.link_authorities is not None and self.link_certificate is None:
            raise ValueError("link_authorities needs link_certificate and link_key")
        if self.link_host is None and self.link_certificate is not None:
            raise ValueError("link_certificate is for links over TCP: set link_host")
        return self
