"""The one way to Redis: one client a process and purpose, with time limits, a breaker and counters.

Whoever asks gets the replies, or None: within `timeout_seconds` (and `connect_seconds` where a connection has to be made first), and at
once while the breaker is open. Nothing is ever raised for Redis's sake, and nothing is tried again: the next tick or wave asks anew.
Callers are loops that ask once a tick or once a wave, never once a request, and no request waits for one of their ticks.

redis-py's defaults are wrong for that: it tries ten times with pauses between, and what a connection whose reader was cancelled holds may
be taken for the next question's replies. Here nothing is tried again, and all connections are thrown away with every failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.chassis.breaker import Breaker, BreakerPolicy
from services.chassis.clock import Clock
from services.chassis.key_files import check_key
from services.chassis.metrics import Asked, Collected
from services.chassis.process import CannotStart

CONNECTIONS = 8
"""Most connections of a process: each loop that asks has one question on its way."""
CLOSE_SECONDS = 1.0
"""Longest wait for a connection that is thrown away."""

Word = str | bytes | int | float
Command = tuple[Word, ...]
"""A command and its arguments."""

log = structlog.get_logger(__name__)


class RedisSettings(BaseModel):
    """How to reach Redis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    """`redis://host:port[/database]`, or `rediss://…` for TLS; empty means that there is no Redis and every router is on its own."""
    username: str = ""
    """Of an ACL; empty is the default user."""
    password: str = Field(default="", repr=False)
    """Give it by the environment, or as the file that REDIS__PASSWORD_FILE names there."""
    authorities: Path | None = None
    """PEM file of the authorities that a `rediss://` server's certificate must come from; none takes the machine's."""
    certificate: Path | None = None
    """PEM file of the certificate that is shown to a `rediss://` server which asks for one."""
    key: Path | None = None
    """PEM file of its key."""
    timeout_seconds: float = Field(default=0.02, gt=0, le=30)
    """Longest wait for replies."""
    connect_seconds: float = Field(default=0.1, gt=0, le=30)
    """Longest wait for a connection with its first answer; a Redis that hangs is given up after five of them."""
    retry_seconds: float = Field(default=1.0, gt=0, le=60)
    """Pause after which a Redis that failed again and again is asked once more; it doubles up to `retry_limit_seconds`."""
    retry_limit_seconds: float = Field(default=30.0, gt=0, le=600)
    """Longest such pause."""

    @field_validator("url")
    @classmethod
    def plain_url(cls, value: str) -> str:
        """Refuse what is not the address of a Redis, and secrets in it: a URL is logged and shown."""
        parts = urlsplit(value)
        if value and (parts.scheme not in {"redis", "rediss"} or not parts.hostname or not _has_numbers(parts)):
            raise ValueError("must be redis://host:port[/database] or rediss://…, the port 1 to 65535 and the database a number")
        if parts.username or parts.password:
            raise ValueError("must hold no user or password: set redis.username and redis.password")
        if parts.query or parts.fragment:
            raise ValueError("must hold nothing after '?' or '#': the settings of redis have a name each, the password redis.password")
        return value

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse half a TLS setting, and one that would not be used: what is meant to be secret would go in the clear."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if (self.authorities or self.certificate) and not self.url.startswith("rediss://"):
            raise ValueError("authorities, certificate and key are for a rediss:// url")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a Redis."""
        return bool(self.url)


@dataclass(slots=True)
class RedisCounters:
    """What happened, since the start."""

    asked: int = 0
    """Pipelines sent."""
    failures: int = 0
    """Pipelines without replies: no connection, no answer in time, an answer that was none."""
    spared: int = 0
    """Pipelines that the open breaker kept back."""
    refused: int = 0
    """Commands that Redis answered with an error, for example for want of memory."""
    times_away: int = 0
    """How often Redis was given up."""


class RedisClient:
    """Asks Redis for one purpose; entered before it is asked."""

    def __init__(
        self, settings: RedisSettings, clock: Clock, policy: BreakerPolicy | None = None, *, effect: str = "routers go on by themselves"
    ) -> None:
        """Keep the arguments, `effect` for the log when it is away; nothing is connected yet."""
        self.counters = RedisCounters()
        self.breaker = Breaker(
            policy=policy or BreakerPolicy(first_pause_seconds=settings.retry_seconds, longest_pause_seconds=settings.retry_limit_seconds)
        )
        self._settings = settings
        self._effect = effect
        self._clock = clock
        self._client: Any = None

    async def __aenter__(self) -> Self:
        """Look whether the package is there, and the key fit to be used; Redis itself may be away.

        Raises:
            CannotStart: it is not installed, or the key is not there or one that others may read.
        """
        try:
            if self._settings.key is not None:
                check_key(self._settings.key)
        except OSError as error:
            raise CannotStart(f"redis.key: {error}") from None
        try:
            import redis.asyncio  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  only a process that has a Redis needs it
        except ImportError:
            raise CannotStart("redis.url is set, but the package redis is not installed: pip install 'penstock[mesh]'") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._dismiss()

    @property
    def is_there(self) -> bool:
        """Whether Redis is taken for well."""
        return self.breaker.is_closed

    async def ask(self, commands: Sequence[Command]) -> list[Any] | None:
        """Send commands in one pipeline and return their replies in order; None when there are none.

        A command that Redis refused has its exception for a reply; it is counted, and says nothing against Redis.
        """
        if not self.breaker.may_ask(self._clock.now()):
            self.counters.spared += 1
            return None
        self.breaker = self.breaker.asking()
        try:
            replies = await self._asked(commands)
        except asyncio.CancelledError:
            self.breaker = self.breaker.forgotten()
            raise
        self.counters.refused += sum(isinstance(reply, Exception) for reply in replies or ())
        return replies

    async def _asked(self, commands: Sequence[Command]) -> list[Any] | None:
        from redis.exceptions import RedisError  # noqa: PLC0415  see __aenter__

        self.counters.asked += 1
        try:
            if self._client is None:
                self._client = await self._connected()
            async with asyncio.timeout(self._settings.timeout_seconds):
                pipeline = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError, RuntimeError) as error:
            # RuntimeError is uvloop's word for writing to a connection that was reset.
            self._failed(error)
            await self._dismiss()
            return None
        except asyncio.CancelledError:
            # Its replies would be taken for those of the next question.
            await self._dismiss()
            raise
        self._succeeded()
        return replies

    async def _connected(self) -> Any:
        client = _client(self._settings)
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                await client.ping()
        except BaseException:
            self._client = client
            raise
        return client

    def _failed(self, error: BaseException) -> None:
        was_there = self.is_there
        self.breaker = self.breaker.failed_at(self._clock.now())
        self.counters.failures += 1
        if was_there and not self.is_there:
            self.counters.times_away += 1
            log.warning("redis_away", url=self._settings.url, reason=type(error).__name__, effect=self._effect)

    def _succeeded(self) -> None:
        was_there = self.is_there
        self.breaker = self.breaker.succeeded(self._clock.now())
        if self.is_there and not was_there:
            log.info("redis_is_back", url=self._settings.url)

    async def _dismiss(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # whatever a connection that is thrown away has to say
                async with asyncio.timeout(CLOSE_SECONDS):
                    await client.aclose()


def redis_metrics(client: RedisClient) -> tuple[Collected, ...]:
    """Return the collectors."""
    counters = client.counters
    return (
        Asked("penstock_redis_used", "Processes that have a Redis to use.", lambda: 1),
        Asked("penstock_redis_up", "Processes that take Redis for well.", lambda: int(client.is_there)),
        Asked("penstock_redis_asked", "Pipelines sent to Redis.", lambda: counters.asked, is_counter=True),
        Asked("penstock_redis_failures", "Pipelines that Redis did not answer in time.", lambda: counters.failures, is_counter=True),
        Asked("penstock_redis_spared", "Pipelines kept back while Redis was given up.", lambda: counters.spared, is_counter=True),
        Asked("penstock_redis_refused", "Commands that Redis refused, as for want of memory.", lambda: counters.refused, is_counter=True),
        Asked("penstock_redis_times_away", "Times Redis was given up.", lambda: counters.times_away, is_counter=True),
    )


def _has_numbers(parts: SplitResult) -> bool:
    database = parts.path.removeprefix("/")
    try:
        return parts.port != 0 and (not database or (database.isascii() and database.isdecimal()))
    except ValueError:
        return False


def _client(settings: RedisSettings) -> Any:
    from redis.asyncio import Redis  # noqa: PLC0415  see __aenter__
    from redis.asyncio.retry import Retry  # noqa: PLC0415  as above
    from redis.backoff import NoBackoff  # noqa: PLC0415  as above

    files = {"ssl_ca_certs": settings.authorities, "ssl_certfile": settings.certificate, "ssl_keyfile": settings.key}
    tls: dict[str, Any] = {name: str(path) for name, path in files.items() if path is not None}
    if settings.key is not None:
        # A key with a password would be asked for at the terminal; with this it is an error like others.
        tls["ssl_password"] = ""
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        settings.url,
        username=settings.username or None,
        password=settings.password or None,
        protocol=2,
        socket_timeout=None,
        socket_connect_timeout=settings.connect_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=CONNECTIONS,
        health_check_interval=0,
        **tls,
    )
