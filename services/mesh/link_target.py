"""Where a link goes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTarget:
    """Where a worker instance listens."""

    worker_id: str
    instance_id: str
    address: str
    """unix:/path or tcp:host:port."""
    tls: ssl.SSLContext | None = None
