"""What the result caches of all routers of this machine did, and the graphs that they ran, by version, since each router's start.

Each router keeps its own cache, and whoever asks for a model's statistics meets any one of them: its own counts it knows, the others'
are read from their metrics sockets. A router that does not answer in time is left out, as a worker is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.chassis.aggregate import SCRAPE_SECONDS, scrape
from services.chassis.triton_metrics import TritonMetrics

_ATTRIBUTES = {
    "nv_cache_num_hits_per_model": "hits",
    "nv_cache_num_misses_per_model": "misses",
    "nv_cache_hit_duration_per_model": "hit_microseconds",
    "nv_cache_miss_duration_per_model": "miss_microseconds",
    "nv_inference_request_failure": "failures",
    # Routers execute nothing but graphs: of other versions workers count these, and routers show 0.
    "nv_inference_count": "graph_rows",
    "nv_inference_exec_count": "graph_runs",
    "nv_inference_compute_infer_duration_us": "graph_microseconds",
}
log = structlog.get_logger(__name__)

Version = tuple[str, str]
"""Model and version."""


@dataclass(slots=True, kw_only=True)
class Cached:
    """What the caches and graphs did for one version."""

    hits: int = 0
    misses: int = 0
    hit_microseconds: int = 0
    miss_microseconds: int = 0
    failures: int = 0
    """Requests that were not answered, for whatever reason."""
    graph_rows: int = 0
    graph_runs: int = 0
    graph_microseconds: int = 0


class CacheCounts(Protocol):
    """Tells what the caches did."""

    async def by_version(self) -> Mapping[Version, Cached]:
        """Return the sums over all routers that answer."""
        ...


class RouterCaches:
    """The caches of this router and of its neighbours."""

    def __init__(self, own: TritonMetrics, router_id: str, state_dir: Path) -> None:
        """Keep this router's counters, and where the others are found."""
        self._own = own
        self._router_id = router_id
        self._state_dir = state_dir

    async def by_version(self) -> Mapping[Version, Cached]:
        """Return the sums over all routers that answer."""
        sums: dict[Version, Cached] = {}
        for family in self._own.collect():
            for sample in family.samples:
                _add(sums, sample.name, sample.labels, sample.value)
        for text in await asyncio.gather(*(self._shown(name) for name in self._neighbours())):
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    _add(sums, sample.name, sample.labels, sample.value)
        return sums

    def _neighbours(self) -> list[str]:
        ready = self._state_dir / "ready"
        names = [path.name for path in ready.iterdir()] if ready.is_dir() else []
        return sorted(name for name in names if name != self._router_id and not name.startswith("."))

    async def _shown(self, name: str) -> str:
        """Return the lines about caches and graphs that a neighbour shows, as OpenMetrics; none when it does not answer."""
        try:
            async with asyncio.timeout(SCRAPE_SECONDS):
                text = await scrape(self._state_dir / "metrics" / f"{name}.sock")
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("router_statistics_missing", router=name, reason=f"{type(error).__name__}: {error}")
            text = ""
        return "".join(f"{line}\n" for line in text.splitlines() if _is_ours(line)) + "# EOF\n"


def _is_ours(line: str) -> bool:
    words = line.partition("{")[0].split()
    return any(word in _ATTRIBUTES for word in words)


def _add(sums: dict[Version, Cached], name: str, labels: Mapping[str, str], value: float) -> None:
    attribute = _ATTRIBUTES.get(name)
    if attribute is not None and value:
        cached = sums.setdefault((labels["model"], labels["version"]), Cached())
        setattr(cached, attribute, getattr(cached, attribute) + int(value))
