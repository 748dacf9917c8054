"""Which record of a route is taken, and what the router says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import AppliedRoute
from penstock.contracts.routes import single
from penstock.contracts.topics import ROUTES
from penstock.v1 import router_pb2 as pb
from penstock.v1 import routes_pb2
from penstock.v1.router_pb2_grpc import RouterAdminStub
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.operator_keys import OperatorKeys
from services.chassis.process import running
from services.router.admin_servicer import AdminServicer, serving_admin
from tests.router.operators import Operator, in_force, written


def test_the_status_names_what_was_applied_and_how_far():
    routes = in_force()
    routes.apply("m", RouteRecord(route=replace(single("m", "1", revision=3), sequence=17, change_id="c-1")))

    status = routes.status()

    assert status.applied_sequence == 17
    assert status.applied == (AppliedRoute(model="m", revision=3, change_id="c-1"),)
    assert routes.status().revision > status.revision


def test_a_route_that_ends_is_in_force_no_more():
    routes = in_force()
    told: list[str] = []
    routes.on_change(told.append)
    routes.apply("m", written("m", "1", 1))
    routes.apply("m", None)

    assert routes.plans == {}
    assert told == ["m", "m"]


def test_a_record_under_another_models_key_is_not_applied():
    routes = in_force()

    routes.apply("other", written("m", "1", 1))

    assert routes.plans == {}


def test_an_older_revision_is_never_applied_over_a_newer_one():
    routes = in_force()

    assert not routes.supersedes(written("m", "1", 4), written("m", "2", 5))
    assert routes.supersedes(written("m", "1", 6), written("m", "2", 5))


def test_break_glass_needs_a_known_key_and_its_signature(tmp_path: Path):
    alice, mallory = Operator(), Operator()
    routes = in_force(OperatorKeys.load(alice.file(tmp_path)))
    held, good = written("m", "1", 5), alice.signed(single("m", "2", revision=5))

    assert routes.supersedes(good, held)
    assert not routes.supersedes(mallory.signed(single("m", "2", revision=6)), held)
    assert not routes.supersedes(replace(good, key_id="bob"), held)
    assert not routes.supersedes(replace(good, route_bytes=good.route_bytes + b"\x70\x01"), held)
    assert not routes.supersedes(RouteRecord(route=None, break_glass=True, signature=good.signature, key_id="alice"), held)
    assert not routes.supersedes(alice.signed(single("m", "2", revision=4)), held)
    assert routes.counters.break_glass_refused == 4


def test_without_keys_nobody_breaks_the_glass():
    routes = in_force(OperatorKeys.load(None))

    with pytest.raises(TenantForbidden) as refused:
        routes.check(Operator().signed(single("m", "2", revision=9)))

    assert refused.value.reason == "BAD_SIGNATURE"


@pytest.mark.parametrize("text", ["[keys", '[keys]\na = "rsa:AAAA"', '[keys]\na = "ed25519:AAAA"', "[keys]\na = 7"])
def test_a_file_of_keys_that_is_not_valid_is_refused(tmp_path: Path, text: str):
    (tmp_path / "keys.toml").write_text(text)

    with pytest.raises(InvalidInput):
        OperatorKeys.load(tmp_path / "keys.toml")


async def test_an_operator_applies_a_route_at_the_socket_while_the_bus_is_away(short_dir: Path):
    alice = Operator()
    routes = in_force(OperatorKeys.load(alice.file(short_dir)))
    bus = BusSettings(bootstrap_servers="127.0.0.1:1", retry_seconds=0.01)
    feed = KafkaFeed(TopicSource(topic=ROUTES, bus=bus, snapshot=short_dir / "routes"), RouteRecord.from_bytes, routes.supersedes)
    async with (
        running(feed.follow(routes.apply)),
        serving_admin(AdminServicer(routes, feed), short_dir / "admin.sock") as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        ask = RouterAdminStub(channel)
        request = pb.ApplyRouteRequest(record=wire(alice.signed(single("m", "2", revision=2))))

        first, again = await ask.ApplyRoute(request), await ask.ApplyRoute(request)

        assert (first.applied, again.applied) == (True, False)
        assert first.status.applied[0].revision == 2
        assert [one.key_id for one in (await ask.GetRoutes(pb.GetRoutesRequest())).routes] == ["alice"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask.ApplyRoute(pb.ApplyRouteRequest(record=wire(Operator().signed(single("m", "1", revision=3)))))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as unsigned:
            await ask.ApplyRoute(pb.ApplyRouteRequest(record=wire(written("m", "1", 9))))
        assert unsigned.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    later = in_force()
    restarted = KafkaFeed(TopicSource(topic=ROUTES, bus=bus, snapshot=short_dir / "routes"), RouteRecord.from_bytes, later.supersedes)
    async with running(restarted.follow(later.apply)):
        await restarted.caught_up()
    assert later.plans["m"].only == "2"


def wire(record: RouteRecord) -> routes_pb2.RouteRecord:
    return routes_pb2.RouteRecord.FromString(record.to_bytes())
