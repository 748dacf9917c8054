"""Two controllers on one catalogue: one is stopped past its lease, the other takes over, the first one wakes up and goes on writing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.controller.audit_trail import AuditTrail
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine

ROOT = Path(__file__).parents[2]


class Child:
    def __init__(self, url: str, name: str, folder: Path) -> None:
        self.log = folder / f"{name}.log"
        self._errors = folder / f"{name}.err"
        command = [sys.executable, "-m", "tests.controller.writer_child", url, name, str(self.log)]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=errors, stderr=errors)

    @property
    def words(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self.words):
                assert self.process.poll() is None, self._errors.read_text()
                await asyncio.sleep(0.02)


@contextmanager
def child(url: str, name: str, folder: Path) -> Iterator[Child]:
    running = Child(url, name, folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


async def play(database_url: str, tmp_path: Path, place: str) -> list[int]:
    """Stop a writer, have another take over, let the first go on; return the epochs of all that was written, in order."""
    with child(database_url, "first", tmp_path) as first:
        await first.until(lambda words: len(words) > 5)
        with child(database_url, "second", tmp_path) as second:
            first.log.with_suffix(place).touch()
            await second.until(lambda words: len(words) > 5)
            stale = len(first.words)
            first.process.send_signal(signal.SIGCONT)
            await first.until(lambda words: len(words) > stale + 10)
            seen = len(second.words)
            await second.until(lambda words: len(words) > seen + 5)
            words_of_first, words_of_second = first.words, second.words
    # Only who holds the lease writes; for how long a busy machine lets one hold it is not what is judged here.
    assert {"wrote 2 2"} <= set(words_of_second)
    assert "wrote" not in "".join(words_of_first[stale:])
    assert sum(word.startswith("NOT_THE_WRITER 1 ") for word in words_of_first) >= 8
    return await written_epochs(database_url)


async def written_epochs(database_url: str) -> list[int]:
    engine = open_engine(database_url)
    catalogue = SqlCatalogue(engine)
    async with catalogue.reading() as unit:
        epochs = [int(row.value or b"0") for row in await unit.outbox.waiting(10_000)]
    broken = await AuditTrail(catalogue).broken()
    await engine.dispose()
    assert broken == ""
    return epochs


async def test_a_writer_that_wakes_up_after_its_lease_writes_nothing_more(database_url: str, tmp_path: Path):
    epochs = await play(database_url, tmp_path, ".between")

    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_writer_that_is_stopped_in_the_middle_of_a_write_is_undone_and_replaced(database_url: str, tmp_path: Path):
    epochs = await play(database_url, tmp_path, ".inside")

    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}


async def test_a_writer_that_dies_is_replaced_when_its_lease_has_run_out(database_url: str, tmp_path: Path):
    with child(database_url, "first", tmp_path) as first, child(database_url, "second", tmp_path) as second:
        async with asyncio.timeout(30):
            while not (first.words or second.words):
                await asyncio.sleep(0.02)
        writer, standby = (first, second) if first.words else (second, first)
        assert standby.words == []
        writer.process.kill()
        await standby.until(lambda words: len(words) > 2)

    assert {"wrote 2 2"} <= set(standby.words)
