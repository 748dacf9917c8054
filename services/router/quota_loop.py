"""Keeps tenants' quotas together with the other routers: one report a tick, and an even part while nobody can be reported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog

from services.chassis.clock import Clock
from services.chassis.metrics import Asked, Collected, Merge
from services.chassis.redis_client import RedisClient
from services.router.admission import Tenant
from services.router.quota_script import answer, command
from services.router.quota_share import Book, Quotas

TENANTS_A_CALL = 25
"""Most tenants of one call: Redis does nothing else while the script runs, nor this loop while a call is written; each call has a time-out
of its own."""

log = structlog.get_logger(__name__)


class QuotaLoop:
    """Reports what was admitted and spends what was dealt; one a router."""

    def __init__(self, tenants: Callable[[], Mapping[str, Tenant]], redis: RedisClient | None, quotas: Quotas, *, clock: Clock) -> None:
        """Keep the collaborators; without Redis there is an even part for ever."""
        self.exchanges = 0
        """Ticks on which quotas were dealt out."""
        self.is_dealing = False
        """Whether they were on the last tick."""
        self._refusal = ""
        self._tenants = tenants
        self._redis = redis
        self._quotas = quotas
        self._clock = clock

    async def run(self, router: str, tick_seconds: float) -> None:
        """Report every tick until cancelled; `router` is this life of the router, and nobody else's name."""
        while True:
            await self.tick(router)
            await self._clock.sleep(tick_seconds)

    async def tick(self, router: str) -> None:
        """Report once."""
        now, tenants = self._clock.now(), self._tenants()
        due = self._quotas.due(tenants, now)
        dealt = await self._deal(router, due, now)
        if not dealt:
            self._quotas.estimate(tenants.values())
        if dealt is not self.is_dealing:
            self.is_dealing = dealt
            self._tell_change()
        self.exchanges += dealt

    async def _deal(self, router: str, due: list[Book], now: float) -> bool:
        if self._redis is None:
            return False
        self._refusal = ""
        is_heard = True
        for at in range(0, max(len(due), 1), TENANTS_A_CALL):
            group = due[at : at + TENANTS_A_CALL]
            replies = await self._redis.ask([command(router, [(book.tenant.policy.name, book.report(now)) for book in group])])
            if replies is None:
                return False
            is_heard = self._absorb(group, replies[0]) and is_heard
        return is_heard

    def _absorb(self, group: list[Book], reply: Any) -> bool:
        try:
            if isinstance(reply, Exception):
                raise ValueError(str(reply)[:200])  # noqa: TRY004 - Redis's words for a script that it did not run
            self._quotas.routers, dealt = answer(cast("list[bytes]", reply))
        except ValueError as error:
            self._refusal = str(error)
            return False
        now = self._clock.now()
        for book, numbers in zip(group, dealt, strict=True):
            book.absorb(numbers, now)
        return True

    def _tell_change(self) -> None:
        if self.is_dealing:
            log.info("quotas_shared", routers=self._quotas.routers)
        else:
            log.warning("quotas_estimated", routers=self._quotas.routers, refusal=self._refusal)


def quota_metrics(loop: QuotaLoop, quotas: Quotas) -> tuple[Collected, ...]:
    """Return the collectors."""
    return (
        Asked("penstock_quotas_shared", "Routers whose quotas are dealt out for all of them.", lambda: int(loop.is_dealing)),
        Asked("penstock_quota_exchanges", "Ticks on which quotas were dealt out.", lambda: loop.exchanges, is_counter=True),
        Asked("penstock_quota_routers", "Routers that share quotas, as last known.", lambda: quotas.routers, merge=Merge.LARGEST),
    )
