"""What happens when the database goes away, and that readers see one state."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from penstock.contracts.errors import Unavailable
from services.controller.changes import Command, Made, Writing
from services.controller.model_values import Model
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from tests.controller.stand import ANN, Stand

COMMAND = Command(action="test", answer=str, subject="test")


async def end_sessions(stand: Stand) -> None:
    """Have the server end every session but its own, as a restart does."""
    engine = open_engine(str(stand.engine.url))
    async with engine.connect() as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    await engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_that_goes_away_in_the_middle_of_a_write_leaves_no_half_of_it(stand: Stand):
    async def work(writing: Writing) -> Made[str]:
        await writing.unit.models.add(Model(name="m"))
        await end_sessions(stand)
        return Made(value="", before=None, after="m")

    with pytest.raises(Unavailable) as refusal:
        await stand.changes.make(ANN, COMMAND, work)

    assert refusal.value.reason == "CATALOGUE_UNAVAILABLE"
    assert (await stand.sql("SELECT * FROM models"), await stand.audit()) == ([], [])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_that_is_back_is_used_again_without_a_word(stand: Stand):
    await stand.registered("fraud", "1")
    await end_sessions(stand)
    await stand.registered("fraud", "2")

    assert len(await stand.sql("SELECT * FROM versions")) == 2


@pytest.mark.parametrize("state", ["57P03", "53300", "08006"])
async def test_a_database_that_takes_nobody_yet_is_one_that_cannot_be_reached(state: str):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read(4096)
        fields = b"SFATAL\0VFATAL\0C" + state.encode() + b"\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = open_engine(f"postgresql+asyncpg://penstock@127.0.0.1:{port}/penstock")
        with pytest.raises(Unavailable) as refusal:
            async with SqlCatalogue(engine).reading():
                pass
        await engine.dispose()

    assert refusal.value.reason == "CATALOGUE_UNAVAILABLE"


async def test_a_reader_sees_one_state_while_others_write(stand: Stand):
    await stand.registered("a", "1")
    async with stand.catalogue.reading() as unit:
        before = await unit.models.get("b")
        await stand.registered("b", "1")
        after = await unit.models.get("b")

    assert (before, after) == (None, None)


async def test_writers_of_one_process_and_of_others_follow_one_another(stand: Stand, database_url: str):
    others = open_engine(database_url)
    stands = [stand, Stand(engine=others, catalogue=SqlCatalogue(others), lease=stand.lease)]
    await asyncio.gather(*(each.registered(f"m{number}", "1") for number in range(10) for each in stands[number % 2 : number % 2 + 1]))
    await others.dispose()

    numbers = [record.number for record in await stand.audit()]
    assert numbers == list(range(1, 11))


async def test_a_bug_of_ours_is_not_called_an_outage(stand: Stand):
    async def twice() -> None:
        async with stand.catalogue.writing() as unit:
            await unit.models.add(Model(name="m"))
            await unit.models.add(Model(name="m"))

    with pytest.raises(IntegrityError):
        await twice()
