"""TLS towards workers, for links over TCP."""

from __future__ import annotations

import ssl

from services.router.config import RouterSettings


def link_tls(settings: RouterSettings) -> ssl.SSLContext | None:
    """Return what links over TCP are made with; None without authorities."""
    if settings.link_authorities is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(settings.link_authorities))
    # Workers are known by the authority that signed them and by the instance id of the handshake, not by host names.
    context.check_hostname = False
    if settings.link_certificate is not None:
        context.load_cert_chain(settings.link_certificate, settings.link_key)
    return context
