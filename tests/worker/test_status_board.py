"""Changes of one turn leave together, and what could not be written is written later."""

from __future__ import annotations

import asyncio
import time

from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.worker.config import WorkerSettings
from services.worker.status_board import LONGEST_REST_SECONDS, StatusBoard, rest_after


class Shelf:
    """A publisher that keeps everything, and fails when told to."""

    def __init__(self) -> None:
        self.published: list[WorkerStatus | None] = []
        self.is_full = False
        self.stop_seconds = 0.0
        """How long the process is stopped in the middle of the next publications."""

    def publish(self, key: str, value: WorkerStatus | None) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        if self.stop_seconds:
            time.sleep(self.stop_seconds)
        self.published.append(value)


def replica(number: int, state: ReplicaState) -> ReplicaStatus:
    return ReplicaStatus(replica_id=number, model="m", version=str(number), state=state)


def board_of(shelf: Shelf, replicas: list[ReplicaStatus]) -> StatusBoard:
    board = StatusBoard(
        identity=WorkerStatus(worker_id="w", instance_id="w-1", link_address=""), publisher=shelf, replicas=lambda: tuple(replicas)
    )
    board.open(link_address="unix:/l", control_address="unix:/c")
    return board


async def test_changes_of_one_turn_are_one_status_with_one_revision():
    shelf, replicas = Shelf(), [replica(1, ReplicaState.READY)]
    board = board_of(shelf, replicas)
    first = len(shelf.published)

    replicas[:] = [replica(1, ReplicaState.DRAINING)]
    board.change()
    replicas.append(replica(2, ReplicaState.READY))
    board.change()
    await asyncio.sleep(0)

    assert len(shelf.published) == first + 1
    newest = shelf.published[-1]
    assert newest is not None
    assert [one.state.name for one in newest.replicas] == ["DRAINING", "READY"]
    assert newest.revision == board.current.revision == 2


async def test_nothing_is_published_before_the_worker_can_be_reached_or_when_nothing_changed():
    shelf = Shelf()
    board = StatusBoard(identity=WorkerStatus(worker_id="w", instance_id="w-1", link_address=""), publisher=shelf)
    board.publish()
    assert shelf.published == []

    board.open(link_address="unix:/l", control_address="unix:/c")
    board.publish()

    assert [one.link_address for one in shelf.published if one] == ["unix:/l"]


async def test_a_status_that_could_not_be_written_is_written_at_the_next_look():
    shelf, replicas = Shelf(), list[ReplicaStatus]()
    board = board_of(shelf, replicas)
    shelf.is_full = True
    replicas.append(replica(1, ReplicaState.READY))
    board.publish()

    shelf.is_full = False
    board.publish()

    assert shelf.published[-1] == board.current
    assert board.current.replicas


async def test_a_watcher_sees_the_newest_status_and_a_waiter_the_one_it_waits_for():
    shelf, replicas = Shelf(), list[ReplicaStatus]()
    board = board_of(shelf, replicas)
    watch = board.watch()
    assert not (await anext(watch)).replicas
    waiting = asyncio.create_task(board.wait_until(lambda status: len(status.replicas) == 2))
    await asyncio.sleep(0)

    for number in (1, 2):
        replicas.append(replica(number, ReplicaState.READY))
        board.publish()

    assert len((await anext(watch)).replicas) == 2
    assert len((await waiting).replicas) == 2


async def test_a_worker_that_is_gone_withdraws_its_status_and_says_nothing_more():
    shelf = Shelf()
    board = board_of(shelf, [])

    board.withdraw()
    board.is_draining = True
    board.publish()

    assert shelf.published[-1] is None


def test_publications_that_cost_milliseconds_rest_in_proportion_and_none_rests_long():
    assert 0.04 < rest_after(0.005) < 0.06
    assert rest_after(0.7) == rest_after(300.0) == LONGEST_REST_SECONDS


def test_a_rest_is_short_beside_the_notice_of_a_drain():
    assert WorkerSettings.model_fields["notice_seconds"].default > 2 * LONGEST_REST_SECONDS


async def test_a_worker_that_was_stopped_while_it_published_is_not_silent_for_long():
    shelf, replicas = Shelf(), list[ReplicaStatus]()
    board = board_of(shelf, replicas)
    shelf.stop_seconds = 0.3
    replicas.append(replica(1, ReplicaState.LOADING))
    board.publish()

    replicas[:] = [replica(1, ReplicaState.READY)]
    shelf.stop_seconds = 0.0
    board.change()

    async with asyncio.timeout(30):
        while shelf.published[-1] != board.current or board.current.replicas[0].state is not ReplicaState.READY:
            await asyncio.sleep(0.005)


async def test_whoever_wants_to_know_hears_whether_routers_can_know():
    shelf, replicas = Shelf(), [replica(1, ReplicaState.READY)]
    board = board_of(shelf, replicas)
    told = [board.tell()]
    shelf.is_full = True
    replicas.append(replica(2, ReplicaState.READY))
    told += [board.tell(), board.tell()]
    shelf.is_full = False
    told.append(board.tell())

    assert told == [True, False, False, True]
