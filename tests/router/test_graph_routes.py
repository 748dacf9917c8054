"""Graphs under written routes: what a route takes away or puts in their place, and what is told of it, is as for every version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, FallbackStep, KillSwitch, Route
from services.router.observing import Observing
from services.router.routes_in_force import RoutesInForce
from services.router.targets import DEGRADED, SERVED_BY
from tests.router.graph_stand import GraphStand, graph, graph_standing, rows_of, single
from tests.router.test_fallback import CACHED, declared, version


@pytest.fixture
async def graphs(tmp_path: Path, routes: RoutesInForce) -> AsyncIterator[GraphStand]:
    async with graph_standing(tmp_path, routes=routes, observing=Observing("router-1")) as stand:
        put(routes, "triple")
        stand.hold(graph(single("triple"), origin="only.y"))
        yield stand


def put(
    routes: RoutesInForce,
    model: str,
    *steps: FallbackStep,
    versions: tuple[str, ...] = ("1",),
    kills: tuple[KillSwitch, ...] = (),
    revision: int = 1,
) -> None:
    backends = tuple(Backend(version=one, weight_basis_points=10_000 // len(versions)) for one in versions)
    route = Route(model=model, backends=backends, revision=revision, fallback=steps, kill_switches=kills)
    routes.apply(model, RouteRecord(route=route))


async def test_a_killed_graph_is_not_run_where_a_declared_answer_stands_in(graphs: GraphStand, routes: RoutesInForce):
    put(routes, "graph", declared(7.0), kills=(KillSwitch(version="1"),))

    answer = await graphs.ask()

    assert rows_of(answer) == [[7.0, 7.0]]
    assert (answer.parameters[SERVED_BY].string_param, answer.parameters[DEGRADED].string_param) == ("", "declared")
    assert graphs.replicas_asked() == []


async def test_a_graph_that_nobody_holds_any_more_is_not_run(graphs: GraphStand, routes: RoutesInForce):
    put(routes, "graph", declared(7.0))
    before = await graphs.ask()
    graphs.stand.front.answers.clear()
    graphs.held.pop()
    graphs.hold()

    after = await graphs.ask()

    assert rows_of(before) == [[3.0, 6.0]]
    assert rows_of(after) == [[7.0, 7.0]]


@pytest.mark.parametrize("identity", ["call-7", "", "é" * 100], ids=["short", "none", "long"])
async def test_an_exposure_of_a_graph_has_the_id_of_its_request_alone(graphs: GraphStand, routes: RoutesInForce, identity: str):
    put(routes, "graph", versions=("1", "2"))
    graphs.hold(replace(graph(single("triple"), origin="only.y", replica_id=91), version="2"))

    await graphs.ask(id=identity)

    assert graphs.stand.observing is not None
    while graphs.stand.observing.fold(1.0):
        pass
    assert [one.request_id for one in graphs.stand.observing.exposures.waiting if one.model == "graph"] == [identity]


async def test_a_step_that_its_route_declares_is_named_so(graphs: GraphStand, routes: RoutesInForce):
    put(routes, "triple", declared(4.0), kills=(KillSwitch(version="1"),), revision=2)
    put(routes, "graph")

    answer = await graphs.ask([1.0, 2.0], [3.0, 4.0])

    assert rows_of(answer) == [[4.0, 4.0]] * 2
    assert answer.parameters["penstock.step.only"].string_param == "declared"


@pytest.mark.parametrize("steps", [(), (CACHED,), (version("1"),)])
async def test_a_step_whose_versions_are_all_killed_says_so(graphs: GraphStand, routes: RoutesInForce, steps: tuple[FallbackStep, ...]):
    put(routes, "triple", *steps, kills=(KillSwitch(version="1"),), revision=2)
    put(routes, "graph")

    error = await graphs.ask()

    assert isinstance(error, Unavailable)
    assert error.reason == "VERSION_KILLED"
    assert error.message == "graph graph@1: step 'only' (triple): every version of model 'triple' that has a share is switched off"
