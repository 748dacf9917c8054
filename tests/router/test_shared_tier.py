"""The second tier of the result cache, on a Redis of paper: what is asked, what is kept, and what happens when nobody replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.cache_values import HEADER_BYTES, key_of, unwrap, wrap
from services.router.shared_tier import KNOCK_SECONDS, QUESTIONS_LIMIT, Found, SharedTier, TierLimits
from tests.chassis.manual_clock import ManualClock
from tests.router.paper_redis import PaperRedis

LIMITS = TierLimits(entry_bytes=100, queue_bytes=250)


class Asker:
    """Keeps what became of questions."""

    def __init__(self) -> None:
        self.settled: dict[str, Found | None] = {}

    def __call__(self, looked_up: Sequence[tuple[str, Found | None]]) -> None:
        for question, found in looked_up:
            assert question not in self.settled
            self.settled[question] = found


@pytest.fixture
def redis() -> PaperRedis:
    return PaperRedis()


@pytest.fixture
def asker() -> Asker:
    return Asker()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tier(redis: PaperRedis, asker: Asker, clock: ManualClock) -> AsyncIterator[SharedTier[str]]:
    made = SharedTier[str](redis, asker, LIMITS, clock)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def opened(tier: SharedTier[str], clock: ManualClock) -> None:
    """Knock until the tier is open, as the first who wants it does."""
    if not tier.is_open:
        assert not tier.look(b"anything", "too early")
        await clock.asleep()
        clock.advance(KNOCK_SECONDS)
        await until(lambda: tier.is_open)


async def test_nobody_is_asked_before_somebody_wants_something(tier: SharedTier[str], redis: PaperRedis, clock: ManualClock):
    await asyncio.sleep(0)
    assert redis.asked == []

    await opened(tier, clock)

    assert redis.asked == [[("PING",)]]
    assert (tier.counters.skipped, tier.counters.errors) == (1, 0)


async def test_what_is_kept_is_found_with_what_is_left_of_its_life(
    tier: SharedTier[str], redis: PaperRedis, asker: Asker, clock: ManualClock
):
    await opened(tier, clock)
    tier.keep(b"k", b"answer", 2.5)
    await until(lambda: b"k" in redis.values)
    redis.lives[b"k"] = 1200

    assert tier.look(b"k", "known")
    assert tier.look(b"other", "unknown")
    await until(lambda: len(asker.settled) == 2)

    assert asker.settled == {"known": Found(b"answer", 1.2), "unknown": None}
    assert (tier.counters.hits, tier.counters.misses, tier.counters.kept) == (1, 1, 1)


async def test_what_is_kept_lives_as_long_as_it_may(tier: SharedTier[str], redis: PaperRedis, clock: ManualClock):
    await opened(tier, clock)
    for key, life in ((b"a", 2.5), (b"b", 1e300), (b"c", 1e-9)):
        tier.keep(key, b"", life)
    await until(lambda: len(redis.lives) == 3)

    assert redis.lives == {b"a": 2500, b"b": 30 * 86_400_000, b"c": 1}


@pytest.mark.parametrize(
    ("value", "life"),
    [
        (b"anything", 1000),
        (wrap(b"k", b"answer")[:-1], 1000),
        (wrap(b"another", b"answer"), 1000),
        (wrap(b"k", b"x" * 101), 1000),
        (wrap(b"k", b"answer"), -1),
        (b"\x00" * 1_000_000, 1000),
    ],
    ids=["foreign", "cut", "of another key", "longer than allowed", "without an end", "huge"],
)
async def test_a_value_that_is_not_ours_as_it_is_is_a_miss_and_counted(
    value: bytes, life: int, tier: SharedTier[str], redis: PaperRedis, asker: Asker, clock: ManualClock
):
    redis.values[b"k"], redis.lives[b"k"] = value, life
    await opened(tier, clock)
    tier.look(b"k", "q")
    await until(lambda: "q" in asker.settled)

    assert asker.settled == {"q": None}
    assert (tier.counters.corrupt, tier.counters.hits, tier.is_open) == (1, 0, True)


async def test_a_refusal_is_a_miss_and_an_error_and_closes_nothing(
    tier: SharedTier[str], redis: PaperRedis, asker: Asker, clock: ManualClock
):
    await opened(tier, clock)
    redis.refuses = True
    tier.look(b"k", "q")
    tier.keep(b"k", b"answer", 1.0)
    await until(lambda: tier.counters.refused == 1)

    assert asker.settled == {"q": None}
    assert (tier.counters.errors, tier.counters.kept, tier.is_open) == (1, 0, True)


async def test_without_a_reply_everybody_who_waits_is_told_and_nobody_waits_again_before_a_knock_was_answered(
    tier: SharedTier[str], redis: PaperRedis, asker: Asker, clock: ManualClock
):
    await opened(tier, clock)
    redis.passing, redis.is_deaf = asyncio.Event(), True
    asked = len(redis.asked)
    assert tier.look(b"1", "under way")
    await until(lambda: len(redis.asked) > asked)
    assert tier.look(b"2", "behind it")
    redis.passing.set()
    await until(lambda: len(asker.settled) == 2)

    assert asker.settled == {"under way": None, "behind it": None}
    assert not tier.look(b"3", "later")
    assert (tier.counters.errors, tier.is_open) == (2, False)

    redis.is_deaf = False
    await clock.asleep()
    clock.advance(KNOCK_SECONDS)
    await until(lambda: tier.is_open)
    assert tier.look(b"4", "after it")
    await until(lambda: "after it" in asker.settled)


async def test_what_waits_to_be_written_is_bounded_and_dropped_where_redis_is_away(
    tier: SharedTier[str], redis: PaperRedis, clock: ManualClock
):
    redis.is_deaf = True
    for number in range(3):
        tier.keep(bytes([number]), b"x" * 100, 1.0)
    tier.keep(b"large", b"x" * 101, 1.0)
    assert (tier.counters.dropped, tier.counters.too_large) == (1, 1)

    redis.is_there = False
    tier.keep(b"away", b"", 1.0)
    assert tier.counters.dropped == 2
    await clock.asleep()
    clock.advance(KNOCK_SECONDS)
    await until(lambda: tier.counters.dropped == 4)

    redis.is_deaf, redis.is_there = False, True
    await clock.asleep()
    clock.advance(KNOCK_SECONDS)
    await until(lambda: tier.is_open)
    for number in range(2):
        tier.keep(bytes([number]), b"x" * 100, 1.0)
    await until(lambda: tier.counters.kept == 2)
    assert set(redis.values) == {b"\x00", b"\x01"}


async def test_questions_that_wait_are_bounded(tier: SharedTier[str], redis: PaperRedis, asker: Asker, clock: ManualClock):
    await opened(tier, clock)

    taken = [tier.look(str(number).encode(), str(number)) for number in range(QUESTIONS_LIMIT + 1)]
    await until(lambda: len(asker.settled) == QUESTIONS_LIMIT)

    assert taken == [True] * QUESTIONS_LIMIT + [False]
    assert sum(command[0] == "GETRANGE" for command in redis.asked[-1]) == QUESTIONS_LIMIT


@given(st.binary(max_size=40), st.binary(max_size=200), st.data())
def test_a_changed_value_is_no_answer(key: bytes, answer: bytes, data: st.DataObject):
    value = wrap(key, answer)
    assert unwrap(key, value) == answer
    assert len(value) == HEADER_BYTES + len(answer)

    at = data.draw(st.integers(0, len(value) - 1))
    changed = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]
    assert unwrap(key, changed) is None
    assert unwrap(key + b"x", value) is None


def test_keys_name_the_tenant_and_tell_inputs_and_versions_apart():
    keys = [
        key_of(tenant, (digest, "template"), parts)
        for tenant in ("a", "a:b", "b*\n")
        for digest in ("d1", "d2")
        for parts in ([b"x", b"y"], [b"xy", b""], [b"", b"xy"])
    ]

    assert len(set(keys)) == len(keys)
    assert keys[0].startswith(b"penstock:answers:1:a:")
    assert keys[6].startswith(b"penstock:answers:1:a%3Ab:")
    assert keys[12].startswith(b"penstock:answers:1:b%2A%0A:")
    assert all(key.count(b":") == 4 for key in keys)
