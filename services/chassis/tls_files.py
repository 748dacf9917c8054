"""Server credentials from files, read again when a file changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from services.chassis.key_files import check_key, stamps
from services.chassis.peer_identity import PeerRule

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


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files: each handshake looks whether they changed.

    Raises:
        OSError: a file cannot be read.
        KeyExposed: others may read the key.
    """
    source = _Source(files)
    return grpc.dynamic_ssl_server_credentials(source.first, source.newest, files.client_authorities is not None)


class _Source:
    """Reads the files, and reads them again when their times change."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = stamps(files.paths)
        self.first = self._read()

    def newest(self) -> Any:
        """Return the new configuration, None when the files are the old ones; gRPC's threads call this at every handshake."""
        try:
            found = stamps(self._files.paths)
            if found == self._stamps:
                return None
            fresh = self._read()
        except OSError as error:
            log.warning("tls_files_unreadable", reason=str(error))
            return None
        self._stamps = found
        log.info("tls_files_reloaded", certificate_chain=str(self._files.certificate_chain))
        return fresh

    def _read(self) -> grpc.ServerCertificateConfiguration:
        check_key(self._files.private_key)
        pair = (self._files.private_key.read_bytes(), self._files.certificate_chain.read_bytes())
        authorities = self._files.client_authorities
        return grpc.ssl_server_certificate_configuration([pair], authorities.read_bytes() if authorities is not None else None)
