"""A worker that died of a version again and again does not load it any more, until it is assigned otherwise."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from penstock.contracts.assignments import AssignedReplica, Assignment
from penstock.contracts.names import ModelVersion
from services.chassis.blackbox import Blackbox, crash_file
from services.worker.assigned_desires import AssignedDesires
from services.worker.attempts import Attempts, RetryTimes
from services.worker.crash_book import WINDOW_SECONDS, CrashBook
from services.worker.reconciliation import plan
from services.worker.suspects import Suspects

POISON = ModelVersion(model="m", version="2")
FATAL = "Fatal Python error: Aborted\n\nCurrent thread …"


def assigned(version: str = "2", config: str = "") -> AssignedReplica:
    return AssignedReplica(model="m", version=version, digest=version * 64, config_json=config, deployment_id="d")


def lived(folder: Path, at: float, *, wrote: str = FATAL, verdict: str = "") -> CrashBook:
    """Have a life end while it loads the poison, and the next one begin."""
    box = folder / "box"
    crash_file(box).write_text(wrote)
    words = Blackbox.open(box)
    suspects = Suspects(words)
    with suspects.loading(POISON):
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


def test_one_that_was_killed_from_outside_blames_nobody(tmp_path: Path):
    assert not [book for at in range(5) if (book := lived(tmp_path, at, wrote="").of("m"))]


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
