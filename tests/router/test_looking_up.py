"""Questions of a model whose answers are shared, on their way from a front through a Redis of paper to a worker."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from services.router.front import Wave
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request
from tests.router.paper_redis import PaperRedis
from tests.router.sharing_stand import counted, executed, router, sharing, until


async def answered(stand: Stand, front_count: int, kept_count: int) -> None:
    await stand.front.until(front_count)
    await until(lambda: counted(stand).kept == kept_count)


@pytest.fixture
def redis() -> PaperRedis:
    return PaperRedis()


@pytest.fixture
async def worker(tmp_path: Path):
    far = await FakeWorker(tmp_path / "w.sock", "worker-0", "instance-0").start()
    yield far
    far.kill()


async def test_what_one_router_computed_another_answers_with_the_ids_of_its_own_callers(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, sharing()) as first, router(redis, worker, sharing()) as second:
        first.take(request([[1, 2]], id="a"))
        await answered(first, 1, 2)
        second.take(request([[1, 2]], id="b"), request([[1, 2]], id="c"))
        await second.front.until(2)
        looked_up = redis.looked_up
        second.take(request([[1, 2]], id="d"), first_id=3)
        await second.front.until(3)

    assert [(one.id, one.raw_output_contents) for _, one in sorted(second.front.answers.items())] == [
        (identity, first.front.answers[1].raw_output_contents) for identity in "bcd"
    ]
    assert second.front.answers[1].model_version == first.front.answers[1].model_version == "1"
    assert executed(worker) == 1
    # What was found stays in the memory.
    assert (looked_up, redis.looked_up) == (2, 2)
    assert second.tenants.all()["anonymous"].rows_in_flight == 0


async def test_equal_questions_that_redis_does_not_know_reach_a_worker_once(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, sharing()) as stand:
        stand.take(*(request([[1, 2]], id=str(n)) for n in range(10)), *(request([[n, 2]]) for n in range(3, 6)))
        await stand.front.until(13)

    assert (executed(worker), redis.looked_up, len(stand.front.answers)) == (4, 4, 13)
    assert stand.inference.requests_in_flight == 0
    assert stand.tenants.all()["anonymous"].rows_in_flight == 0


async def test_a_redis_that_hangs_is_waited_for_once_and_questions_go_to_workers(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, sharing()) as stand:
        redis.is_deaf = True
        stand.take(request([[1, 2]]))
        await stand.front.until(1)
        looked_up = redis.looked_up
        stand.take(*(request([[n, 2]]) for n in range(2, 12)), first_id=2)
        await stand.front.until(11)

    assert (stand.front.errors, executed(worker)) == ({}, 11)
    assert (looked_up, redis.looked_up) == (1, 1)


async def test_another_digest_and_another_version_have_other_answers(redis: PaperRedis, worker: FakeWorker):
    for number, held in enumerate((sharing(), sharing(digest="d2"), sharing(version="2"), sharing())):
        async with router(redis, worker, held) as stand:
            stand.take(request([[1, 2]]))
            await stand.front.until(1)
            await until(lambda stand=stand, number=number: number == 3 or counted(stand).kept == 2)
            assert stand.front.answers[1].model_version == held.version

    # The last one found what the first had kept.
    assert executed(worker) == 3


async def test_when_the_asker_leaves_while_redis_is_asked_the_next_takes_its_place(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, sharing()) as stand:
        redis.passing = asyncio.Event()
        stand.take(request([[1, 2]], id="gone"), request([[1, 2]], id="stays"), request([[3, 4]], id="gone too"))
        stand.inference.take(stand.front, Wave(cancelled=[1, 3]))
        redis.passing.set()
        await stand.front.until(1)
        await until(lambda: counted(stand).kept == 2)

    assert {number: one.id for number, one in stand.front.answers.items()} == {2: "stays"}
    assert executed(worker) == 1
    assert stand.tenants.all()["anonymous"].rows_in_flight == 0


async def test_a_version_that_is_lost_while_redis_is_asked_is_a_refusal_and_holds_nothing(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, sharing()) as stand:
        redis.passing = asyncio.Event()
        stand.take(request([[1, 2]]))
        stand.dispatch.follow("worker-0", None)
        redis.passing.set()
        await stand.front.until(1)

    assert [error.reason for error in stand.front.errors.values()] == ["NO_READY_REPLICA"]
    assert (stand.inference.requests_in_flight, stand.tenants.all()["anonymous"].rows_in_flight) == (0, 0)


async def test_a_mistake_of_ours_on_the_way_to_workers_leaves_nobody_waiting(redis: PaperRedis, worker: FakeWorker):
    def fails(asking: object) -> None:
        raise RuntimeError("ours")

    async with router(redis, worker, sharing()) as stand:
        ask_workers, stand.shared.ask_workers = stand.shared.ask_workers, fails
        stand.take(request([[1, 2]]))
        await stand.front.until(1)
        stand.shared.ask_workers = ask_workers
        stand.take(request([[5, 6]]), first_id=2)
        await stand.front.until(2)

    assert [error.reason for error in stand.front.errors.values()] == ["INTERNAL"]
    assert list(stand.front.answers) == [2]


async def test_a_model_that_shares_nothing_asks_redis_for_nothing(redis: PaperRedis, worker: FakeWorker):
    async with router(redis, worker, dataclasses.replace(sharing(), model_config=b"")) as stand:
        asked = len(redis.asked)
        stand.take(request([[1, 2]]), request([[1, 2]]))
        await stand.front.until(2)
        stand.take(request([[1, 2]]), first_id=3)
        await stand.front.until(3)

    assert (executed(worker), len(redis.asked), counted(stand).kept) == (1, asked, 1)
