"""Settings of a controller process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from penstock.contracts.api_keys import DEFAULT_ENVIRONMENT, ENVIRONMENT
from services.chassis.bus_settings import BusSettings
from services.chassis.config import Settings
from services.chassis.exposure import Exposure
from services.chassis.logs import Level
from services.chassis.metrics_server import ScrapeSettings
from services.chassis.peer_identity import TRUST_DOMAIN, Role, rule_of
from services.chassis.tls_files import TlsFiles
from services.chassis.wrong_keys import MOST_TRIES


class ControllerSettings(Settings, env_prefix="PENSTOCK_CONTROLLER__"):
    """Settings of a controller process."""

    controller_id: str = Field(default="controller-0", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the process; no two controllers of a mesh have the same."""
    state_dir: Path
    """Folder of its sockets, uploads and, by default, its database and artefacts."""
    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs TLS and callers that are known, or `insecure_bind`."""
    insecure_bind: bool = False
    """Listen where other machines reach it without TLS, or without knowing callers; every start warns of it."""
    grpc_port: int = Field(default=8011, ge=0, le=65535)
    """0 takes a free port."""
    http_port: int = Field(default=8010, ge=0, le=65535)
    """0 takes a free port."""
    tls_certificate: Path | None = None
    """PEM file; with `tls_key` both faces speak TLS."""
    tls_key: Path | None = None
    tls_client_authorities: Path | None = None
    """PEM file of the authorities that callers' certificates must come from; none asks callers for no certificate."""
    tls_client_revocations: Path | None = None
    """PEM file of their lists of revoked certificates, one of each authority."""
    trust_domain: str = Field(default="", pattern=TRUST_DOMAIN)
    """Both faces are only for certificates that carry `spiffe://<trust_domain>/router/<id>` or `…/operator/<id>`; empty lets in all that
    the authorities signed."""
    bus: BusSettings = BusSettings()
    """Kafka: what is decided goes out there, and what is observed comes in."""
    database: str = ""
    """URL of the catalogue: sqlite+aiosqlite:///… or postgresql+asyncpg://…; by default a file in `state_dir`."""
    database_password: str = ""
    """What `database` leaves out; give it by the environment, or as the file that PENSTOCK_CONTROLLER__DATABASE_PASSWORD_FILE names."""
    artefacts: str = ""
    """URL of the store of versions: file:///…, s3://…, gs://… or az://…; by default a folder in `state_dir`."""
    sources: tuple[str, ...] = ()
    """Starts of URLs from which versions may be registered, for example s3://models/ or https://models.example/releases/."""
    source_networks: tuple[str, ...] = ()
    """Networks beside the public one in which senders over https may be, for example 10.1.0.0/16."""
    source_authorities: Path | None = None
    """PEM file of the authorities that senders' certificates come from; none trusts those that the machine does."""
    key_pepper: str = ""
    """Secret under which API keys are hashed, the same as the routers'; give it by the environment."""
    key_environment: str = Field(default=DEFAULT_ENVIRONMENT, pattern=ENVIRONMENT)
    """What keys that are made here name as their environment: up to 16 lower-case letters and digits, a letter first."""
    require_keys: bool = False
    """Closed from the start: nobody is let in without a key, not even before the first administrator's key was made (on this machine,
    with `penstock keys administrator`)."""
    wrong_keys_per_minute: int = Field(default=20, ge=0, le=MOST_TRIES)
    """Wrong API keys of one address within a minute after which others from there are not looked up, unless they were found good; 0: no
    limit. Calls that come through a router count for the router's address."""
    break_glass_keys: Path | None = None
    """Operators' public keys (TOML); what they published past the controller is taken into the catalogue."""
    version_keys: Path | None = None
    """Public keys (TOML, as the operators') of those who sign versions; without the file no signature counts."""
    require_version_signatures: bool = False
    """Register signed versions alone; else one without a signature is registered, and one with a wrong signature is not."""
    lease_seconds: float = Field(default=5.0, ge=1, le=300)
    """Life of the writer's lease: so long after a writer was lost the next one takes over."""
    verify_seconds: float = Field(default=30 * 86_400.0, ge=60)
    """How often the files of every registered version are read again and compared with its digest: once in 30 days."""
    verify_bytes_per_second: float = Field(default=float(32 << 20), ge=1 << 10)
    """How fast they are read for that."""
    scrape: ScrapeSettings = ScrapeSettings()
    """Where this process alone shows its metrics over TCP."""
    log_level: Level = "info"
    """Least level that is logged."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Refuse half a TLS setting."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_authorities is not None and self.tls_certificate is None:
            raise ValueError("tls_client_authorities needs tls_certificate and tls_key")
        if (self.trust_domain or self.tls_client_revocations is not None) and self.tls_client_authorities is None:
            raise ValueError("trust_domain and tls_client_revocations are about callers' certificates: set tls_client_authorities")
        if self.require_version_signatures and self.version_keys is None:
            raise ValueError("require_version_signatures needs version_keys, the file of the keys whose signatures count")
        self.exposure.check("require_keys or tls_client_authorities")
        return self

    @property
    def exposure(self) -> Exposure:
        """Who can reach its faces."""
        return Exposure(
            host=self.host,
            has_tls=self.tls is not None,
            knows_callers=self.require_keys or self.tls_client_authorities is not None,
            is_meant=self.insecure_bind,
        )

    @property
    def tls(self) -> TlsFiles | None:
        """What its faces identify themselves with; None serves in the clear."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(
            certificate_chain=self.tls_certificate,
            private_key=self.tls_key,
            client_authorities=self.tls_client_authorities,
            client_revocations=self.tls_client_revocations,
            clients=rule_of(self.trust_domain, Role.ROUTER, Role.OPERATOR),
        )

    @property
    def database_url(self) -> str:
        """URL of the catalogue."""
        return self.database or f"sqlite+aiosqlite:///{self.state_dir / 'catalogue.db'}"

    @property
    def artefacts_url(self) -> str:
        """URL of the store of versions."""
        return self.artefacts or (self.state_dir / "artefacts").resolve().as_uri()
