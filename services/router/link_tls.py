"""TLS towards workers, for links over TCP, and towards controllers, and when this router's certificates end."""

from __future__ import annotations

from services.chassis.certificates import CertificateFiles, CertificateWatch, FollowedTls, client_side, named_client_side
from services.chassis.peer_identity import Role, rule_of
from services.chassis.process import CannotStart
from services.router.config import RouterSettings


def link_tls(settings: RouterSettings) -> FollowedTls | None:
    """Return what links over TCP are made with; None without authorities.

    Raises:
        CannotStart: a file cannot be used, or a setting has no other that it needs.
    """
    if settings.link_authorities is None and settings.link_revocations is not None:
        raise CannotStart("link_revocations is about certificates of workers: set link_authorities")
    if settings.trust_domain and settings.link_authorities is None and settings.controller_authorities is None:
        raise CannotStart("trust_domain is about certificates of workers and controllers: set link_authorities or controller_authorities")
    if settings.link_authorities is None:
        return None
    files = CertificateFiles(
        certificate=settings.link_certificate,
        key=settings.link_key,
        authorities=settings.link_authorities,
        revocations=settings.link_revocations,
        peers=rule_of(settings.trust_domain, Role.WORKER, is_named=True),
    )
    try:
        # Without names workers are known by the authority that signed them and by the instance id of the handshake.
        return FollowedTls(files, named_client_side if settings.link_worker_names else client_side)
    except OSError as error:
        raise CannotStart(f"certificates of links: {error}") from None


def controller_tls(settings: RouterSettings) -> CertificateFiles | None:
    """Return what controllers are called with; None without authorities.

    Raises:
        CannotStart: a file cannot be used, or the setting is half of one.
    """
    if (settings.controller_certificate is None) != (settings.controller_key is None):
        raise CannotStart("controller_certificate and controller_key go together")
    if settings.controller_certificate is not None and settings.controller_authorities is None:
        raise CannotStart("controller_certificate needs controller_authorities: without them controllers are called in the clear")
    files = CertificateFiles(
        certificate=settings.controller_certificate,
        key=settings.controller_key,
        authorities=settings.controller_authorities,
        peers=rule_of(settings.trust_domain, Role.CONTROLLER),
    )
    if files.authorities is None:
        return None
    try:
        named_client_side(files)
    except OSError as error:
        raise CannotStart(f"certificates towards controllers: {error}") from None
    return files


def certificate_watch(settings: RouterSettings) -> CertificateWatch:
    """Return what says when certificates end."""
    return CertificateWatch(
        {
            "faces": settings.tls_certificate,
            "callers": settings.tls_client_authorities,
            "links": settings.link_certificate,
            "workers": settings.link_authorities,
            "controller_calls": settings.controller_certificate,
            "controllers": settings.controller_authorities,
            "bus": settings.bus.certificate,
            "brokers": settings.bus.authorities,
        }
    )
