from __future__ import annotations

import asyncio

import pytest

from services.mesh.lookup import Lookup


class Resolver:
    """Finds what it is told to, fails, or hangs."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, ...]] = {"worker": ("10.0.0.1",)}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, name: str) -> tuple[str, ...]:
        self.asked += 1
        await self.answers.wait()
        if name not in self.found:
            raise OSError("no such name")
        return self.found[name]


async def test_a_name_is_looked_up_every_time():
    resolver = Resolver()
    lookup = Lookup(resolver)
    first = await lookup.addresses("worker")
    resolver.found["worker"] = ("10.0.0.2", "10.0.0.3")

    assert (first, await lookup.addresses("worker")) == (("10.0.0.1",), ("10.0.0.2", "10.0.0.3"))


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_name_that_cannot_be_looked_up_any_more_is_where_it_was(hangs: bool):
    resolver = Resolver()
    lookup = Lookup(resolver)
    await lookup.addresses("worker")
    resolver.found.clear()
    if hangs:
        resolver.answers.clear()

    assert [await lookup.addresses("worker") for _ in range(2)] == [("10.0.0.1",)] * 2
    resolver.answers.set()


@pytest.mark.parametrize(("hangs", "error"), [(False, OSError), (True, TimeoutError)])
async def test_a_name_of_which_nothing_is_known_is_nowhere(hangs: bool, error: type[Exception]):
    resolver = Resolver()
    resolver.found.clear()
    if hangs:
        resolver.answers.clear()

    with pytest.raises(error):
        await Lookup(resolver).addresses("worker")
    resolver.answers.set()


async def test_a_lookup_that_hangs_is_not_begun_again_and_counts_when_it_ends():
    resolver = Resolver()
    lookup = Lookup(resolver)
    resolver.answers.clear()
    told = await asyncio.gather(*(lookup.addresses("worker") for _ in range(5)), return_exceptions=True)
    resolver.answers.set()

    assert [type(one) for one in told] == [TimeoutError] * 5
    assert resolver.asked == 1
    assert await lookup.addresses("worker") == ("10.0.0.1",)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_asked_of_nobody(address: str):
    resolver = Resolver()

    assert (await Lookup(resolver).addresses(address), resolver.asked) == ((address,), 0)
