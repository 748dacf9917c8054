"""How a server is doing, as one value: who it is, what it holds, what its workers do, what happens a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.cli import terminal
from penstock.cli.address import ServerAddress
from penstock.cli.metrics_page import MetricsMissing, fetch
from penstock.cli.model_views import Document, ServerIdentity, VersionEntry
from penstock.cli.rates import OF_REDIS, Look, Rate, Version, between
from penstock.cli.server_client import identity_of, versions_of
from penstock.cli.table import NOTHING, facts, table
from penstock.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What was seen at one moment."""

    address: ServerAddress
    identity: ServerIdentity
    is_ready: bool
    versions: Sequence[VersionEntry]
    seen_at: float
    """Monotonic seconds."""
    look: Look | None = None
    """The metrics; None when they cannot be had."""
    metrics_problem: str = ""
    rates: Mapping[Version, Rate] = field(default_factory=dict[Version, Rate])
    """By version since the look before; empty at the first. `("", "")` is everything together."""

    def document(self) -> Document:
        """Return it for printing."""
        serve = self.address.serve
        return {
            "server": {"name": self.identity.name, "version": self.identity.version, "grpc": self.address.grpc},
            "process_id": serve.process_id if serve else None,
            "repository": serve.repository if serve and not serve.mesh else None,
            "mesh": (serve.mesh or None) if serve else None,
            "is_ready": self.is_ready,
            "versions_by_state": dict(self._states()),
            "versions": [self._version_document(entry) for entry in self.versions],
            "workers": [{"worker": name, **_whole(known)} for name, known in self._workers()],
            "requests": {"answered": int(self.look.answered), "failed": int(self.look.failed)} if self.look else None,
            "redis": self._redis(),
            "rate": _rate_document(self.rates.get(("", ""))),
            "metrics_problem": self.metrics_problem or None,
        }

    def text(self) -> str:
        """Return it for people."""
        parts = [facts(self._facts(), width=terminal.width())]
        if self.versions:
            parts.append(self._versions_text())
        if self.look and self.look.workers:
            parts.append(self._workers_text())
        return "\n\n".join(parts)

    def line(self) -> str:
        """Return it on one line, for logs."""
        rate = self.rates.get(("", ""))
        flow = "" if rate is None else f", {_flow(rate)}"
        return f"{'ready' if self.is_ready else 'not ready'}, versions {_counted(self._states())}{flow}"

    def _facts(self) -> list[tuple[str, Any]]:
        serve, look, rate = self.address.serve, self.look, self.rates.get(("", ""))
        found: list[tuple[str, Any]] = [("server", f"{self.identity.name} {self.identity.version} at {self.address}")]
        if serve is not None:
            found.append(("mesh", serve.mesh) if serve.mesh else ("repository", serve.repository))
        found += [("ready", self.is_ready), ("versions", _counted(self._states()))]
        if look is not None:
            found.append(("requests", f"{look.answered:,.0f} answered, {look.failed:,.0f} refused or failed since the start"))
        if (redis := self._redis()) is not None:
            found.append(("redis", _redis_text(redis)))
        elif look is not None and serve is not None and serve.mesh:
            found.append(("redis", "none: every router has its own part of quotas"))
        if rate is not None:
            found.append(("now", _flow(rate)))
        return [*found, ("metrics", self.metrics_problem)] if self.metrics_problem else found

    def _versions_text(self) -> str:
        heads = ("model", "version", "state", *(("req/s", "err/s", "p50 ms", "p99 ms") if self.rates else ()), "reason")
        rows = [(entry.model, entry.version, entry.state, *self._flow_of(entry), entry.reason) for entry in self.versions]
        return table(heads, rows, width=terminal.width())

    def _flow_of(self, entry: VersionEntry) -> tuple[object, ...]:
        if not self.rates:
            return ()
        rate = self.rates.get((entry.model, entry.version), Rate())
        return rate.requests_per_second, rate.failures_per_second, rate.p50_ms, rate.p99_ms

    def _workers_text(self) -> str:
        heads = ("worker", "running", "links", "rows in flight", "memory mb", "starts")
        return table(heads, [_worker_row(name, known) for name, known in self._workers()], width=terminal.width())

    def _version_document(self, entry: VersionEntry) -> Document:
        rate = self.rates.get((entry.model, entry.version))
        return {**entry.document(), **({} if rate is None else {"rate": _rate_document(rate)})}

    def _workers(self) -> list[tuple[str, dict[str, float]]]:
        return sorted(self.look.workers.items()) if self.look else []

    def _redis(self) -> dict[str, int] | None:
        """Return how routers see Redis; None when they have none, or nobody tells."""
        known = self.look.redis if self.look else {}
        return {fact: int(known.get(fact, 0.0)) for fact in OF_REDIS.values()} if known.get("routers") else None

    def _states(self) -> Counter[str]:
        return Counter(entry.state for entry in self.versions)


def state_of(client: Client, address: ServerAddress, metrics: str, *, former: ServerState | None = None) -> ServerState:
    """Look at a server; with a former look, also at what happened since.

    Raises:
        ServingError: it does not answer, or not to this caller. Metrics that cannot be had are a part of the state.
    """
    look, problem = None, ""
    try:
        look = fetch(metrics)
    except MetricsMissing as error:
        problem = str(error)
    seen_at = time.monotonic()
    known = former.look if former else None
    return ServerState(
        address=address,
        identity=identity_of(client),
        is_ready=client.is_ready(),
        versions=versions_of(client),
        seen_at=seen_at,
        look=look,
        metrics_problem=problem,
        rates=between(known, look, seen_at - former.seen_at) if former and known and look else {},
    )


def _worker_row(name: str, known: Mapping[str, float]) -> tuple[object, ...]:
    whole, memory = _whole(known), known.get("memory_bytes")
    megabytes = None if memory is None else memory / 1e6
    return name, whole.get("is_running"), whole.get("links_up"), whole.get("rows_in_flight"), megabytes, whole.get("starts")


def _whole(known: Mapping[str, float]) -> Document:
    return {fact: bool(value) if fact == "is_running" else int(value) for fact, value in known.items()}


def _redis_text(known: Mapping[str, int]) -> str:
    routers, reached, away = known["routers"], known["reachable_by"], known["times_away"]
    parts = [f"reachable by {reached} of {routers} router{'s' * (routers != 1)}"]
    if reached < routers:
        parts[0] += ", given up by the rest, which go on by themselves"
    parts.append(f"quotas shared by {known['quotas_shared_by']}, cached answers by {known['answers_shared_by']}")
    if away:
        parts.append(f"given up {away} time{'s' * (away != 1)} since the start")
    return "; ".join(parts)


def _rate_document(rate: Rate | None) -> Document | None:
    if rate is None:
        return None
    return {
        "requests_per_second": rate.requests_per_second,
        "failures_per_second": rate.failures_per_second,
        "p50_ms": rate.p50_ms,
        "p99_ms": rate.p99_ms,
    }


def _flow(rate: Rate) -> str:
    failures = f", {rate.failures_per_second:,.1f} failures/s" if rate.failures_per_second else ""
    return f"{rate.requests_per_second:,.1f} requests/s{failures}, p50 {_ms(rate.p50_ms)}, p99 {_ms(rate.p99_ms)}"


def _ms(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g} ms"


def _counted(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
