"""Graphs end with their callers, cost them one request, and are ready when their steps are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.contracts.errors import (
    DeadlineExceeded,
    NoReadyReplica,
    OutputContract,
    QuotaExceeded,
)
from services.router.admission import TenantPolicy
from services.router.directory import Directory
from services.router.front import Wave
from services.router.tenant_policies import Admitted
from tests.router.graph_stand import PAIR, GraphStand, graph, graph_standing, rows_of, single
from tests.router.inference_stand import request


@pytest.fixture
async def graphs(tmp_path: Path) -> AsyncIterator[GraphStand]:
    async with graph_standing(tmp_path) as stand:
        yield stand


async def test_a_caller_that_leaves_takes_the_steps_along(graphs: GraphStand):
    graphs.hold(graph(single("mute"), origin="only.y"))
    graphs.stand.take(request([[1.0, 2.0]], model="graph"))
    await graphs.until(lambda: bool(graphs.worker.chunks))

    graphs.stand.inference.take(graphs.stand.front, Wave(cancelled=[1]))
    await graphs.until(lambda: bool(graphs.worker.cancels) and graphs.runs.calls.in_flight == 0)

    assert graphs.stand.inference.requests_in_flight == 0


async def test_a_deadline_that_passes_ends_the_graph_and_its_steps(graphs: GraphStand):
    graphs.hold(graph(single("mute"), origin="only.y"))

    error = await graphs.ask(deadline=time.monotonic() + 0.3)
    await graphs.until(lambda: graphs.runs.calls.in_flight == 0 and graphs.stand.inference.requests_in_flight == 0)

    assert isinstance(error, DeadlineExceeded)


async def test_a_tenant_pays_for_one_request_and_needs_the_right_to_the_graph_alone(graphs: GraphStand):
    policy = TenantPolicy(name="acme", requests_per_second=0.001, models=("graph",), max_rows_in_flight=1)
    graphs.stand.tenants.put("acme", Admitted(policy=policy, keys=()))
    graphs.stand.tenants.close()
    tenant = graphs.stand.tenants.all()["acme"]
    graphs.stand.tenants.known["key"] = tenant
    graphs.hold(graph(PAIR))

    first = await graphs.ask(key="key")
    graphs.stand.front.answers.clear()
    second = await graphs.ask(key="key")

    assert rows_of(first) == [[2.0, 4.0]]
    assert isinstance(second, QuotaExceeded)
    assert tenant.rows_in_flight == 0


async def test_a_graph_may_be_a_step_of_a_graph_and_one_of_itself_ends(graphs: GraphStand):
    graphs.hold(
        graph(single("triple"), origin="only.y", model="inner", replica_id=91),
        graph(single("inner"), origin="only.y"),
        graph(single("endless"), origin="only.y", model="endless", replica_id=92),
    )

    nested = await graphs.ask()
    graphs.stand.front.answers.clear()
    error = await graphs.ask(model="endless")

    assert rows_of(nested) == [[3.0, 6.0]]
    assert isinstance(error, OutputContract)
    assert "graph endless@1 stands within itself: endless@1 > endless@1" in error.message
    assert not Directory(graphs.stand.table).model_ready("endless")


async def test_graphs_within_graphs_have_a_limit(graphs: GraphStand):
    deep = [graph(single(f"g{n + 1}"), origin="only.y", model=f"g{n}", replica_id=91 + n) for n in range(4)]
    graphs.hold(*deep, graph(single("triple"), origin="only.y", model="g4", replica_id=99))

    fitting = await graphs.ask(model="g1")
    graphs.stand.front.answers.clear()
    error = await graphs.ask(model="g0")

    assert rows_of(fitting) == [[3.0, 6.0]]
    assert isinstance(error, OutputContract)
    assert error.reason == "GRAPH_TOO_DEEP"
    assert Directory(graphs.stand.table).model_ready("g1")
    assert not Directory(graphs.stand.table).model_ready("g0")


async def test_a_graph_is_ready_when_all_its_steps_are(graphs: GraphStand):
    graphs.hold(graph(single("triple"), origin="only.y"), graph(single("absent"), origin="only.y", model="lacking", replica_id=91))
    directory = Directory(graphs.stand.table)

    states = {one.name: (one.state, one.reason) for one in directory.index().models}
    error = await graphs.ask(model="lacking")

    assert directory.model_ready("graph")
    assert not directory.model_ready("lacking")
    assert states["graph"] == ("READY", "")
    assert states["lacking"][0] == "UNAVAILABLE"
    assert "step 'only': model 'absent' is not known here" in states["lacking"][1]
    assert isinstance(error, NoReadyReplica)
    assert "step 'only' (absent)" in error.message


async def test_a_key_that_looks_like_a_step_opens_nothing(graphs: GraphStand):
    graphs.stand.tenants.put("acme", Admitted(policy=TenantPolicy(name="acme"), keys=()))
    graphs.stand.tenants.close()
    graphs.hold(graph(PAIR))

    error = await graphs.ask(key="\0step of acme")

    assert type(error).__name__ == "Unauthenticated"
