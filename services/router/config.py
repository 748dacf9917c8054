"""Settings of a router process."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from penstock.contracts.api_keys import ENVIRONMENT
from services.chassis.bus_settings import BusSettings
from services.chassis.config import Settings
from services.chassis.exposure import Exposure, is_of_this_machine
from services.chassis.metrics_server import ScrapeSettings
from services.chassis.peer_identity import TRUST_DOMAIN
from services.chassis.redis_client import RedisSettings
from services.chassis.wrong_keys import MOST_TRIES
from services.router.grpc_engine import Engine


class ControllerAddresses(BaseModel, extra="forbid", frozen=True):
    """Where one controller listens, as `host:port`."""

    grpc: str
    http: str


class Reflection(StrEnum):
    """To whom gRPC tells its services."""

    LOCAL = "local"
    """To everybody where `host` is reached from this machine alone, else to nobody."""
    ON = "on"
    """Wherever it listens."""
    OFF = "off"


class RouterSettings(Settings, env_prefix="PENSTOCK_ROUTER__"):
    """Settings of a router process."""

    router_id: str = "router-0"
    """Name of the process; names its metrics socket and readiness file."""
    state_dir: Path
    """Folder that the processes of one mesh share; see services/embedded."""
    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs TLS and callers that are known, or `insecure_bind`."""
    insecure_bind: bool = False
    """Listen where other machines reach it without TLS, or without knowing callers; every start warns of it."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free port."""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    """0 takes a free port."""
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    """Where the mesh shows its metrics; only told to callers who ask for them here."""
    scrape: ScrapeSettings = ScrapeSettings()
    """Where this process alone shows its metrics over TCP."""
    reuse_port: bool = False
    """Share the ports with other router processes."""
    tenants_file: Path | None = None
    """Tenants, keys and quotas (TOML); none means that everybody may call everything, or, with a bus, that tenants come by it."""
    require_keys: bool = False
    """Closed from the start: nobody may call without a key, not even before the first key of the mesh was made."""
    key_environment: str = Field(default="", pattern=f"^$|{ENVIRONMENT}")
    """Refuse keys that name another environment, without looking them up; empty takes keys of all. Keys without one are taken."""
    key_pepper: str = ""
    """Secret under which `hmac-sha256:` keys are hashed, those of the bus too; give it by the environment."""
    tls_certificate: Path | None = None
    """PEM file; with `tls_key` both faces speak TLS."""
    tls_key: Path | None = None
    tls_client_authorities: Path | None = None
    """PEM file of the authorities that clients' certificates must come from; none asks clients for no certificate."""
    link_authorities: Path | None = None
    """PEM file of the authorities that workers' certificates must come from, for links over TCP."""
    link_certificate: Path | None = None
    """PEM file of this router's certificate on links."""
    link_key: Path | None = None
    link_worker_names: bool = False
    """Whether a worker's certificate must carry its worker id as a DNS name, beside coming from the authorities."""
    link_revocations: Path | None = None
    """PEM file of the authorities' lists of revoked certificates, one of each authority."""
    trust_domain: str = Field(default="", pattern=TRUST_DOMAIN)
    """Workers' certificates on links must carry `spiffe://<trust_domain>/worker/<worker id>`, those of controllers
    `spiffe://<trust_domain>/controller/<id>`; empty asks for authorities and names only."""
    bus: BusSettings = BusSettings()
    """Kafka, in the whole mesh; without it routes are what models declare."""
    redis: RedisSettings = RedisSettings()
    """Redis, where routers keep tenants' quotas and cached answers together; without it each has its own part of them."""
    quota_tick_seconds: float = Field(default=0.1, ge=0.01, le=5)
    """Time between two reports of what was admitted."""
    quota_routers: int = Field(default=1, ge=1, le=10_000)
    """Routers among which quotas are divided as long as Redis has not told how many there are: 1 lets each admit the whole of them."""
    bus_workers: bool = False
    """Follow workers' statuses on the bus, not in `state_dir`: for workers on other machines."""
    outcome_window_seconds: float = Field(default=1.0, ge=0.1, le=3600)
    """Length of the windows in which outcomes are summed up."""
    break_glass_keys: Path | None = None
    """Operators' public keys (TOML, see operator_keys.py); none means that nobody may change a route past the controller."""
    controllers: tuple[ControllerAddresses, ...] = ()
    """Where the mesh's controllers listen; none makes everything that needs one a refusal."""
    controller_authorities: Path | None = None
    """PEM file of the authorities that controllers' certificates must come from, under the names that `controllers` has: calls to them
    speak TLS then."""
    controller_certificate: Path | None = None
    """PEM file of the certificate that this router shows to controllers."""
    controller_key: Path | None = None
    grpc_engine: Engine = Engine.AUTO
    """What serves ModelInfer; auto takes `penstock-front` where it is installed, else `pygrpc-native` (without TLS), else `grpcio`."""
    grpc_reflection: Reflection = Reflection.LOCAL
    """Whether callers are told which services and messages there are; where keys are needed, administrators alone are."""
    grpc_connection_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """Age at which a gRPC connection is asked to go, so that clients spread again; 0 never asks. Not by pygrpc-native."""
    message_limit_bytes: int = Field(default=64 << 20, ge=1024)
    """Longest request."""
    http_head_timeout_seconds: float = Field(default=10.0, gt=0, le=3600)
    """Longest time from the first byte of an HTTP request to the end of its headers."""
    http_body_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Longest time for an HTTP body, plus one second for every 64 KiB of it that arrived."""
    result_cache_bytes: int = Field(default=256 << 20, ge=0)
    """Memory of the result cache, for models that allow it."""
    result_cache_seconds: float = Field(default=60.0, gt=0)
    """Life of a cached answer where the model's configuration names none."""
    shared_cache_wait_seconds: float = Field(default=0.02, gt=0, le=10)
    """Longest wait for answers that routers share by Redis, in place of `redis.timeout_seconds`; a request waits for three at most."""
    shared_cache_entry_bytes: int = Field(default=256 << 10, ge=1024, le=64 << 20)
    """Largest answer that is shared; the same for all routers."""
    shared_cache_queue_bytes: int = Field(default=16 << 20, ge=0)
    """Answers on their way to Redis; what finds no room is not shared."""
    wrong_keys_per_minute: int = Field(default=20, ge=0, le=MOST_TRIES)
    """Wrong API keys of one address within a minute after which others from there are not looked up, unless they were found good; 0 never
    refuses."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Longest wait for calls in flight when the process ends."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    @model_validator(mode="after")
    def check_exposure(self) -> Self:
        """Refuse faces that stand open to other machines, unless that is meant."""
        self.exposure.check("tenants_file, require_keys or tls_client_authorities")
        return self

    @property
    def is_reflected(self) -> bool:
        """Whether gRPC tells its services."""
        return self.grpc_reflection is Reflection.ON or (self.grpc_reflection is Reflection.LOCAL and is_of_this_machine(self.host))

    @property
    def exposure(self) -> Exposure:
        """Who can reach its faces."""
        return Exposure(
            host=self.host,
            has_tls=self.tls_certificate is not None and self.tls_key is not None,
            knows_callers=self.require_keys or self.tenants_file is not None or self.tls_client_authorities is not None,
            is_meant=self.insecure_bind,
        )
