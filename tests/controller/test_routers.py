"""Who confirmed a change, and when."""

from __future__ import annotations

import asyncio

import pytest

from penstock.contracts.router_status import AppliedRoute, RouterStatus
from services.controller.routers import SILENT_SECONDS, UNHEARD_SECONDS, Routers

WALL = 1_000_000.0
"""A time of day; where a status says none, it is long ago."""


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def routers(time: Time) -> Routers:
    return Routers(time, lambda: WALL + time.now)


def status(router_id: str, sequence: int, **more: object) -> RouterStatus:
    return RouterStatus(router_id=router_id, instance_id=f"{router_id}-x", applied_sequence=sequence, **more)  # pyright: ignore[reportArgumentType]


async def test_a_change_is_confirmed_when_every_live_router_has_applied_it(routers: Routers, time: Time):
    routers.follow("a", status("a", 4))
    routers.follow("b", status("b", 5))
    waiting = asyncio.ensure_future(routers.confirmations(5, "c", 99.5, wait_seconds=50))
    await asyncio.sleep(0)
    time.now = 100.25
    routers.follow("a", status("a", 5))

    assert [(one.router_id, one.seconds) for one in await waiting] == [("a", 0.75), ("b", 0.5)]


async def test_without_a_router_nothing_is_waited_for(routers: Routers):
    assert await routers.confirmations(5, "c", 99.0, wait_seconds=50) == ()


async def test_who_does_not_say_so_in_time_is_named(routers: Routers):
    routers.follow("a", status("a", 4))

    assert [(one.router_id, one.seconds) for one in await routers.confirmations(5, "c", 100.0, wait_seconds=0)] == [("a", None)]


async def test_silent_leaving_and_gone_routers_are_not_waited_for(routers: Routers, time: Time):
    routers.follow("silent", status("silent", 1))
    time.now += SILENT_SECONDS + 1
    routers.follow("leaving", status("leaving", 1, draining=True))
    routers.follow("gone", status("gone", 1))
    routers.follow("gone", None)

    assert (await routers.confirmations(5, "c", time.now, wait_seconds=50), routers.live()) == ((), ())


async def test_who_fell_silent_is_named_without_being_waited_for(routers: Routers, time: Time):
    routers.follow("silent", status("silent", 5, observed_time=WALL + time.now))
    time.now += SILENT_SECONDS + 1
    routers.follow("heard", status("heard", 5, observed_time=WALL + time.now))

    told = await routers.confirmations(5, "c", time.now, wait_seconds=50)

    assert [(one.router_id, one.seconds) for one in told] == [("heard", 0.0), ("silent", None)]


async def test_who_was_silent_for_long_is_taken_for_gone(routers: Routers, time: Time):
    routers.follow("gone", status("gone", 1, observed_time=WALL + time.now))
    time.now += UNHEARD_SECONDS + 1

    assert await routers.confirmations(5, "c", time.now, wait_seconds=50) == ()


async def test_what_the_topic_kept_of_a_router_that_is_long_gone_names_nobody(routers: Routers, time: Time):
    routers.follow("gone", status("gone", 1, observed_time=WALL + time.now - UNHEARD_SECONDS - 1))
    time.now += SILENT_SECONDS + 1

    assert await routers.confirmations(5, "c", time.now, wait_seconds=50) == ()


async def test_a_router_that_goes_while_it_is_waited_for_holds_nobody_up(routers: Routers):
    routers.follow("a", status("a", 4))
    waiting = asyncio.ensure_future(routers.confirmations(5, "c", 100.0, wait_seconds=50))
    await asyncio.sleep(0)
    routers.follow("a", None)

    assert await waiting == ()


async def test_a_change_past_the_controller_is_known_by_its_name(routers: Routers):
    routers.follow("a", status("a", 4, applied=(AppliedRoute(model="m", revision=2, change_id="c"),)))

    assert [one.seconds for one in await routers.confirmations(0, "c", 100.0, wait_seconds=0)] == [0.0]
