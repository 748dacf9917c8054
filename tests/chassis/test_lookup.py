from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from services.chassis.lookup import LOOKUPS, Lookup, Question

WORKER = Question(name="worker", port=7)


def place(address: str) -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 7))


class Resolver:
    """Finds what it is told to, fails, or hangs; blocks, as that of a machine does."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Any, ...]] = {"worker": (place("10.0.0.1"),)}
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, question: Question) -> tuple[Any, ...]:
        self.asked.append(question.name)
        self.answers.wait(30)
        if question.name not in self.found:
            raise OSError("no such name")
        return self.found[question.name]


async def test_a_name_is_looked_up_every_time():
    resolver = Resolver()
    lookup = Lookup(resolver, unknown_seconds=30)
    first = await lookup.places(WORKER)
    resolver.found["worker"] = (place("10.0.0.2"), place("10.0.0.3"))
    while (second := await lookup.places(WORKER)) == first:  # a thread that gets no CPU for a while is not waited for
        pass

    assert (first, second) == ((place("10.0.0.1"),), (place("10.0.0.2"), place("10.0.0.3")))


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_name_that_cannot_be_looked_up_any_more_is_where_it_was(hangs: bool):
    resolver = Resolver()
    lookup = Lookup(resolver, unknown_seconds=30)
    await lookup.places(WORKER)
    resolver.found.clear()
    if hangs:
        resolver.answers.clear()

    assert [await lookup.places(WORKER) for _ in range(2)] == [(place("10.0.0.1"),)] * 2
    resolver.answers.set()


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_name_of_which_nothing_is_known_is_nowhere(hangs: bool):
    resolver = Resolver()
    resolver.found.clear()
    if hangs:
        resolver.answers.clear()

    with pytest.raises(OSError, match="not looked up in time" if hangs else "no such name"):
        await Lookup(resolver, unknown_seconds=0.1 if hangs else 30).places(WORKER)
    resolver.answers.set()


async def test_a_lookup_that_hangs_is_not_begun_again_and_counts_when_it_ends():
    resolver = Resolver()
    lookup = Lookup(resolver, unknown_seconds=0.1)
    resolver.answers.clear()
    told = await asyncio.gather(*(lookup.places(WORKER) for _ in range(5)), return_exceptions=True)
    asked = len(resolver.asked)
    resolver.answers.set()
    async with asyncio.timeout(30):
        while isinstance(found := (await asyncio.gather(lookup.places(WORKER), return_exceptions=True))[0], OSError):
            pass

    assert [type(one) for one in told] == [socket.gaierror] * 5
    assert (asked, found) == (1, (place("10.0.0.1"),))


async def test_names_that_hang_hold_up_no_other_until_there_are_very_many():
    resolver = Resolver()
    lookup = Lookup(resolver, unknown_seconds=0.1)
    resolver.answers.clear()
    names = [Question(name=f"far-{number}") for number in range(LOOKUPS)]
    told = await asyncio.gather(*(lookup.places(one) for one in names), return_exceptions=True)

    assert len(told) == len(resolver.asked) == LOOKUPS
    with pytest.raises(OSError, match=f"{LOOKUPS} names"):
        await lookup.places(WORKER)
    resolver.answers.set()
