"""The routers that were heard of lately, and when each of them had applied a change."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.contracts.router_status import RouterStatus

ASKED_LIMIT = 1_000
"""Most versions of which it is remembered that they were asked for; anybody may ask for any name."""
SILENT_SECONDS = 3.0
"""A router says something every second; one that was silent so long is not waited for."""
UNHEARD_SECONDS = 300.0
"""A router that fell silent and did not say that it leaves is still named so long: cut off from the bus, it may answer by what it knew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A router's last word, and when it came in monotonic seconds."""

    status: RouterStatus
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfirmation:
    """When a router had applied a change, counted from the call; None when it has not said so."""

    router_id: str
    seconds: float | None


class Routers:
    """Follows what routers report."""

    def __init__(self, now: Callable[[], float], wall_seconds: Callable[[], float] = time.time) -> None:
        """Keep the monotonic clock, and the one that routers date their words by."""
        self._now = now
        self._wall_seconds = wall_seconds
        self._heard: dict[str, Heard] = {}
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._news = asyncio.Event()
        self._listeners: list[Callable[[RouterStatus], object]] = []

    def on_word(self, listener: Callable[[RouterStatus], object]) -> None:
        """Tell `listener` every status that was heard, and those to come."""
        self._listeners.append(listener)
        for one in self._heard.values():
            listener(one.status)

    def follow(self, router_id: str, status: RouterStatus | None) -> None:
        """Take a router's newest status; None when it is gone."""
        if status is None:
            self._heard.pop(router_id, None)
        else:
            held = self._heard.get(router_id)
            # What a topic keeps of routers that are long gone is read at the start: their own time says how old it is only roughly,
            # so a first word counts as just heard and the next one is waited for.
            if held is None or held.status != status:
                self._heard[router_id] = Heard(status=status, at=self._now())
                for listener in self._listeners:
                    listener(status)
            self._note_asked(status)
        self._news.set()

    def asked(self) -> Mapping[tuple[str, str], float]:
        """Return when versions that no route names were last asked for, by model and version, in seconds since the Unix epoch."""
        return self._asked

    def _note_asked(self, status: RouterStatus) -> None:
        for one in status.asked:
            name = (one.model, one.version)
            self._asked[name] = max(one.asked_time, self._asked.get(name, 0.0))
            self._asked.move_to_end(name)
        while len(self._asked) > ASKED_LIMIT:
            self._asked.popitem(last=False)

    def all(self) -> tuple[Heard, ...]:
        """Return every router's last word."""
        return tuple(self._heard.values())

    def live(self) -> tuple[RouterStatus, ...]:
        """Return the statuses of routers that were heard lately and take calls."""
        return tuple(one.status for one in self._heard.values() if self._now() - one.at <= SILENT_SECONDS and not one.status.draining)

    def unheard(self) -> tuple[str, ...]:
        """Return the names of routers that fell silent not long ago without saying that they leave."""
        now, wall = self._now(), self._wall_seconds()
        return tuple(
            one.status.router_id
            for one in self._heard.values()
            if now - one.at > SILENT_SECONDS and wall - one.status.observed_time <= UNHEARD_SECONDS and not one.status.draining
        )

    async def confirmations(self, sequence: int, change_id: str, since: float, wait_seconds: float) -> tuple[RouterConfirmation, ...]:
        """Return when each router had applied a change, after all that are live have said so or the wait is over.

        Who fell silent is not waited for, and named as who has not said so.

        Args:
            sequence: the change's number in the outbox.
            change_id: its name, for changes that came past the controller.
            since: when the call arrived, in monotonic seconds.
            wait_seconds: longest wait.
        """
        done: dict[str, float] = {}
        until = self._now() + wait_seconds
        while True:
            waiting = self._note(done, sequence, change_id, since)
            left = until - self._now()
            if not waiting or left <= 0:
                break
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                continue
        unheard = [router_id for router_id in self.unheard() if router_id not in done and router_id not in waiting]
        silent = [RouterConfirmation(router_id=router_id, seconds=None) for router_id in (*waiting, *unheard)]
        return tuple(
            sorted(
                [*(RouterConfirmation(router_id=router_id, seconds=seconds) for router_id, seconds in done.items()), *silent],
                key=lambda one: one.router_id,
            )
        )

    def _note(self, done: dict[str, float], sequence: int, change_id: str, since: float) -> tuple[str, ...]:
        """Note who has applied it, and return who has not."""
        waiting: list[str] = []
        for status in self.live():
            if status.router_id in done:
                continue
            if status.has_applied(sequence, change_id):
                done[status.router_id] = self._now() - since
            else:
                waiting.append(status.router_id)
        return tuple(waiting)
