"""TLS towards workers, for links over TCP, and when this router's certificates end."""

from __future__ import annotations

from services.chassis.certificates import CertificateFiles, CertificateWatch, FollowedTls, client_side, named_client_side
from services.chassis.process import CannotStart
from services.router.config import RouterSettings


def link_tls(settings: RouterSettings) -> FollowedTls | None:
    """Return what links over TCP are made with; None without authorities.

    Raises:
        CannotStart: a file cannot be used.
    """
    if settings.link_authorities is None:
        return None
    files = CertificateFiles(certificate=settings.link_certificate, key=settings.link_key, authorities=settings.link_authorities)
    try:
        # Without names workers are known by the authority that signed them and by the instance id of the handshake.
        return FollowedTls(files, named_client_side if settings.link_worker_names else client_side)
    except OSError as error:
        raise CannotStart(f"certificates of links: {error}") from None


def certificate_watch(settings: RouterSettings) -> CertificateWatch:
    """Return what says when certificates end."""
    return CertificateWatch(
        {
            "faces": settings.tls_certificate,
            "callers": settings.tls_client_authorities,
            "links": settings.link_certificate,
            "workers": settings.link_authorities,
        }
    )
