"""What servers of HTTP and gRPC show and ask for, from files that are read again when one changes.

Key and certificate are two files, and while they are replaced they may not fit for a moment: then the pair before stays in force.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from services.chassis.certificates import CertificateFiles, Complaint, server_side
from services.chassis.key_files import check_key, stamps
from services.chassis.peer_identity import PeerRule

if TYPE_CHECKING:
    import ssl

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where key and certificates are, in PEM."""

    certificate_chain: Path
    private_key: Path
    client_authorities: Path | None = None
    """Certificates of the authorities that clients must have theirs from; None asks clients for none."""
    client_revocations: Path | None = None
    """Lists of the certificates that those authorities have taken back."""
    clients: PeerRule | None = None
    """Who clients must be by their certificates, where the face that has these files asks for that."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for path in (self.certificate_chain, self.private_key, self.client_authorities) if path is not None)


def context_factory(files: TlsFiles | None) -> Callable[..., ssl.SSLContext] | None:
    """Return what uvicorn is to make a listener's context with; each handshake looks whether the files changed. None without files.

    The factory raises OSError where a file cannot be read or holds nothing that fits (`ssl.SSLError`), KeyExposed where others may read
    the key.
    """
    if files is None:
        return None
    followed = CertificateFiles(
        certificate=files.certificate_chain,
        key=files.private_key,
        authorities=files.client_authorities,
        revocations=files.client_revocations,
        peers=files.clients,
    )
    return lambda *_: server_side(followed)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files: each handshake looks whether they changed.

    Raises:
        OSError: a file cannot be read.
        KeyExposed: others may read the key.
    """
    source = _Source(files)
    return grpc.dynamic_ssl_server_credentials(source.first, source.newest, files.client_authorities is not None)


class _Source:
    """Reads the files, and reads them again when they change."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = stamps(files.paths)
        self._complaint = Complaint()
        self.first = self._read()

    def newest(self) -> Any:
        """Return the new configuration, None when the one before stays in force; gRPC's threads call this at every handshake."""
        try:
            found = stamps(self._files.paths)
            if found == self._stamps:
                return None
            # Looked at before they are read: what changes in between is read again.
            fresh = self._read()
        except OSError as error:
            self._complaint.say(str(error))
            return None
        self._stamps = found
        self._complaint.withdraw()
        log.info("tls_files_reloaded", certificate_chain=str(self._files.certificate_chain))
        return fresh

    def _read(self) -> grpc.ServerCertificateConfiguration:
        check_key(self._files.private_key)
        key, chain = self._files.private_key.read_bytes(), self._files.certificate_chain.read_bytes()
        authorities = self._files.client_authorities
        trusted = authorities.read_bytes() if authorities is not None else None
        _check_fit(key, chain, trusted)
        return grpc.ssl_server_certificate_configuration([(key, chain)], trusted)


def _check_fit(key: bytes, chain: bytes, authorities: bytes | None) -> None:
    """Refuse what gRPC would take without a word and then show to nobody.

    Raises:
        OSError: the key is not that of the certificate, or a file holds neither.
    """
    from cryptography import x509  # noqa: PLC0415  a process without certificates starts without it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        own = x509.load_pem_x509_certificates(chain)[0].public_key()
        fits = load_pem_private_key(key, None).public_key() == own
        if authorities is not None:
            x509.load_pem_x509_certificates(authorities)
    except (ValueError, TypeError) as error:
        message = f"key, certificate or authorities cannot be read: {error}"
        raise OSError(message) from error
    if not fits:
        message = "the private key is not that of the certificate"
        raise OSError(message)
