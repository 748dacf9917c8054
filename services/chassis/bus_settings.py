"""How Kafka is reached; apart from what reaches it, so that a process without a bus reads its settings without importing a client."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class SaslMechanism(Enum):
    """How a client proves who it is, by the names that brokers have for it."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class BusSettings(BaseModel):
    """How to reach Kafka."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = ""
    """`host:port[,host:port]`; empty means that there is no bus: routes come from what workers report, and nothing is published."""
    tls: bool = False
    """Speak TLS with every broker."""
    authorities: Path | None = None
    """PEM file of the authorities that brokers' certificates must come from; none takes the machine's."""
    check_hostname: bool = True
    """Whether a broker's certificate must carry the name that is called, its advertised one too, beside coming from the authorities."""
    certificate: Path | None = None
    """PEM file of the certificate that is shown to brokers which ask for one."""
    key: Path | None = None
    """PEM file of its key."""
    sasl: SaslMechanism | None = None
    """How a user and a password are shown; none shows none."""
    username: str = ""
    password: SecretStr = SecretStr("")
    """Only by the environment, or as the file that BUS__PASSWORD_FILE names there."""
    retry_seconds: float = Field(default=0.2, gt=0, le=60)
    """Shortest wait before a lost broker is tried again; it doubles up to `retry_limit_seconds`."""
    retry_limit_seconds: float = Field(default=2.0, gt=0, le=600)
    """Longest such wait."""

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse half a setting, and one that would not be used: what is meant to be secret would go in the clear."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if not self.tls and (self.authorities or self.certificate or not self.check_hostname):
            raise ValueError("authorities, certificate, key and check_hostname are for tls: set tls = true")
        is_known = bool(self.username and self.password.get_secret_value())
        if self.sasl is not None and not is_known:
            raise ValueError("sasl needs username and password; give the password by the environment: BUS__PASSWORD or BUS__PASSWORD_FILE")
        if self.sasl is None and (self.username or self.password.get_secret_value()):
            raise ValueError(f"username and password are for sasl: set it to one of {', '.join(one.value for one in SaslMechanism)}")
        if self.sasl is SaslMechanism.PLAIN and not self.tls:
            raise ValueError("sasl = PLAIN would send the password in the clear: set tls = true, or take SCRAM-SHA-512")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a bus."""
        return bool(self.bootstrap_servers)

    @property
    def is_secured(self) -> bool:
        """Whether brokers may refuse this process for what it shows of itself, or it them."""
        return self.tls or self.sasl is not None

    @property
    def security_protocol(self) -> str:
        """Kafka's name for how a connection is secured."""
        return f"SASL_{self._transport}" if self.sasl is not None else self._transport

    @property
    def _transport(self) -> str:
        return "SSL" if self.tls else "PLAINTEXT"
