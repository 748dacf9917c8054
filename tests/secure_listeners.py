"""What a broker of the tests needs to be reached over TLS: one listener asks for certificates, one for a user and a password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pydantic import SecretStr

from services.chassis.bus_settings import BusSettings, SaslMechanism

HOST = "127.0.0.1"
USER = "penstock"
PASSWORD = "the-bus-password"
PROPERTIES = """
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MUTUAL:SSL,USERS:SASL_SSL
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.users.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.users.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.users.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
"""
RETRIES = {"retry_seconds": 0.05, "retry_limit_seconds": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureListeners:
    """Two more listeners of a broker, and the files that its clients need."""

    folder: Path
    mutual_port: int
    users_port: int

    @property
    def listeners(self) -> str:
        """What stands in `listeners` and `advertised.listeners`."""
        return f"MUTUAL://{HOST}:{self.mutual_port},USERS://{HOST}:{self.users_port}"

    @property
    def properties(self) -> str:
        """The broker's further settings."""
        return PROPERTIES.format(folder=self.folder, user=USER, password=PASSWORD, jaas="org.apache.kafka.common.security")

    @property
    def format_words(self) -> list[str]:
        """What storage is formatted with: SCRAM's users stand there."""
        names = ("SCRAM-SHA-256", "SCRAM-SHA-512")
        return [word for name in names for word in ("--add-scram", f"{name}=[name={USER},password={PASSWORD}]")]

    def write(self) -> None:
        """Make the authority's certificate, and certificates of the broker, of a client and of a stranger's authority."""
        self.folder.mkdir(parents=True, exist_ok=True)
        authority, stranger = trustme.CA(), trustme.CA()
        broker, client, other = authority.issue_cert(HOST), authority.issue_cert("client"), stranger.issue_cert("client")
        # Kafka reads PKCS #8 and nothing else.
        key = load_pem_private_key(broker.private_key_pem.bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        contents = {
            "authority.pem": authority.cert_pem.bytes(),
            "stranger.pem": stranger.cert_pem.bytes(),
            "broker.pem": key + broker.cert_chain_pems[0].bytes(),
            "client.pem": client.cert_chain_pems[0].bytes(),
            "client.key": client.private_key_pem.bytes(),
            "other.pem": other.cert_chain_pems[0].bytes(),
            "other.key": other.private_key_pem.bytes(),
        }
        for name, content in contents.items():
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_bytes(content)

    @property
    def mutual(self) -> BusSettings:
        """How a client that shows a certificate reaches the broker."""
        return BusSettings(
            bootstrap_servers=f"{HOST}:{self.mutual_port}",
            tls=True,
            authorities=self.folder / "authority.pem",
            certificate=self.folder / "client.pem",
            key=self.folder / "client.key",
            **RETRIES,
        )

    def users(self, sasl: SaslMechanism = SaslMechanism.SCRAM_SHA_512, password: str = PASSWORD) -> BusSettings:
        """How a client that shows a user and a password reaches the broker."""
        return BusSettings(
            bootstrap_servers=f"{HOST}:{self.users_port}",
            tls=True,
            authorities=self.folder / "authority.pem",
            sasl=sasl,
            username=USER,
            password=SecretStr(password),
            **RETRIES,
        )
