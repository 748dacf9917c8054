"""The second tier of the result cache: answers that all routers have in common, in Redis. No request fails or waits long for it.

    closed    nobody is asked: questions go to workers at once. Where somebody wants the tier it is knocked for in the background, as rarely
              as the breaker says
    open      Redis answered last time. Questions are collected while a pipeline is on its way, and leave in the next one; what is to be
              kept follows them. The first pipeline without replies closes the tier, and all that wait go to workers

So a Redis that hangs costs the questions of one pipeline its time-out, once, and one that is away costs nothing. A question waits for at
most the pipelines before its own, of which there are two, and for its own. What is to be kept is dropped, and counted, when the queue for
it is full or Redis is away; nothing is tried again.
"""

from __future__ import annotations

from asyncio import Event
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog

from services.chassis.clock import Clock
from services.chassis.redis_client import Command
from services.router.cache_values import HEADER_BYTES, unwrap, wrap

QUESTIONS_LIMIT = 512
"""Most questions that wait for one pipeline; further ones go to workers at once."""
BATCH_BYTES = 512 << 10
"""Written in one pipeline, unless a single answer is larger."""
KNOCK_SECONDS = 0.25
"""Between two looks whether Redis is back; the breaker decides which of them ask."""
LONGEST_LIFE_SECONDS = 30 * 86_400.0
"""Of an answer, however long its model allows."""

log = structlog.get_logger(__name__)

Q = TypeVar("Q")


class Redis(Protocol):
    """Redis, as far as it is needed here: a `RedisClient`."""

    @property
    def is_there(self) -> bool:
        """Whether it is taken for well."""
        ...

    async def ask(self, commands: Sequence[Command]) -> list[Any] | None:
        """Return replies in order, or None in good time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLimits:
    """What the tier takes."""

    entry_bytes: int = 256 << 10
    """Largest answer."""
    queue_bytes: int = 16 << 20
    """Answers that wait to be written."""


@dataclass(slots=True)
class TierCounters:
    """What happened, since the start."""

    hits: int = 0
    misses: int = 0
    corrupt: int = 0
    """Values that nobody of us wrote there as they are; misses, too, for those who asked."""
    errors: int = 0
    """Questions without a reply in time, or with a refusal."""
    skipped: int = 0
    """Questions that were not asked, as the tier was closed or too many waited."""
    kept: int = 0
    dropped: int = 0
    """Answers not written: away, no reply, or too many of them."""
    refused: int = 0
    """Answers that Redis had no room for."""
    too_large: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and how long it still lives."""

    answer: bytes
    life_seconds: float


Settle = Callable[[Sequence[tuple[Q, Found | None]]], object]
"""Told what became of questions, each once; must not raise."""


class SharedTier(Generic[Q]):
    """Looks answers up and keeps them; one a router. `Q` is whatever the asker knows a question by."""

    def __init__(self, redis: Redis, settle: Settle[Q], limits: TierLimits, clock: Clock) -> None:
        """Keep the collaborators; nothing is asked before `run`, and before somebody wants something."""
        self.counters = TierCounters()
        self.is_open = False
        self._redis = redis
        self._settle = settle
        self._limits = limits
        self._clock = clock
        self._questions: list[tuple[bytes, Q]] = []
        self._writes: deque[tuple[bytes, bytes, int]] = deque()
        self._queued_bytes = 0
        self._is_wanted = False
        self._rest_seconds = 0.0
        """Before it is knocked for: a Redis that answers only what is easy would else be opened and closed all the time."""
        self._woken = Event()

    def look(self, key: bytes, question: Q) -> bool:
        """Ask for a key; False, and nothing has happened, when it cannot be asked for now."""
        if not self.is_open or len(self._questions) >= QUESTIONS_LIMIT:
            self.counters.skipped += 1
            self._want()
            return False
        self._questions.append((key, question))
        self._want()
        return True

    def keep(self, key: bytes, answer: bytes, life_seconds: float) -> None:
        """Write an answer when its turn comes, or not at all."""
        if len(answer) > self._limits.entry_bytes:
            self.counters.too_large += 1
            return
        self._want()
        if not self._redis.is_there or self._queued_bytes + len(answer) > self._limits.queue_bytes:
            self.counters.dropped += 1
            return
        life = int(1000 * min(life_seconds, LONGEST_LIFE_SECONDS))
        self._writes.append((key, wrap(key, answer), max(life, 1)))
        self._queued_bytes += len(answer)

    async def run(self) -> None:
        """Ask and write until cancelled."""
        try:
            while True:
                if not self._is_wanted:
                    self._woken.clear()
                    await self._woken.wait()
                self._is_wanted = False
                if not self.is_open:
                    await self._knock()
                await self._look_up()
                await self._write()
        finally:
            self.is_open = False

    def _want(self) -> None:
        if not self._is_wanted:
            self._is_wanted = True
            self._woken.set()

    async def _knock(self) -> None:
        await self._clock.sleep(self._rest_seconds)
        while await self._redis.ask([("PING",)]) is None:
            if not self._redis.is_there:
                self._drop(len(self._writes))
            await self._clock.sleep(KNOCK_SECONDS)
        self.is_open = True
        log.info("shared_cache_open")

    def _close(self, asked: list[tuple[bytes, Q]]) -> None:
        """Ask nobody any more; `asked` and all who wait are told that nothing was found."""
        self.is_open, self._rest_seconds = False, KNOCK_SECONDS
        asked, self._questions = asked + self._questions, []
        self.counters.errors += len(asked)
        log.warning("shared_cache_closed", questions=len(asked), effect="routers go on with what is in their memory")
        if asked:
            self._settle([(question, None) for _, question in asked])

    async def _look_up(self) -> None:
        asked, self._questions = self._questions, []
        if not asked:
            return
        end = HEADER_BYTES + self._limits.entry_bytes - 1
        # No more of a value than one of ours can have, whoever wrote it.
        replies = await self._redis.ask([one for key, _ in asked for one in (("GETRANGE", key, 0, end), ("PTTL", key))])
        if replies is None:
            self._close(asked)
            return
        pairs = zip(asked, replies[::2], replies[1::2], strict=True)
        self._settle([(question, self._read(key, value, life)) for (key, question), value, life in pairs])

    def _read(self, key: bytes, value: Any, life_milliseconds: Any) -> Found | None:
        if not isinstance(value, bytes) or not isinstance(life_milliseconds, int):
            self.counters.errors += 1
            return None
        if not value or life_milliseconds in (0, -2):  # it ended between the two looks
            self.counters.misses += 1
            return None
        answer = unwrap(key, value)
        if answer is None or life_milliseconds < 0:
            self.counters.corrupt += 1
            return None
        self.counters.hits += 1
        return Found(answer, life_milliseconds / 1000)

    async def _write(self) -> None:
        if not self._writes or not self.is_open:
            return
        taken: list[Command] = []
        size = 0
        while self._writes and (not taken or size + len(self._writes[0][1]) <= BATCH_BYTES):
            key, value, life = self._writes.popleft()
            taken.append(("SET", key, value, "PX", life))
            size += len(value)
        self._queued_bytes -= size - HEADER_BYTES * len(taken)
        replies = await self._redis.ask(taken)
        if replies is None:
            self.counters.dropped += len(taken)
            self._close([])
            return
        refused = sum(isinstance(reply, Exception) for reply in replies)
        self.counters.refused += refused
        self.counters.kept += len(taken) - refused
        if self._writes:
            self._want()

    def _drop(self, count: int) -> None:
        self._writes.clear()
        self._queued_bytes = 0
        self.counters.dropped += count
