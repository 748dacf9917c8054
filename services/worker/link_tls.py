"""TLS towards routers, for links over TCP, and when this worker's certificates end."""

from __future__ import annotations

import ssl

from services.chassis.certificates import CertificateFiles, CertificateWatch, server_side
from services.chassis.peer_identity import Role, rule_of
from services.chassis.process import CannotStart
from services.worker.config import WorkerSettings


def link_tls(settings: WorkerSettings) -> ssl.SSLContext | None:
    """Return what links over TCP are accepted with; None without a certificate.

    Raises:
        CannotStart: a file cannot be used.
    """
    if settings.link_certificate is None:
        return None
    files = CertificateFiles(
        certificate=settings.link_certificate,
        key=settings.link_key,
        authorities=settings.link_authorities,
        revocations=settings.link_revocations,
        peers=rule_of(settings.trust_domain, Role.ROUTER),
    )
    try:
        return server_side(files)
    except OSError as error:
        raise CannotStart(f"certificates of links: {error}") from None


def certificate_watch(settings: WorkerSettings) -> CertificateWatch:
    """Return what says when certificates end."""
    return CertificateWatch(
        {
            "links": settings.link_certificate,
            "routers": settings.link_authorities,
            "bus": settings.bus.certificate,
            "brokers": settings.bus.authorities,
        }
    )
