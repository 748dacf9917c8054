"""Who saw which version, and why: copies, cached answers and what stood in for a version are exposures, too."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.contracts.observations import AnswerSource, Exposure
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, FallbackStep, Route, Shadow
from services.mesh.plan import Reason
from services.router import exposing, observing, shadowing
from services.router.observing import Observing
from services.router.routes_in_force import RoutesInForce
from tests.mesh.conftest import FakeWorker, replica
from tests.router.inference_stand import Stand, request, standing, wave_of
from tests.router.test_fallback import CACHED, declared, failing, version

ONE = (Backend(version="1", weight_basis_points=10_000),)
HALVES = (Backend(version="1", weight_basis_points=5000), Backend(version="2", weight_basis_points=5000))


@pytest.fixture
async def stand(worker: FakeWorker, routes: RoutesInForce) -> AsyncIterator[Stand]:
    held = [replace(replica(version=str(number), replica_id=number), response_cache=number == 1) for number in (1, 2, 3)]
    async with standing([worker], [worker.status(*held)], routes=routes, observing=Observing("router-1")) as built:
        yield built


def put(routes: RoutesInForce, backends: tuple[Backend, ...], *steps: FallbackStep, shadow: Shadow | None = None) -> None:
    routes.apply("echo", RouteRecord(route=Route(model="echo", backends=backends, revision=4, fallback=steps, shadow=shadow)))


async def exposed(stand: Stand, count: int) -> list[Exposure]:
    """Return the exposures once there are so many, and nothing is left to fold."""
    seen = stand.observing
    assert seen is not None
    async with asyncio.timeout(30):
        while seen.fold(100.0) or len(seen.exposures.waiting) < count:
            await asyncio.sleep(0.002)
    return list(seen.exposures.waiting)


async def test_a_shadow_that_answered_a_copy_saw_its_request_and_the_sample_says_why(stand: Stand, routes: RoutesInForce):
    put(routes, ONE, shadow=Shadow(version="2", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(20)))
    await stand.front.until(20)

    copies = await exposed(stand, 20)

    assert {(one.version, one.reason, one.source, one.sample_basis_points) for one in copies} == {("2", Reason.SHADOW, 1, 10_000)}
    assert {(one.tenant, one.route_revision, one.time) for one in copies} == {("anonymous", 4, 100.0)}
    assert sorted(one.request_id for one in copies) == sorted(f"r{n}" for n in range(20))
    assert len({one.unit for one in copies}) == 20
    assert {answer.model_version for answer in stand.front.answers.values()} == {"1"}


async def test_a_copy_that_failed_was_seen_by_nobody(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(2)
    put(routes, ONE, shadow=Shadow(version="2", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(request([[1, 0]], id="a"))
    await stand.front.until(1)
    assert stand.observing is not None
    async with asyncio.timeout(30):
        while not stand.observing.windows.of("echo", "2", is_shadow=True).errors:
            stand.observing.fold(100.0)
            await asyncio.sleep(0.002)

    assert not stand.observing.exposures.waiting


async def test_a_copy_and_its_request_are_joined_by_their_unit(stand: Stand, routes: RoutesInForce):
    put(routes, HALVES, shadow=Shadow(version="3", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(20)))
    await stand.front.until(20)

    seen = await exposed(stand, 40)
    own = {one.request_id: one.unit for one in seen if one.reason == Reason.WEIGHT}

    assert own == {one.request_id: one.unit for one in seen if one.reason == Reason.SHADOW}
    assert len(own) == 20


async def test_an_answer_from_the_cache_is_an_exposure_of_who_got_it(stand: Stand, routes: RoutesInForce):
    put(routes, (*ONE, Backend(version="2", weight_basis_points=0)))
    stand.take(request([[1, 2]], id="first"))
    await stand.front.until(1)
    stand.take(request([[1, 2]], id="again"), first_id=2)
    await stand.front.until(2)

    seen = {one.request_id: (one.version, one.reason, one.source, one.tenant) for one in await exposed(stand, 2)}

    assert seen == {
        "first": ("1", Reason.WEIGHT, AnswerSource.WORKER, "anonymous"),
        "again": ("1", Reason.WEIGHT, AnswerSource.RESULT_CACHE, "anonymous"),
    }
    assert {one.unit for one in await exposed(stand, 2)} == {b""}, "one version has all the traffic: nobody was split"


async def test_who_waited_for_an_identical_call_is_exposed_as_well(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    put(routes, (*ONE, Backend(version="2", weight_basis_points=0)))
    worker.is_mute = True
    stand.take(*(request([[1, 2]], id=f"r{n}") for n in range(3)))
    await asyncio.wait_for(worker.arrived.wait(), 30)
    worker.speak()
    await stand.front.until(3)

    assert sorted(one.source for one in await exposed(stand, 3)) == [
        AnswerSource.WORKER,
        AnswerSource.RESULT_CACHE,
        AnswerSource.RESULT_CACHE,
    ]


async def test_a_version_that_stood_in_is_an_exposure_where_nothing_was_split_too(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1)
    put(routes, ONE, version("2"))
    stand.take(request([[1, 1]], id="a"))
    await stand.front.until(1)

    (one,) = await exposed(stand, 1)

    assert (one.version, one.reason, one.source, one.request_id, one.unit) == ("2", Reason.FALLBACK, AnswerSource.WORKER, "a", b"")


async def test_a_declared_answer_is_an_exposure_of_no_version(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1, 2)
    put(routes, HALVES, declared(7.0))
    stand.take(request([[1, 1]], id="a"))
    await stand.front.until(1)

    (one,) = await exposed(stand, 1)

    assert (one.version, one.reason, one.source, one.request_id) == ("", Reason.FALLBACK, AnswerSource.DECLARED, "a")
    assert one.unit != b""


async def test_a_stale_answer_names_the_version_that_once_gave_it_and_who_waited_sees_it_too(
    stand: Stand, worker: FakeWorker, routes: RoutesInForce, monkeypatch: pytest.MonkeyPatch
):
    put(routes, ONE, CACHED)
    stand.take(request([[1, 1]], id="fresh"))
    await stand.front.until(1)
    worker.answer = failing(1)
    get = stand.shared.cache.get
    monkeypatch.setattr(stand.shared.cache, "get", lambda key, now, **keeps: get(key, now + 3600, **keeps))
    stand.take(request([[1, 1]], id="stale"), request([[1, 1]], id="waits"), first_id=2)
    await stand.front.until(3)

    seen = {one.request_id: (one.version, one.reason, one.source) for one in await exposed(stand, 2)}

    stale = ("1", Reason.FALLBACK, AnswerSource.STALE_CACHE)
    assert seen == {"stale": stale, "waits": stale}


async def test_who_waited_for_a_call_that_failed_is_in_the_window_as_well(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1)
    put(routes, ONE)
    stand.take(*(request([[1, 1]], id=f"r{n}") for n in range(3)))
    await stand.front.until(3)

    await exposed(stand, 0)
    assert stand.observing is not None
    (window,) = [one for one in stand.observing.windows.close(0.0, 1.0) if not one.segment]
    assert (window.version, window.requests, window.errors) == ("1", 3, {"EXECUTION_FAILED": 3})


async def test_who_waited_is_counted_where_the_answer_came_from(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1)
    put(routes, ONE, version("2"))
    stand.take(*(request([[1, 1]], id=f"r{n}") for n in range(3)))
    await stand.front.until(3)

    assert stand.metrics.requests.of("echo", "1", "anonymous", "OK").value == 0
    assert stand.metrics.requests.of("echo", "2", "anonymous", "OK").value == 3


@pytest.mark.parametrize(("module", "limit"), [(exposing, "EXPOSURES_LIMIT"), (observing, "NOTES_LIMIT"), (shadowing, "SEEN_LIMIT")])
async def test_what_finds_no_room_is_counted_and_every_caller_answered(
    stand: Stand, routes: RoutesInForce, monkeypatch: pytest.MonkeyPatch, module: object, limit: str
):
    monkeypatch.setattr(module, limit, 0)
    put(routes, HALVES, shadow=Shadow(version="3", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(10)))
    await stand.front.until(10)
    seen = stand.observing
    assert seen is not None
    wanted = {"EXPOSURES_LIMIT": 20, "NOTES_LIMIT": 10, "SEEN_LIMIT": 10}[limit]
    async with asyncio.timeout(30):
        while seen.fold(100.0) or len(seen.exposures.waiting) + seen.exposures.dropped < 20:
            await asyncio.sleep(0.002)

    assert len(stand.front.answers) == 10
    assert (seen.exposures.dropped, len(seen.exposures.waiting)) == (wanted, 20 - wanted)


async def test_pairs_that_find_no_room_are_counted(stand: Stand, routes: RoutesInForce, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shadowing, "PAIRS_LIMIT", 3)
    put(routes, ONE, shadow=Shadow(version="2", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(10)))
    await stand.front.until(10)
    shadow = stand.inference.shadowing
    assert shadow is not None
    async with asyncio.timeout(30):
        while shadow.dropped_pairs < 7:
            await asyncio.sleep(0.002)

    assert shadow.dropped_pairs == 7


def test_a_unit_is_hashed_with_the_salt_of_its_route():
    book, plan = exposing.Exposures(), exposing.Plan(Route(model="echo", backends=HALVES, revision=1))
    unit = exposing.Unit(Reason.WEIGHT, b"user-1")
    book.add(exposing.Seen(plan, "1", "acme", unit, b"\x1a\x02r1", AnswerSource.WORKER), 1.0)

    assert book.waiting[0].unit == hashlib.sha256(b"echouser-1").digest()[:16]
    assert book.waiting[0].request_id == "r1"


TENANTS = """
[[tenants]]
name = "even"
keys = ["sha256:{even}"]

[[tenants]]
name = "odd"
keys = ["sha256:{odd}"]
"""


async def test_a_window_of_a_tenant_has_the_scores_of_its_own_requests(stand: Stand, routes: RoutesInForce, tmp_path: Path):
    hashes = {name: hashlib.sha256(f"key-{name}".encode()).hexdigest() for name in ("even", "odd")}
    (tmp_path / "tenants.toml").write_text(TENANTS.format(**hashes))
    stand.tenants.load(tmp_path / "tenants.toml")
    put(routes, ONE)
    wave = wave_of([request([[n, 0]], id=f"r{n}") for n in range(20)])
    wave.keys = ["key-odd" if n % 2 else "key-even" for n in range(20)]
    stand.inference.take(stand.front, wave)
    await stand.front.until(20)
    seen = stand.observing
    assert seen is not None
    while seen.fold(100.0):
        pass

    windows = {window.segment: window for window in seen.windows.close(0.0, 1.0)}

    assert {segment: (window.requests, window.scores.total) for segment, window in windows.items()} == {
        "": (20, sum(range(20))),
        "even": (10, sum(range(0, 20, 2))),
        "odd": (10, sum(range(1, 20, 2))),
    }
    assert {window.latency.count for window in windows.values()} == {20, 10}


async def test_a_window_of_copies_has_the_scores_that_the_shadow_gave(stand: Stand, routes: RoutesInForce):
    put(routes, ONE, shadow=Shadow(version="2", sample_basis_points=10_000, concurrency_limit=100))
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(20)))
    await stand.front.until(20)
    await exposed(stand, 20)
    seen = stand.observing
    assert seen is not None
    async with asyncio.timeout(30):
        while seen.windows.of("echo", "2", is_shadow=True).requests < 20:
            seen.fold(100.0)
            await asyncio.sleep(0.002)

    (copies,) = [window for window in seen.windows.close(0.0, 1.0) if window.shadow]

    assert (copies.version, copies.scores.count, copies.scores.total) == ("2", 20, sum(range(20)))
