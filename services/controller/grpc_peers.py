"""Who calls over gRPC, by the certificate of the connection: what gRPC's own TLS does not ask.

It checks who signed a certificate and when it ends. It takes certificates that are signed by SHA-1 or have short RSA keys, which OpenSSL
refuses on links and on the HTTP face; and it knows neither lists of revoked ones nor what a certificate is for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from penstock.contracts.errors import Unauthenticated
from services.chassis.key_files import stamps
from services.chassis.tls_files import TlsFiles

RSA_BITS = 2048
"""Shortest key that is taken."""
WEAK_HASHES = frozenset({"md5", "sha1"})

_LIST = re.compile(rb"-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----")

log = structlog.get_logger(__name__)


class GrpcPeers:
    """Looks at the certificates of callers, where faces ask for them."""

    def __init__(self, tls: TlsFiles | None) -> None:
        """Read the lists of revoked certificates.

        Raises:
            OSError: a file cannot be read.
        """
        self._tls = tls
        self._authorities = tls.client_authorities if tls is not None else None
        self._revocations = tls.client_revocations if tls is not None else None
        self._stamps = stamps((self._authorities, self._revocations))
        self._lists = self._read()

    def check(self, context: Any) -> None:
        """Refuse a call by its `ServicerContext`.

        Raises:
            Unauthenticated: the certificate is weak, revoked, or not that of somebody who may call here.
        """
        if self._authorities is None:
            return
        refusal = self._refusal(_shown(next(iter(context.auth_context().get("x509_pem_cert", ())), b"")))
        if refusal is not None:
            log.warning("peer_refused", reason=refusal)
            raise Unauthenticated(f"nobody is let in by the certificate that was shown: {refusal}")

    def _refusal(self, shown: _Shown) -> str | None:
        if shown.weakness is not None:
            return shown.weakness
        if self._revocations is not None:
            self._renew()
            if (revocation := _revocation(shown, self._lists)) is not None:
                return revocation
        rule = self._tls.clients if self._tls is not None else None
        return rule.refusal(shown.uris) if rule is not None else None

    def _renew(self) -> None:
        try:
            found = stamps((self._authorities, self._revocations))
            if found != self._stamps:
                self._lists, self._stamps = self._read(), found
                log.info("tls_files_reloaded", revocations=str(self._revocations))
        except OSError as error:
            log.warning("tls_files_unreadable", reason=str(error))

    def _read(self) -> tuple[x509.CertificateRevocationList, ...]:
        if self._authorities is None or self._revocations is None:
            return ()
        return _lists(self._revocations, self._authorities)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is asked of a certificate."""

    uris: tuple[str, ...] = ()
    weakness: str | None = None
    issuer: x509.Name | None = None
    serial_number: int = 0


@lru_cache(maxsize=1024)
def _shown(pem: bytes) -> _Shown:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        return _Shown(
            uris=tuple(_uris(certificate)),
            weakness=_weakness(certificate),
            issuer=certificate.issuer,
            serial_number=certificate.serial_number,
        )
    except ValueError:
        return _Shown(weakness="it cannot be read")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _weakness(certificate: x509.Certificate) -> str | None:
    used, key = certificate.signature_hash_algorithm, certificate.public_key()
    if used is not None and used.name in WEAK_HASHES:
        return f"it is signed by {used.name.upper()}"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        return f"its RSA key has {key.key_size} bits, less than {RSA_BITS}"
    return None


def _lists(path: Path, authorities: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the lists of a file that one of the authorities has signed.

    Raises:
        OSError: a file cannot be read, or holds something else.
    """
    try:
        known = x509.load_pem_x509_certificates(authorities.read_bytes())
        found = [x509.load_pem_x509_crl(pem) for pem in _LIST.findall(path.read_bytes())]
        keys: list[tuple[x509.Name, Any]] = [(one.subject, one.public_key()) for one in known]
        return tuple(one for one in found if any(one.issuer == name and one.is_signature_valid(key) for name, key in keys))
    except ValueError as error:
        message = f"{path}: lists of revoked certificates in PEM, and who signed them, cannot be read: {error}"
        raise OSError(message) from error


def _revocation(shown: _Shown, lists: tuple[x509.CertificateRevocationList, ...]) -> str | None:
    """Say why a certificate is not in force any more; as OpenSSL has it, who has no list in force vouches for nobody."""
    now = datetime.now(UTC)
    own = [one for one in lists if one.issuer == shown.issuer and (one.next_update_utc is None or now < one.next_update_utc)]
    if not own:
        return "its authority has no list of revoked certificates in force"
    if any(one.get_revoked_certificate_by_serial_number(shown.serial_number) is not None for one in own):
        return "it was revoked"
    return None
