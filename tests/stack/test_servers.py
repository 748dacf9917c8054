"""One server over its lives: ready when it answers, started again when it dies, gone when its block ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from services.chassis.process import CannotStart
from services.stack.board import Board, State
from services.stack.recipe import Found, Origin
from services.stack.servers import Servers
from tests.chassis.children import is_alive
from tests.stack.recipes import DEAF, FAILING, Script, news, surroundings

FOUND = Found(origin=Origin.PATH, version="1")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def process_id(board: Board) -> int:
    found = board.entries["pong"].pid
    assert found is not None
    return found


async def test_entering_means_that_it_answers_and_leaving_that_it_is_gone(tmp_path: Path):
    around, script = surroundings(tmp_path), Script()
    async with Servers(around).running(script, FOUND) as address:
        await script.answers("127.0.0.1", int(address.rpartition(":")[2]))
        pid = process_id(around.board)
        assert around.board.entries["pong"].state is State.READY
        assert script.prepared == [str(tmp_path / "pong")]

    assert not is_alive(pid)
    assert around.board.entries["pong"].state is State.STOPPED


async def test_a_killed_server_is_started_again_on_its_port_and_said_so(tmp_path: Path):
    around = surroundings(tmp_path)
    async with Servers(around).running(Script(), FOUND) as address:
        former = process_id(around.board)
        os.kill(former, signal.SIGKILL)
        await until(lambda: around.board.entries["pong"].lives == 2 and around.board.entries["pong"].state is State.READY)

        await Script().answers("127.0.0.1", int(address.rpartition(":")[2]))
        assert process_id(around.board) != former
        assert news(around.board) == ["pong died (SIGKILL) and is started again", "pong answers again"]


async def test_a_server_that_only_dies_ends_the_start_with_its_own_last_words(tmp_path: Path):
    with pytest.raises(CannotStart, match=r"pong ended 3 times.*exit code 7(.|\n)*the disk is on fire"):
        async with Servers(surroundings(tmp_path)).running(Script(text=FAILING), FOUND):
            pytest.fail("it answered")


async def test_a_server_that_never_answers_ends_the_start_and_is_gone(tmp_path: Path):
    around = surroundings(tmp_path, start_seconds=0.5)
    with pytest.raises(CannotStart, match=r"did not answer within 0\.5 s"):
        async with Servers(around).running(Script(text=DEAF), FOUND):
            pytest.fail("it answered")

    assert around.board.entries["pong"].state is State.STOPPED


async def test_a_given_address_is_asked_and_nothing_is_started(tmp_path: Path):
    with_process, given = surroundings(tmp_path / "one"), tmp_path / "two"
    for folder in (tmp_path / "one", given):
        folder.mkdir()
    async with Servers(with_process).running(Script(), FOUND) as address:
        around = surroundings(given, addresses={"pong": address})
        servers = Servers(around)
        (found,) = await servers.find_all([Script()])
        async with servers.running(Script(), found) as same:
            assert (same, found.origin) == (address, Origin.GIVEN)
            assert around.board.entries["pong"].pid is None
        assert is_alive(process_id(with_process.board))


async def test_a_given_address_where_nobody_is_ends_the_start(tmp_path: Path, free_port: int):
    around = surroundings(tmp_path, addresses={"pong": f"127.0.0.1:{free_port}"}, start_seconds=0.2)
    servers = Servers(around)
    (found,) = await servers.find_all([Script()])

    with pytest.raises(CannotStart, match=f"pong at 127.0.0.1:{free_port} did not answer"):
        async with servers.running(Script(), found):
            pytest.fail("it answered")


async def test_a_log_that_has_grown_too_long_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.stack.servers.LARGEST_LOG_BYTES", 10)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "pong.log").write_text("a long story\n")
    async with Servers(surroundings(tmp_path)).running(Script(), FOUND):
        assert (tmp_path / "logs" / "pong.log.1").read_text() == "a long story\n"
