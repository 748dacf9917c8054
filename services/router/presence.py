"""What a router tells those who started it: that its fronts are open, and which workers it reaches.

Routers of one serve share their ports, so that nobody can ask one of them from outside whether it is ready: it says so in a file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from services.chassis.atomic_file import write_atomically
from services.chassis.process import running
from services.mesh.dispatch import Dispatch
from services.mesh.route_table import RouteTable

GATHER_SECONDS = 0.02
"""Time in which changes are gathered before they are written."""

log = structlog.get_logger(__name__)


class Presence:
    """Keeps one file up to date while the router serves."""

    def __init__(self, path: Path, table: RouteTable, dispatch: Dispatch) -> None:
        """Keep the arguments, and listen for workers that come and go."""
        self._path = path
        self._table = table
        self._dispatch = dispatch
        self._has_news = asyncio.Event()
        dispatch.on_change(self._has_news.set)

    @asynccontextmanager
    async def shown(self, ports: Mapping[str, int]) -> AsyncGenerator[None]:
        """Be present until the block ends; `ports` are those of the fronts, by name."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(ports)
        try:
            async with running(self._follow(ports), name="presence"):
                yield
        finally:
            self._path.unlink(missing_ok=True)

    async def _follow(self, ports: Mapping[str, int]) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                self._write(ports)
            except OSError as error:
                log.warning("presence_not_written", path=str(self._path), reason=str(error))
            await asyncio.sleep(GATHER_SECONDS)

    def _write(self, ports: Mapping[str, int]) -> None:
        write_atomically(self._path, json.dumps({"pid": os.getpid(), **ports, "workers": self._reached()}).encode())

    def _reached(self) -> dict[str, int]:
        """Return the revision of the newest status of every worker that can be sent requests, by worker id."""
        up = {link.target.instance_id for link in self._dispatch.links if link.is_up}
        return {worker_id: status.revision for worker_id, status in self._table.statuses().items() if status.instance_id in up}
