"""The inference path under written routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, KeySource, KillSwitch, Route, RoutingKey
from services.router.front import Affinity
from services.router.routes_in_force import RoutesInForce
from services.router.targets import DEGRADED, ROUTE_REVISION, SERVED_BY
from tests.mesh.conftest import FakeWorker, replica
from tests.router.inference_stand import Stand, request, standing, wave_of

HALF = (Backend(version="1", weight_basis_points=5000), Backend(version="2", weight_basis_points=5000))


@pytest.fixture
async def stand(worker: FakeWorker, routes: RoutesInForce) -> AsyncIterator[Stand]:
    held = worker.status(replica(version="1", replica_id=1), replica(version="2", replica_id=2))
    async with standing([worker], [held], routes=routes) as built:
        yield built


def put(routes: RoutesInForce, backends: tuple[Backend, ...], *, revision: int = 1, **fields: object) -> None:
    route = Route(model="echo", backends=backends, revision=revision, **fields)  # type: ignore[arg-type]
    routes.apply("echo", RouteRecord(route=route))


def everything_to(version: str) -> tuple[Backend, ...]:
    return (Backend(version=version, weight_basis_points=10_000),)


def versions(stand: Stand) -> list[str]:
    return [stand.front.answers[call].model_version for call in sorted(stand.front.answers)]


async def test_a_model_without_a_route_is_refused_and_its_versions_answer_by_name(stand: Stand):
    stand.take(request([[1, 2]]), request([[1, 2]], model_version="1"))
    await stand.front.until(2)

    assert stand.front.errors[1].reason == "NO_ROUTE"
    assert isinstance(stand.front.errors[1], Unavailable)
    assert stand.front.answers[2].model_version == "1"


async def test_an_answer_says_who_gave_it_and_by_which_revision(stand: Stand, routes: RoutesInForce):
    put(routes, everything_to("2"), revision=7)

    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(3)))
    await stand.front.until(3)

    for answer in stand.front.answers.values():
        assert answer.parameters[SERVED_BY].string_param == "2"
        assert answer.parameters[ROUTE_REVISION].int64_param == 7
        assert answer.parameters[DEGRADED].string_param == "no"


async def test_a_new_revision_counts_from_the_next_request(stand: Stand, routes: RoutesInForce):
    for revision, version in ((1, "1"), (2, "2"), (3, "1")):
        put(routes, everything_to(version), revision=revision)
        stand.take(request([[1, 1]]), request([[1, 1]]), first_id=10 * revision)
        await stand.front.until(2 * revision)

    assert versions(stand) == ["1", "1", "2", "2", "1", "1"]
    assert stand.front.answers[31].parameters[ROUTE_REVISION].int64_param == 3


@pytest.mark.parametrize(
    ("key", "asked", "affinity"),
    [
        (RoutingKey(source=KeySource.USER), {"user": "u-1"}, None),
        (RoutingKey(source=KeySource.USER), {}, Affinity("u-1", None)),
        (RoutingKey(source=KeySource.SESSION), {}, Affinity(None, "s-1")),
        (RoutingKey(source=KeySource.PARAMETER, parameter="house"), {"house": "17"}, None),
        (RoutingKey(source=KeySource.TENANT), {}, None),
    ],
)
async def test_a_declared_key_sticks(
    stand: Stand, routes: RoutesInForce, key: RoutingKey, asked: dict[str, str], affinity: Affinity | None
):
    put(routes, HALF, routing_key=key)
    requests = [request([[n, 0]], id=f"r{n}") for n in range(64)]
    for one in requests:
        for name, value in asked.items():
            one.parameters[name].string_param = value
    wave = wave_of(requests)
    if affinity is not None:
        wave.affinities = dict.fromkeys(wave.call_ids, affinity)

    stand.inference.take(stand.front, wave)
    await stand.front.until(64)

    assert len(set(versions(stand))) == 1
    assert stand.understanding.choosing.counters.keyless == 0


async def test_requests_without_the_key_are_drawn_one_by_one_and_counted(stand: Stand, routes: RoutesInForce):
    put(routes, HALF, routing_key=RoutingKey(source=KeySource.USER))

    stand.take(*(request([[n, 0]]) for n in range(200)))
    await stand.front.until(200)

    assert 60 < versions(stand).count("1") < 140
    assert stand.understanding.choosing.counters.keyless == 200


async def test_tenants_share_a_chunk_whatever_their_versions_are_pinned_to(stand: Stand, routes: RoutesInForce, tmp_path: Path):
    put(routes, everything_to("1"), pins={"anonymous": "2"})

    stand.take(request([[1, 1]]), request([[2, 2]]))
    await stand.front.until(2)

    assert versions(stand) == ["2", "2"]


async def test_a_kill_takes_effect_at_once_by_name_too(stand: Stand, routes: RoutesInForce):
    put(routes, HALF)
    stand.take(*(request([[n, 0]], id=f"a{n}") for n in range(50)))
    await stand.front.until(50)
    put(routes, HALF, revision=2, kill_switches=(KillSwitch(version="2"),))

    stand.take(*(request([[n, 0]], id=f"a{n}") for n in range(50)), request([[1, 1]], model_version="2"), first_id=100)
    await stand.front.until(101)

    assert {stand.front.answers[call].model_version for call in range(100, 150)} == {"1"}
    assert stand.front.errors[150].reason == "VERSION_KILLED"


async def test_a_version_that_is_not_ready_is_stood_in_for_by_the_next_of_the_chain(stand: Stand, routes: RoutesInForce):
    put(routes, everything_to("9"), fallback=(FallbackStep(kind=FallbackKind.VERSION, version="1"),))

    stand.take(request([[1, 1]], id="a"), request([[2, 2]], id="b"))
    await stand.front.until(2)

    assert versions(stand) == ["1", "1"]
    assert stand.front.answers[1].parameters[DEGRADED].string_param == "version"


async def test_without_a_chain_a_version_that_is_not_ready_is_refused(stand: Stand, routes: RoutesInForce):
    put(routes, everything_to("9"))

    stand.take(request([[1, 1]]))
    await stand.front.until(1)

    assert isinstance(stand.front.errors[1], Exception)
    assert stand.front.errors[1].reason == "MODEL_LOADING"
