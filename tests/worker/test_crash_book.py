"""A worker that died of a version again and again does not load it any more, until it is assigned otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random

import pytest

from penstock.contracts.assignments import AssignedReplica, Assignment
from penstock.contracts.names import ModelVersion
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from services.chassis.blackbox import Blackbox, crash_file
from services.worker.assigned_desires import AssignedDesires
from services.worker.attempts import Attempts, RetryTimes
from services.worker.crash_book import KILLED, LOOK_SECONDS, PROOF_SECONDS, WINDOW_SECONDS, CrashBook, note_proved
from services.worker.reconciliation import plan
from services.worker.suspects import Suspects
from tests.chassis.manual_clock import ManualClock

POISON = ModelVersion(model="m", version="2")
FATAL = "Fatal Python error: Aborted\n\nCurrent thread …"


Busy = Callable[[Suspects], AbstractContextManager[object]]


def loading(suspects: Suspects) -> AbstractContextManager[object]:
    return suspects.loading(POISON)


@contextmanager
def warming(suspects: Suspects) -> Iterator[None]:
    with suspects.loading(POISON) as slot:
        suspects.warming(slot, POISON)
        yield


@contextmanager
def running(suspects: Suspects, *versions: ModelVersion) -> Iterator[None]:
    for version in versions or (POISON,):
        suspects.hooks(version, 1)[0].on_enter()
    yield


@contextmanager
def loading_beside_another(suspects: Suspects) -> Iterator[None]:
    with running(suspects, ModelVersion(model="m", version="1")), loading(suspects):
        yield


@contextmanager
def idle(suspects: Suspects) -> Iterator[None]:
    (hook,) = suspects.hooks(POISON, 1)
    hook.on_enter()
    hook.on_leave()
    yield


def ready(since: float, digest: str = "2" * 64) -> ReplicaStatus:
    return ReplicaStatus(replica_id=1, model="m", version="2", state=ReplicaState.READY, digest=digest, changed_time=since)


def assigned(version: str = "2", config: str = "") -> AssignedReplica:
    return AssignedReplica(model="m", version=version, digest=version * 64, config_json=config, deployment_id="d")


def lived(folder: Path, at: float, *, wrote: str = FATAL, verdict: str = "", busy: Busy = loading) -> CrashBook:
    """Have a life end while it is busy, by default with loading the poison, and the next one begin."""
    box = folder / "box"
    crash_file(box).write_text(wrote)
    words = Blackbox.open(box)
    suspects = Suspects(words)
    with busy(suspects):
        if verdict:
            suspects.blame(POISON, verdict)
        content = box.read_bytes()
    words.close()
    box.write_bytes(content)
    return begun(folder, at)


def begun(folder: Path, at: float) -> CrashBook:
    book = CrashBook(folder / "crashes.json")
    book.learn(folder / "box", at)
    return book


def test_the_third_death_of_a_version_is_one_too_many_and_says_why(tmp_path: Path):
    books = [dict(lived(tmp_path, at).of("m")) for at in (0.0, 100.0, 200.0)]

    assert books[:2] == [{}, {}]
    assert "while it was loaded" in books[2]["2"]
    assert "Fatal Python error: Aborted" in books[2]["2"]


def test_deaths_that_lie_far_apart_are_forgiven(tmp_path: Path):
    assert not [book for at in range(5) if (book := lived(tmp_path, at * WINDOW_SECONDS).of("m"))]


@pytest.mark.parametrize("busy", [loading, warming, running])
def test_the_third_silent_death_of_a_version_that_was_alone_and_has_proved_nothing_is_one_too_many(tmp_path: Path, busy: Busy):
    books = [dict(lived(tmp_path, at, wrote="", busy=busy).of("m")) for at in (0.0, 100.0, 200.0)]

    assert books[:2] == [{}, {}]
    assert KILLED in books[2]["2"]


def test_silent_deaths_that_lie_far_apart_are_forgiven(tmp_path: Path):
    assert not [book for at in range(5) if (book := lived(tmp_path, at * WINDOW_SECONDS, wrote="").of("m"))]


@pytest.mark.parametrize("busy", [idle, loading_beside_another])
def test_one_that_was_killed_while_it_did_nothing_or_several_things_blames_nobody(tmp_path: Path, busy: Busy):
    assert not [book for at in range(5) if (book := lived(tmp_path, at, wrote="", busy=busy).of("m"))]


def test_what_has_proved_itself_is_not_blamed_for_silent_deaths_while_it_runs_however_many(tmp_path: Path):
    book = begun(tmp_path, 0.0)
    book.keep_only([assigned()])
    book.note([ready(since=0.0)], PROOF_SECONDS)

    silent = [dict(lived(tmp_path, 100.0 + at, wrote="", busy=running).of("m")) for at in range(5)]

    assert silent == [{}] * 5
    assert [dict(lived(tmp_path, 200.0 + at, busy=running).of("m")) for at in range(3)][2].keys() == {"2"}


@pytest.mark.parametrize(
    ("since", "then"),
    [
        pytest.param(1.0, assigned(), id="ready for less than a minute"),
        pytest.param(0.0, assigned(config='{"x":1}'), id="proved with another configuration"),
    ],
)
def test_what_has_not_proved_itself_as_it_is_assigned_is_blamed(tmp_path: Path, since: float, then: AssignedReplica):
    book = begun(tmp_path, 0.0)
    book.keep_only([assigned()])
    book.note([ready(since)], PROOF_SECONDS)
    book.keep_only([then])

    assert [dict(lived(tmp_path, 100.0 + at, wrote="", busy=running).of("m")) for at in range(3)][2].keys() == {"2"}


async def test_the_book_hears_again_and_again_of_what_the_worker_holds(tmp_path: Path):
    book, clock = begun(tmp_path, 0.0), ManualClock()
    task = asyncio.create_task(note_proved(book, lambda: [ready(since=0.0)], clock))
    await clock.asleep()
    clock.advance(LOOK_SECONDS)
    await clock.asleep()
    task.cancel()

    assert [dict(lived(tmp_path, 100.0 + at, wrote="", busy=running).of("m")) for at in range(5)] == [{}] * 5


def test_one_that_ended_itself_because_of_a_version_blames_it(tmp_path: Path):
    books = [dict(lived(tmp_path, at, wrote="", verdict="it held the loop").of("m")) for at in (0.0, 1.0, 2.0)]

    assert "it held the loop" in books[2]["2"]


@pytest.mark.parametrize(
    ("then", "is_given_up"),
    [((assigned(),), True), ((assigned(config='{"x":1}'),), False), ((), False), ((assigned("1"),), False)],
)
def test_it_stays_given_up_for_as_long_as_it_is_assigned_as_it_was(tmp_path: Path, then: tuple[AssignedReplica, ...], is_given_up: bool):
    for at in (0.0, 1.0, 2.0):
        lived(tmp_path, at)
    (tmp_path / "box").unlink()
    crash_file(tmp_path / "box").write_text("")
    begun(tmp_path, 3.0).keep_only([assigned()])
    begun(tmp_path, 4.0).keep_only(then)

    assert bool(begun(tmp_path, 5.0).of("m")) == is_given_up


async def test_what_is_given_up_is_not_loaded_and_the_others_are(tmp_path: Path):
    for at in (0.0, 1.0, 2.0):
        book = lived(tmp_path, at)
    desires = AssignedDesires("w", Attempts(RetryTimes(), Random(7)), book)
    desires.take(Assignment(worker_id="w", revision=1, replicas=(assigned("1"), assigned("2"))))
    steps = plan((await desires.seen({}, now=0.0, now_time=0.0)).desires["m"], [])

    assert [offer.artefact.version for offer in steps.load] == ["1"]
    assert [offer.artefact.version for offer, _ in steps.give_up] == ["2"]


def test_a_book_that_makes_no_sense_is_begun_anew(tmp_path: Path):
    (tmp_path / "crashes.json").write_text('{"crashes": 7}')

    assert begun(tmp_path, 0.0).of("m") == {}
