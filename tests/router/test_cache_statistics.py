"""Every router tells what all routers' result caches did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.contracts.errors import ExecutionFailed, InvalidInput
from services.chassis.metrics import registry
from services.chassis.metrics_server import MetricsServer, shown
from services.chassis.triton_metrics import TritonMetrics
from services.router.cache_statistics import Cached, RouterCaches
from services.router.outcomes import RouterMetrics


@asynccontextmanager
async def neighbour(state: Path, name: str, metrics: RouterMetrics) -> AsyncIterator[None]:
    """Show metrics as a router does, at a real socket."""
    for folder in ("ready", "metrics"):
        (state / folder).mkdir(exist_ok=True)
    (state / "ready" / name).write_text("{}")
    async with MetricsServer(shown(registry(*metrics.collectors))).on_socket(state / "metrics" / f"{name}.sock"):
        yield


async def test_what_this_router_and_its_neighbours_counted_is_summed(short_dir: Path):
    own, other = RouterMetrics(), RouterMetrics()
    own.of("digits", "1").hit(0.000_002)
    own.of("digits", "1").miss(0.000_003)
    other.of("digits", "1").hit(0.000_010)
    other.of("digits", "1").hit(0.000_010)
    other.of("fraud", "2").miss(0.000_001)
    other.of("fraud", "2").succeed(7, 0.1)
    async with neighbour(short_dir, "router-1", other), neighbour(short_dir, "router-0", own):
        found = await RouterCaches(own.triton, "router-0", short_dir).by_version()

    assert found == {
        ("digits", "1"): Cached(hits=3, misses=1, hit_microseconds=22, miss_microseconds=3),
        ("fraud", "2"): Cached(misses=1, miss_microseconds=1),
    }


async def test_graphs_that_routers_ran_are_summed(short_dir: Path):
    own, other = RouterMetrics(), RouterMetrics()
    own.of("graph", "1").run(3, 0.000_002)
    other.of("graph", "1").run(1, 0.000_005)
    own.of("graph", "1").fail(InvalidInput("mixed"), "team", 2)
    other.of("graph", "1").fail(ExecutionFailed("broke"), "team")
    async with neighbour(short_dir, "router-1", other), neighbour(short_dir, "router-0", own):
        found = await RouterCaches(own.triton, "router-0", short_dir).by_version()

    assert found == {("graph", "1"): Cached(graph_rows=4, graph_runs=2, graph_microseconds=7, failures=3)}


async def test_a_neighbour_that_does_not_answer_is_left_out(short_dir: Path):
    own = RouterMetrics()
    own.of("digits", "1").hit(0.000_002)
    (short_dir / "ready").mkdir()
    (short_dir / "ready" / "router-1").write_text("{}")

    found = await RouterCaches(own.triton, "router-0", short_dir).by_version()
    assert found == {("digits", "1"): Cached(hits=1, hit_microseconds=2)}


async def test_a_router_that_has_no_neighbours_tells_its_own(tmp_path: Path):
    assert await RouterCaches(TritonMetrics(), "router-0", tmp_path / "nowhere").by_version() == {}
