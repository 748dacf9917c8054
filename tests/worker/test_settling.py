"""A version counts when its files have stopped changing."""

from __future__ import annotations

from pathlib import Path

from services.worker.artefacts import Artefact, FileMark, ModelFolder, RepositoryLook
from services.worker.settling import QUIET_SECONDS, Settling

NOW_TIME = 1_000_000.0


def look(size: int, *, changed_time: float = NOW_TIME) -> RepositoryLook:
    mark = FileMark(path="1/model.onnx", device=1, inode=1, size=size, modified_ns=0, changed_ns=int(changed_time * 1e9), links=1)
    artefact = Artefact(model="m", version="1", model_folder=Path("/r/m"), files=(mark,))
    return RepositoryLook(models={"m": ModelFolder(model="m", folder=Path("/r/m"), versions={"1": artefact})})


def test_a_fresh_version_counts_after_it_looked_the_same_for_the_settle_time():
    settling = Settling(settle_seconds=0.5)

    first = settling.settled(look(1), now=0.0, now_time=NOW_TIME)
    second = settling.settled(look(1), now=0.5, now_time=NOW_TIME)

    assert (first.unsettled, list(first.models["m"].versions)) == ({"m": {"1"}}, [])
    assert (second.unsettled, list(second.models["m"].versions)) == ({}, ["1"])


def test_a_version_that_grows_starts_anew_with_every_change():
    settling = Settling(settle_seconds=0.5)

    waits = [bool(settling.settled(look(size), now=size * 0.4, now_time=NOW_TIME).unsettled) for size in (1, 2, 3)]
    still = settling.settled(look(3), now=1.6, now_time=NOW_TIME)
    done = settling.settled(look(3), now=1.8, now_time=NOW_TIME)

    assert waits == [True, True, True]
    assert still.unsettled
    assert not done.unsettled


def test_what_has_not_changed_for_long_counts_at_first_sight():
    settled = Settling(settle_seconds=0.5).settled(look(1, changed_time=NOW_TIME - QUIET_SECONDS - 1), now=0.0, now_time=NOW_TIME)

    assert not settled.unsettled


def test_a_version_that_was_gone_in_between_starts_anew():
    settling = Settling(settle_seconds=0.5)
    settling.settled(look(1), now=0.0, now_time=NOW_TIME)
    settling.settled(RepositoryLook(), now=0.4, now_time=NOW_TIME)

    assert settling.settled(look(1), now=0.8, now_time=NOW_TIME).unsettled
