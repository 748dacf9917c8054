"""Where a link goes, and how it gets there."""

from __future__ import annotations

import asyncio
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

    @property
    def may_be_half_open(self) -> bool:
        """Whether a connection can lose its far end and never hear of it, as TCP does where a machine or a firewall on the way is gone."""
        return not self.address.startswith("unix:")

    async def connect(self, link: asyncio.Protocol) -> None:
        """Connect a link, to the first of the worker's addresses that takes it.

        Raises:
            OSError, TimeoutError: none does, or its name cannot be looked up.
        """
        loop = asyncio.get_running_loop()
        kind, _, place = self.address.partition(":")
        if kind == "unix":
            await loop.create_unix_connection(lambda: link, place)
            return
        host, _, port = place.rpartition(":")
        tls = self.tls.context() if self.tls is not None else None
        # The certificate of an impostor at the worker's address carries another name.
        name = None if self.tls is None else self.worker_id if self.tls.is_named else host
        await loop.create_connection(lambda: link, host, int(port), ssl=tls, server_hostname=name)


class Targets:
    """Says where workers listen."""

    def __init__(self, tls: FollowedTls | None) -> None:
        """Keep the certificates for what is not on this machine."""
        self._tls = tls

    def of(self, status: WorkerStatus) -> LinkTarget:
        """Return where a worker says that it listens."""
        return LinkTarget(
            worker_id=status.worker_id,
            instance_id=status.instance_id,
            address=status.link_address,
            tls=self._tls if status.link_address.startswith("tcp:") else None,
        )
