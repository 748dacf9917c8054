"""What a write asks the database, whatever else is in the catalogue."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from penstock.contracts.routes import WHOLE
from services.controller.traffic_checks import check_answering
from tests.controller.stand import ANN, Stand

MOST_STATEMENTS = 13
"""The beginning, the lease, the freeze, the route, the versions, the deployments, the aliases, the ends, and what is written: four rows."""


@contextmanager
def statements(stand: Stand) -> Generator[list[str]]:
    """Collect what the database is asked while the block lasts."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(stand.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(stand.engine.sync_engine, "before_cursor_execute", note)


async def set_weights(stand: Stand, candidate: int) -> list[str]:
    with statements(stand) as asked:
        await stand.traffic.set_weights("fraud", {"1": WHOLE - candidate, "2": candidate}, ANN)
    return asked


async def test_a_write_asks_no_more_when_there_are_more_models(stand: Stand):
    await stand.active("fraud", "1", "2")
    await set_weights(stand, 50)
    alone = await set_weights(stand, 100)
    for number in range(5):
        await stand.active(f"other-{number}", "1")

    assert await set_weights(stand, 200) == alone
    assert len(alone) <= MOST_STATEMENTS


async def test_a_rollback_does_not_read_the_history_of_a_route(stand: Stand):
    await stand.active("fraud", "1", "2")
    for candidate in range(100, 110):
        await set_weights(stand, candidate)

    with statements(stand) as asked:
        outcome = await stand.roll_back("fraud")

    assert outcome.value.route is not None
    assert [one.weight_basis_points for one in outcome.value.route.backends] == [WHOLE - 108, 108]
    assert sum("FROM routes" in statement for statement in asked) == 1


async def test_versions_are_asked_for_all_at_once(stand: Stand):
    await stand.active("fraud", "1", "2")

    async with stand.catalogue.reading() as unit:
        with statements(stand) as asked:
            await check_answering(unit, "fraud", ["1", "2"])

    assert sum("FROM versions" in statement for statement in asked) == 1
