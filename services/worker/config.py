"""Settings of a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, model_validator

from penstock.contracts.model_config_values import MAX_THREADS
from services.chassis.bus_settings import BusSettings
from services.chassis.config import Settings
from services.chassis.logs import Level
from services.chassis.metrics_server import ScrapeSettings
from services.chassis.peer_identity import TRUST_DOMAIN


class ArtefactSettings(BaseModel, extra="forbid", frozen=True):
    """Where assigned versions come from, and where they are kept."""

    store: str = ""
    """URL of the object store that the controller puts versions into: `file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`."""
    store_options: dict[str, str] = Field(default_factory=dict[str, str])
    """The store's own options, for example `endpoint`; secrets come from the environment (`AWS_…`)."""
    cache: Path | None = None
    """Folder of fetched versions, for this worker alone; none means one in `state_dir`."""
    limit_bytes: int = Field(default=50 << 30, ge=1 << 20)
    """Most that the folder takes of the disk; what is assigned is never given up for it."""
    retry_limit_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Longest wait before a version that could not be fetched is asked for again."""


class WorkerSettings(Settings, env_prefix="PENSTOCK_WORKER__"):
    """Settings of a worker process."""

    worker_id: str = Field(default="worker-0", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Stable name of the worker; names its sockets and its status."""
    repository: Path | None = None
    """Folder of models: `<model>/<version>/model.onnx`, optionally `config.pbtxt` or `model.toml`. Either this or `bus`."""
    bus: BusSettings = BusSettings()
    """Kafka, in the whole mesh: what is held is what the controller assigns, and statuses are published there."""
    artefacts: ArtefactSettings = ArtefactSettings()
    """Where what is assigned comes from."""
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
    intra_op_threads: int = Field(default=1, ge=0, le=MAX_THREADS)
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
    link_advertised_host: str | None = None
    """Name or address under which routers reach this machine, where it is not `link_host`."""
    link_port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free port."""
    link_certificate: Path | None = None
    """PEM file of this worker's certificate, for links over TCP."""
    link_key: Path | None = None
    """PEM file of its key."""
    link_authorities: Path | None = None
    """PEM file of the authorities that routers' certificates must come from: the links are mutual TLS then."""
    link_revocations: Path | None = None
    """PEM file of their lists of revoked certificates, one of each authority."""
    trust_domain: str = Field(default="", pattern=TRUST_DOMAIN)
    """Links are only for certificates that carry `spiffe://<trust_domain>/router/<id>`; empty lets in all that the authorities signed."""
    scrape: ScrapeSettings = ScrapeSettings()
    """Where this process alone shows its metrics over TCP."""
    gpu_type: str = Field(default="", max_length=63)
    """Kind of accelerator, for example nvidia-l4, for deployments that ask for one; empty for none."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """What placement may be told about this worker."""
    log_level: Level = "info"
    """Least level that is logged."""

    @property
    def artefact_folder(self) -> Path:
        """Where fetched versions are kept."""
        return self.artefacts.cache or self.state_dir / "artefacts" / self.worker_id

    @model_validator(mode="after")
    def check_source(self) -> Self:
        """Refuse two sources of what is held, and none."""
        if self.bus.is_set == (self.repository is not None):
            raise ValueError("give exactly one of repository (what is held is in a folder) and bus.bootstrap_servers (it is assigned)")
        if self.bus.is_set and not self.artefacts.store:
            raise ValueError("bus.bootstrap_servers needs artefacts.store: what is assigned is fetched from there")
        return self

    @model_validator(mode="after")
    def check_link(self) -> Self:
        """Refuse half a TLS setting."""
        if (self.link_certificate is None) != (self.link_key is None):
            raise ValueError("link_certificate and link_key go together")
        if self.link_authorities is not None and self.link_certificate is None:
            raise ValueError("link_authorities needs link_certificate and link_key")
        if (self.trust_domain or self.link_revocations is not None) and self.link_authorities is None:
            raise ValueError("trust_domain and link_revocations are about certificates of routers: set link_authorities")
        if self.link_host is None and (self.link_certificate is not None or self.link_advertised_host is not None):
            raise ValueError("link_certificate and link_advertised_host are for links over TCP: set link_host")
        return self
