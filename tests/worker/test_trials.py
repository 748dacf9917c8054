"""A version that nobody has had ready yet is loaded by one worker at a time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from services.worker.artefacts import Artefact
from services.worker.reconciliation import Offer
from services.worker.trials import TAKE_OVER_SECONDS, Trials


def offer(model: str = "m", config_json: str = "") -> Offer:
    return Offer(artefact=Artefact(model=model, version="1", model_folder=Path("/r") / model, files=()), config_json=config_json)


class Loads:
    """Loads that last until they are told to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.begun: list[str] = []
        self.may_end = asyncio.Event()

    async def load(self, worker: Trials, name: str, wanted: Offer, *, is_suspect: bool = False) -> None:
        async with worker.turn(wanted, is_suspect=is_suspect):
            self.begun.append(name)
            await self.may_end.wait()
            worker.prove(wanted)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A serve that has begun to serve."""
    Trials(tmp_path, "worker-9").rest()
    return tmp_path


async def looked(times: int = 5) -> None:
    await asyncio.sleep(0.05 * times)


async def test_at_the_first_start_everybody_loads_at_once(tmp_path: Path):
    loads = Loads(tmp_path)
    async with asyncio.TaskGroup() as group:
        for name in ("worker-0", "worker-1"):
            group.create_task(loads.load(Trials(tmp_path, name), name, offer()))
        async with asyncio.timeout(30):
            while len(loads.begun) < 2:
                await asyncio.sleep(0.001)
        loads.may_end.set()


async def test_later_one_worker_tries_and_the_others_follow_when_it_is_ready(folder: Path):
    loads = Loads(folder)
    async with asyncio.TaskGroup() as group:
        for name in ("worker-0", "worker-1"):
            group.create_task(loads.load(Trials(folder, name), name, offer()))
        await looked()
        tried = list(loads.begun)
        loads.may_end.set()

    assert len(tried) == 1
    assert sorted(loads.begun) == ["worker-0", "worker-1"]


async def test_what_was_ready_once_is_loaded_by_everybody_at_once_until_its_content_changes(folder: Path):
    Trials(folder, "worker-9").prove(offer())
    one, other = Trials(folder, "worker-0"), Trials(folder, "worker-1")
    async with one.turn(offer(), is_suspect=True), other.turn(offer(), is_suspect=True):
        changed = offer(config_json="{}")
        await stays_waiting(one, other, changed)


async def stays_waiting(one: Trials, other: Trials, wanted: Offer) -> None:
    async with one.turn(wanted, is_suspect=False):
        waiting = asyncio.create_task(Loads(Path()).load(other, "worker-1", wanted))
        await looked()

        assert not waiting.done()
        waiting.cancel()


async def test_one_worker_tries_one_version_after_the_other(folder: Path):
    loads, worker = Loads(folder), Trials(folder, "worker-0")
    async with asyncio.TaskGroup() as group:
        for model in ("a", "b"):
            group.create_task(loads.load(worker, model, offer(model)))
        await looked()
        tried = list(loads.begun)
        loads.may_end.set()

    assert tried == ["a"]
    assert loads.begun == ["a", "b"]


async def test_a_failed_trial_hands_the_turn_on(folder: Path):
    with pytest.raises(ZeroDivisionError):
        async with Trials(folder, "worker-0").turn(offer(), is_suspect=False):
            raise ZeroDivisionError

    async with asyncio.timeout(30), Trials(folder, "worker-1").turn(offer(), is_suspect=False):
        pass


async def test_when_a_worker_died_of_a_trial_only_its_successor_tries_again(folder: Path):
    (folder / "turn").write_text("worker-0")
    loads = Loads(folder)
    waiting = asyncio.create_task(loads.load(Trials(folder, "worker-1"), "worker-1", offer()))
    await looked()
    assert loads.begun == []

    successor = asyncio.create_task(loads.load(Trials(folder, "worker-0"), "worker-0", offer(), is_suspect=True))
    await looked()
    assert loads.begun == ["worker-0"]
    loads.may_end.set()
    await asyncio.wait_for(asyncio.gather(waiting, successor), 10)


async def test_a_worker_with_nothing_left_to_load_lets_go_of_the_turn_of_its_former_life(folder: Path):
    (folder / "turn").write_text("worker-0")
    Trials(folder, "worker-0").rest()

    async with asyncio.timeout(30), Trials(folder, "worker-1").turn(offer(), is_suspect=False):
        pass


async def test_a_worker_that_does_not_come_back_is_not_waited_for_for_ever(folder: Path):
    (folder / "turn").write_text("worker-0")
    long_ago = (folder / "turn").stat().st_mtime - TAKE_OVER_SECONDS - 1
    os.utime(folder / "turn", (long_ago, long_ago))

    async with asyncio.timeout(30), Trials(folder, "worker-1").turn(offer(), is_suspect=False):
        assert (folder / "turn").read_text() == "worker-1"


async def test_a_folder_that_cannot_be_used_keeps_nobody_from_loading(tmp_path: Path):
    trials = Trials(tmp_path / "nowhere", "worker-0")
    async with asyncio.timeout(30), trials.turn(offer(), is_suspect=True):
        trials.prove(offer())
    trials.rest()
