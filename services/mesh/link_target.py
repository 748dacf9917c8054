"""Where a link goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.contracts.worker_status import WorkerStatus

if TYPE_CHECKING:
    from services.chassis.certificates import FollowedTls


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTarget:
    """Where a worker instance listens."""

    worker_id: str
    instance_id: str
    address: str
    """unix:/path or tcp:host:port."""
    tls: FollowedTls | None = None


def target_of(status: WorkerStatus, tls: FollowedTls | None) -> LinkTarget:
    """Return where a worker says that it listens; `tls` is for what is not on this machine."""
    return LinkTarget(
        worker_id=status.worker_id,
        instance_id=status.instance_id,
        address=status.link_address,
        tls=tls if status.link_address.startswith("tcp:") else None,
    )
