"""The gRPC front on penstock-front (native/front): ModelInfer as columns, every other method by a grpcio server behind it.

The native thread hands over what arrived whenever it is about to sleep, and wakes the loop through an event descriptor; there is no pump
thread. Columns are built as the loop takes them, answers leave as lists, one write a connection. What it refuses by itself it says in
words that are made here, so that callers see the same status, reason and details from every front.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self

import structlog

from penstock.contracts.errors import DeadlineExceeded, Draining, Overloaded, RequestTooLarge, ServingError
from penstock.oip.v2.services import INFERENCE_SERVICE
from services.chassis.grpc_status import trailers_of
from services.chassis.tls_files import TlsFiles
from services.router.front import Wave
from services.router.grpc_metadata import PEER_NAME, WATCHED, read_metadata

MODULE = "penstock_front"
MODEL_INFER = f"/{INFERENCE_SERVICE}/ModelInfer"
HELD_LIMIT_BYTES = 1 << 30

log = structlog.get_logger(__name__)

Watched = Mapping[int, Sequence[tuple[int, str]]]
Columns = tuple[list[int], list[bytes], list[str | None], list[float], list[str | None], Watched | None, list[int]]


class NativeSide(Protocol):
    """What the extension's `Front` gives; see native/front/src/front.rs."""

    port: int
    in_flight: int
    is_idle: bool

    def start(self) -> None: ...  # noqa: D102
    def fileno(self) -> int: ...  # noqa: D102
    def recv_wave(self, limit: int) -> Columns: ...  # noqa: D102
    def peer(self, call_id: int, /) -> str | None: ...  # noqa: D102
    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None: ...  # noqa: D102
    def fail_many(self, call_ids: Sequence[int], refusals: Sequence[object]) -> None: ...  # noqa: D102
    def begin_drain(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def counters(self) -> dict[str, int]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFrontOptions:
    """Where the front listens and what it accepts; spans of 0 seconds never end."""

    host: str = "127.0.0.1"
    port: int = 8001
    """0 takes a free port."""
    reuse_port: bool = False
    """Share the port with other router processes (SO_REUSEPORT)."""
    tls: TlsFiles | None = None
    """Key and certificates; None serves in the clear."""
    fallback_path: str | None = None
    """Unix socket of the gRPC server that answers every other method."""
    message_limit_bytes: int = 64 << 20
    held_limit_bytes: int = HELD_LIMIT_BYTES
    """Bytes of all requests that are not answered and of all answers that are not taken."""
    deadline_limit_seconds: float = 60.0
    """Longer deadlines are cut to this."""
    open_calls_limit: int = 16_384
    """Open calls beyond which new ones are refused."""
    max_concurrent_streams: int = 1024
    """Calls in flight of one connection; a client with more waits."""
    max_metadata_bytes: int = 8192
    keepalive_seconds: float = 60.0
    """Quiet time after which a connection is pinged."""
    keepalive_timeout_seconds: float = 20.0
    """How long after a ping a connection may stay silent."""
    stall_seconds: float = 60.0
    """How long a connection may take nothing, and an answer wait for its client's window."""
    connection_seconds: float = 300.0
    """Age at which a connection is asked to go, so that clients spread again; calls on it may take 600 s more."""
    idle_seconds: float = 300.0
    """Time without calls after which a connection is asked to go."""

    def for_native(self) -> dict[str, Any]:
        """Return what the extension takes."""
        tls = self.tls
        return {
            "host": self.host,
            "port": self.port,
            "reuse_port": self.reuse_port,
            "method": MODEL_INFER,
            "fallback_path": self.fallback_path,
            "message_limit_bytes": self.message_limit_bytes,
            "held_limit_bytes": self.held_limit_bytes,
            "open_calls_limit": self.open_calls_limit,
            "max_concurrent_streams": self.max_concurrent_streams,
            "max_metadata_bytes": self.max_metadata_bytes,
            "deadline_limit_seconds": self.deadline_limit_seconds,
            "keepalive_seconds": self.keepalive_seconds,
            "keepalive_timeout_seconds": self.keepalive_timeout_seconds,
            "stall_seconds": self.stall_seconds,
            "connection_seconds": self.connection_seconds,
            "connection_grace_seconds": 600.0,
            "idle_seconds": self.idle_seconds,
            "watched": list(WATCHED),
            "peer_name": PEER_NAME,
            "tls": None if tls is None else _tls_paths(tls),
            "refusals": {name: refusal_of(error) for name, error in self._refusals().items()},
        }

    def _refusals(self) -> dict[str, ServingError]:
        open_calls, message, held = self.open_calls_limit, self.message_limit_bytes, self.held_limit_bytes
        return {
            "too_large": RequestTooLarge(f"the message is longer than the limit of {message} bytes: send fewer rows a request"),
            "too_many": Overloaded(f"{open_calls} calls are open in this process: retry later", retry_after_seconds=0.1),
            "too_much": Overloaded(f"{held} bytes of calls are held in this process: retry later", retry_after_seconds=0.1),
            "draining": Draining("the server is shutting down: retry elsewhere"),
            "too_late": DeadlineExceeded("the deadline passed before there was an answer"),
        }


class ColumnFront:
    """A front port over one native gRPC listener; enter it to listen, leave it to close."""

    def __init__(self, options: ColumnFrontOptions) -> None:
        """Store the options."""
        self._options = options
        self._idle: asyncio.Event | None = None
        self._native: NativeSide

    @property
    def port(self) -> int:
        """The port it listens on; valid once entered."""
        return self._native.port

    @property
    def in_flight(self) -> int:
        """Calls that are neither answered nor left by their callers."""
        return self._native.in_flight

    def counters(self) -> dict[str, int]:
        """Return what the native side counted since it started, by name."""
        return self._native.counters()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port cannot be bound, or a certificate cannot be read.
        """
        self._native = _extension().Front(self._options.for_native())
        # None from an extension that was built before it knew.
        self._peer_of = getattr(self._native, "peer", None)
        self._native.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close as soon as the answers given are sent, at most a second; what is in flight gets UNAVAILABLE. Drain first."""
        await asyncio.to_thread(self._native.close)

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        return self._native.fileno()

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and the cancellations up to there; never blocks."""
        call_ids, payloads, keys, deadlines, traces, watched, cancelled = self._native.recv_wave(limit)
        wave = Wave(call_ids, payloads, keys, deadlines, traces, {}, cancelled, self._peer_of)
        if watched is not None:
            self._read_watched(wave, watched)
        if self._idle is not None and self._native.is_idle:
            self._idle.set()
        return wave

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        self._native.respond_many(call_ids, payloads)

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        self._native.fail_many(call_ids, [refusal_of(error) for error in errors])

    async def drain(self, deadline: float) -> None:
        """Refuse new calls with Draining and ask connections to go; return when none is in flight, or at `deadline` (monotonic seconds).

        Whoever receives waves goes on receiving: what arrived before is served.
        """
        self._idle = asyncio.Event()
        self._native.begin_drain()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._idle.wait()
        except TimeoutError:
            log.warning("column_front_drain_incomplete", in_flight=self.in_flight)

    def _read_watched(self, wave: Wave, watched: Watched) -> None:
        """Read the calls whose metadata holds more than key and trace; those that break a rule are refused and leave the wave."""
        refused: list[int] = []
        errors: list[ServingError] = []
        for place in range(len(wave.call_ids) - 1, -1, -1):
            pairs = watched.get(call_id := wave.call_ids[place])
            if pairs is None:
                continue
            try:
                wave.keys[place], wave.traces[place], affinity = read_metadata((WATCHED[name], value) for name, value in pairs)
            except ServingError as error:
                refused.append(call_id)
                errors.append(error)
                for column in (wave.call_ids, wave.payloads, wave.keys, wave.deadlines, wave.traces):
                    del column[place]
                continue
            if affinity is not None:
                wave.affinities[call_id] = affinity
        if refused:
            self.fail_many(refused, errors)


def refusal_of(error: ServingError) -> object:
    """Return an error as the native side sends it; refusals come in bursts of equal ones, so they are kept."""
    return _refusal(int(error.status.grpc), error.message, trailers_of(error))


@lru_cache(maxsize=1024)
def _refusal(code: int, message: str, trailers: tuple[tuple[str, str | bytes], ...]) -> object:
    encoded = [(name, value if isinstance(value, str) else base64.b64encode(value).rstrip(b"=").decode()) for name, value in trailers]
    return _extension().Refusal(code, message, encoded)


def _extension() -> Any:
    # By name: the extension is a distribution of its own, which a base install does without.
    return importlib.import_module(MODULE)


def _tls_paths(tls: TlsFiles) -> dict[str, Any]:
    return {"certificate_chain": tls.certificate_chain, "private_key": tls.private_key, "client_authorities": tls.client_authorities}
