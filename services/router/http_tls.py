"""Keeps a TLS context's certificate as new as its files.

A handshake takes what is loaded when it begins; open connections keep theirs.
"""

from __future__ import annotations

import ssl

import structlog

from services.chassis.key_files import Stamps, check_key, stamps
from services.chassis.tls_files import TlsFiles

log = structlog.get_logger(__name__)


class RenewedCertificate:
    """Loads key and certificate again when their files change; a pair that cannot be loaded leaves the old one in force."""

    def __init__(self, files: TlsFiles, context: ssl.SSLContext) -> None:
        """Keep both; the context has loaded the files already."""
        self._files = files
        self._context = context
        self._stamps = _stamps(files)

    def look(self) -> None:
        """Load the files if they have changed since the last look."""
        try:
            found = _stamps(self._files)
            if found == self._stamps:
                return
            self._stamps = found
            check_key(self._files.private_key)
            # A pair that does not match would leave the context half renewed, so it is tried on another one first.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(self._files.certificate_chain), str(self._files.private_key))
            self._context.load_cert_chain(str(self._files.certificate_chain), str(self._files.private_key))
        except (OSError, ssl.SSLError) as error:
            log.warning("tls_files_unreadable", reason=str(error))
            return
        log.info("tls_files_reloaded", certificate_chain=str(self._files.certificate_chain))


def _stamps(files: TlsFiles) -> Stamps:
    return stamps((files.certificate_chain, files.private_key))
