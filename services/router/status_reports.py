"""Tells the mesh what this router has applied: at once after every change, and every second.

A version that was asked for and is nowhere is told at once as well: somebody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from penstock.contracts.router_status import KeyUse, RouterStatus
from services.chassis.feeds import Publisher
from services.router.routes_in_force import RoutesInForce

REPORT_SECONDS = 1.0
"""Longest time between two reports."""


class StatusReports:
    """Publishes the router's status until it ends; then the router is none any more."""

    def __init__(
        self, routes: RoutesInForce, publisher: Publisher[RouterStatus], router_id: str, key_uses: Callable[[], tuple[KeyUse, ...]]
    ) -> None:
        """Keep the collaborators; `key_uses` is asked for every report."""
        self._routes = routes
        self._key_uses = key_uses
        self._publisher = publisher
        self._router_id = router_id
        self._news = asyncio.Event()
        routes.on_change(lambda _model: self._news.set())
        routes.asked.on_news(self._news.set)

    async def run(self) -> None:
        """Publish until cancelled."""
        try:
            while True:
                self._news.clear()
                self._publisher.publish(self._router_id, replace(self._routes.status(), key_uses=self._key_uses()))
                try:
                    async with asyncio.timeout(REPORT_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            self._publisher.publish(self._router_id, None)

    def begin_drain(self) -> None:
        """Say that the router takes no new calls."""
        self._routes.is_draining = True
        self._news.set()
