"""An artefact in the cache is whole or is not there, whatever happens to whoever fills it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.process import CannotStart
from services.stack.server_cache import Artefact, ServerCache

ROOT = Path(__file__).parents[2]


class Filling:
    """Fills an artefact and counts how often."""

    def __init__(self, *, gate: asyncio.Event | None = None) -> None:
        self.times = 0
        self._gate = gate

    @property
    def artefact(self) -> Artefact:
        return Artefact(name="tool", version="1.0", fill=self._fill)

    async def _fill(self, folder: Path) -> None:
        self.times += 1
        (folder / "bin").mkdir()
        (folder / "bin" / "tool").write_bytes(b"program")
        if self._gate is not None:
            await self._gate.wait()
        (folder / "library.jar").write_bytes(b"library")


def cache(folder: Path, said: list[str] | None = None) -> ServerCache:
    return ServerCache(folder, (said if said is not None else []).append)


async def test_what_was_filled_once_is_not_filled_again(tmp_path: Path):
    filling = Filling()
    first = await cache(tmp_path).obtain(filling.artefact)
    second = await cache(tmp_path).obtain(filling.artefact)

    assert (first, filling.times) == (second, 1)
    assert (first / "bin" / "tool").read_bytes() == b"program"


async def test_two_at_once_fill_it_once_and_the_second_says_whom_it_waits_for(tmp_path: Path):
    gate, said = asyncio.Event(), []
    filling = Filling(gate=gate)
    first = asyncio.create_task(cache(tmp_path).obtain(filling.artefact))
    async with asyncio.timeout(20):
        while not filling.times:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(cache(tmp_path, said).obtain(filling.artefact))
        while not said:
            await asyncio.sleep(0.01)
        gate.set()
        places = {await first, await second}

    assert (len(places), filling.times) == (1, 1)
    assert "another process is getting tool-1.0" in said[0]


async def test_a_failed_filling_leaves_nothing_that_looks_complete(tmp_path: Path):
    async def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise CannotStart("no network")

    with pytest.raises(CannotStart, match="no network"):
        await cache(tmp_path).obtain(Artefact(name="tool", version="1.0", fill=fail))
    assert not (tmp_path / "servers" / "tool-1.0").exists()
    filling = Filling()
    place = await cache(tmp_path).obtain(filling.artefact)

    assert sorted(path.name for path in place.iterdir()) == ["bin", "library.jar", "manifest.json"]
    assert [path.name for path in place.parent.glob(".*partial*")] == []


KILLED = """
import asyncio, sys
from pathlib import Path
from services.stack.server_cache import Artefact, ServerCache
async def fill(folder):
    (folder / "library.jar").write_bytes(b"half")
    print("half", flush=True)
    await asyncio.sleep(600)
asyncio.run(ServerCache(Path(sys.argv[1]), print).obtain(Artefact(name="tool", version="1.0", fill=fill)))
"""


def kill_in_the_middle(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-P", "-c", KILLED, str(folder)], stdout=subprocess.PIPE, env=environment) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"half\n"
        killed.send_signal(signal.SIGKILL)


async def test_a_killed_filling_leaves_nothing_that_looks_complete(tmp_path: Path):
    kill_in_the_middle(tmp_path)
    filling = Filling()

    assert not cache(tmp_path).holds(filling.artefact)
    assert ((await cache(tmp_path).obtain(filling.artefact)) / "library.jar").read_bytes() == b"library"
    assert [path.name for path in (tmp_path / "servers").glob(".*partial*")] == []


def change(place: Path) -> None:
    (place / "library.jar").write_bytes(b"LIBRARY")


def cut(place: Path) -> None:
    (place / "library.jar").write_bytes(b"")


def remove(place: Path) -> None:
    (place / "bin" / "tool").unlink()


def add(place: Path) -> None:
    (place / "stranger.jar").write_bytes(b"on the class path")


def empty_manifest(place: Path) -> None:
    (place / "manifest.json").write_bytes(b"")


@pytest.mark.parametrize("damage", [change, cut, remove, add, empty_manifest])
async def test_what_is_damaged_is_made_anew_and_said_so(tmp_path: Path, damage):
    filling, said = Filling(), []
    place = await cache(tmp_path).obtain(filling.artefact)
    await cache(tmp_path).obtain(filling.artefact)
    damage(place)

    assert not cache(tmp_path).holds(filling.artefact)
    await cache(tmp_path, said).obtain(filling.artefact)
    assert (filling.times, (place / "library.jar").read_bytes()) == (2, b"library")
    assert "is damaged" in said[0]


async def test_a_use_reads_no_file_that_looks_as_it_did(tmp_path: Path):
    filling = Filling()
    place = await cache(tmp_path).obtain(filling.artefact)
    assert cache(tmp_path).holds(filling.artefact)
    before = (place / "library.jar").stat()
    assert cache(tmp_path).holds(filling.artefact)
    (tmp_path / "servers" / ".tool-1.0.seen").unlink()
    # Without the notes it reads everything, finds it right, and takes notes again.
    assert cache(tmp_path).holds(filling.artefact)

    assert (tmp_path / "servers" / ".tool-1.0.seen").exists()
    assert (place / "library.jar").stat().st_mtime_ns == before.st_mtime_ns
    assert filling.times == 1


async def test_an_artefact_without_files_is_refused(tmp_path: Path):
    async def nothing(folder: Path) -> None:
        return

    with pytest.raises(CannotStart, match="nothing was put"):
        await cache(tmp_path).obtain(Artefact(name="tool", version="1.0", fill=nothing))
