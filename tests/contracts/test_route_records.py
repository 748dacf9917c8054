"""The wire form of routes, and which of two is in force."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, MalformedBody
from penstock.contracts.route_records import RouteRecord, route_from_bytes, route_to_bytes, supersedes
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, KeySource, KillSwitch, Route, RoutingKey, Shadow, single
from penstock.v1 import routes_pb2

FULL = Route(
    model="fraud",
    backends=(
        Backend(version="v3.0", weight_basis_points=9000, attempts=3, try_timeout_seconds=0.2),
        Backend(version="v3.1", weight_basis_points=1000),
    ),
    revision=7,
    writer_epoch=2,
    sequence=99,
    change_id="c-1",
    changed_time=1.5,
    routing_key=RoutingKey(source=KeySource.PARAMETER, parameter="account", salt="s"),
    pins={"acme": "v3.0"},
    aliases={"champion": "v3.0"},
    shadow=Shadow(version="v4", sample_basis_points=500, concurrency_limit=3),
    fallback=(
        FallbackStep(kind=FallbackKind.VERSION, version="light"),
        FallbackStep(kind=FallbackKind.CACHED),
        FallbackStep(kind=FallbackKind.DECLARED, declared_response=b"\x01"),
    ),
    kill_switches=(KillSwitch(version="v2", tenant="acme"),),
    frozen=True,
)


def record(revision: int, *, epoch: int = 1, break_glass: bool = False) -> RouteRecord:
    route = Route(model="m", backends=single("m", "1").backends, revision=revision, writer_epoch=epoch)
    return RouteRecord(route=route, break_glass=break_glass)


def test_a_route_keeps_everything_over_the_wire():
    assert route_from_bytes(route_to_bytes(FULL)) == FULL


def test_the_same_route_gives_the_same_bytes_so_that_a_signature_holds():
    assert route_to_bytes(route_from_bytes(route_to_bytes(FULL))) == route_to_bytes(FULL)


def test_a_record_keeps_the_very_bytes_that_were_signed():
    raw = RouteRecord(route=FULL, break_glass=True, signature=b"sig", key_id="k").to_bytes()
    read = RouteRecord.from_bytes(raw)

    assert (read.route, read.route_bytes, read.signature, read.key_id, read.break_glass) == (FULL, route_to_bytes(FULL), b"sig", "k", True)
    assert read.to_bytes() == raw


def test_a_record_without_a_route_ends_it():
    assert RouteRecord.from_bytes(RouteRecord(route=None).to_bytes()).route is None


@pytest.mark.parametrize("raw", [b"\xff\xff", routes_pb2.RouteRecord(route=b"\xff").SerializeToString()])
def test_bytes_that_are_no_route_are_refused(raw: bytes):
    with pytest.raises(MalformedBody):
        RouteRecord.from_bytes(raw)


def test_a_route_whose_weights_are_no_whole_is_refused_on_arrival():
    proto = routes_pb2.Route(model="m", backends=[routes_pb2.Backend(version="1", weight_basis_points=9999)])

    with pytest.raises(InvalidInput):
        route_from_bytes(proto.SerializeToString())


def test_a_source_of_a_later_release_is_drawn_by_request():
    proto = routes_pb2.Route(model="m", backends=[routes_pb2.Backend(version="1", weight_basis_points=10_000)])
    proto.routing_key.source = 77  # pyright: ignore[reportAttributeAccessIssue]

    assert route_from_bytes(proto.SerializeToString()).routing_key.source is KeySource.REQUEST


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes):
    try:
        RouteRecord.from_bytes(raw)
    except (MalformedBody, InvalidInput):
        return


def test_the_higher_revision_wins_in_whatever_order_they_come():
    for order in permutations([record(1), record(2), record(3)]):
        held: RouteRecord | None = None
        for one in order:
            held = one if supersedes(one, held) else held
        assert held is not None
        assert held.route is not None
        assert held.route.revision == 3


def test_breaking_the_glass_wins_at_the_same_revision_and_not_over_a_higher_one():
    assert supersedes(record(5, break_glass=True), record(5))
    assert not supersedes(record(5), record(5, break_glass=True))
    assert not supersedes(record(5, break_glass=True), record(6))
    assert supersedes(record(6), record(5, break_glass=True))


def test_a_writer_that_was_replaced_is_not_heard_whatever_its_revision():
    assert not supersedes(record(9, epoch=1), record(5, epoch=2))
    assert supersedes(record(6, epoch=2), record(5, epoch=1))
    assert supersedes(record(2, epoch=2), record(5, epoch=1))
