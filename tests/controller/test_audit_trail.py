from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.controller.audit_trail import AuditTrail, broken_link
from services.controller.ledger_values import AuditHead, AuditQuery, AuditRecord
from services.controller.registry import Description
from tests.controller.stand import ANN, Stand


def chain(length: int) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for number in range(1, length + 1):
        previous = records[-1].hash if records else AuditHead().hash
        record = AuditRecord(number=number, time=float(number), actor="ann", action="a", subject="m", previous_hash=previous)
        records.append(record.sealed())
    return records


def edit(records: list[AuditRecord]) -> list[AuditRecord]:
    return [records[0], replace(records[1], actor="eve"), *records[2:]]


def edit_and_seal(records: list[AuditRecord]) -> list[AuditRecord]:
    return [records[0], replace(records[1], actor="eve").sealed(), *records[2:]]


def delete(records: list[AuditRecord]) -> list[AuditRecord]:
    return [records[0], *records[2:]]


def delete_and_renumber(records: list[AuditRecord]) -> list[AuditRecord]:
    return [records[0], *(replace(record, number=record.number - 1).sealed() for record in records[2:])]


def swap(records: list[AuditRecord]) -> list[AuditRecord]:
    return [records[0], replace(records[2], number=2), replace(records[1], number=3), *records[3:]]


def test_a_whole_chain_holds():
    assert broken_link(AuditHead(), chain(5)) == ""


@pytest.mark.parametrize("change", [edit, edit_and_seal, delete, delete_and_renumber, swap])
def test_a_chain_that_was_touched_is_broken(change: Callable[[list[AuditRecord]], list[AuditRecord]]):
    assert broken_link(AuditHead(), change(chain(5))) != ""


def test_a_chain_that_was_written_anew_differs_from_what_was_known():
    old, new = chain(5), [record.sealed() for record in chain(5)]
    forged = []
    for record in new:
        forged.append(replace(record, actor="eve", previous_hash=forged[-1].hash if forged else AuditHead().hash).sealed())

    assert broken_link(AuditHead(), forged) == ""
    assert broken_link(AuditHead(), forged, AuditHead(number=3, hash=old[2].hash)) != ""


@pytest.mark.parametrize(
    "name", ["number", "time", "actor", "action", "subject", "outcome", "before", "after", "why", "change_id", "revision", "sequence"]
)
def test_every_field_is_covered_by_the_hash(name: str):
    record = chain(1)[0]
    held = getattr(record, name)

    assert replace(record, **{name: held + 1 if isinstance(held, int | float) else f"{held}x"}).expected_hash() != record.hash


def test_text_cannot_move_from_one_field_to_the_next():
    record = AuditRecord(number=1, time=0.0, actor="ab", action="c", subject="m")

    assert replace(record, actor="a", action="bc").expected_hash() != record.expected_hash()


@pytest.fixture
async def written(stand: Stand) -> Stand:
    for number in range(3):
        await stand.registry.describe(f"m{number}", Description(description="x"), ANN)
    return stand


async def past_the_trigger(stand: Stand, *statements: str) -> None:
    async with stand.engine.begin() as connection:
        from sqlalchemy import text

        if connection.dialect.name == "sqlite":
            for event in ("update", "delete"):
                await connection.execute(text(f"DROP TRIGGER audit_refuses_{event}"))
        else:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await connection.execute(text(statement))


async def test_the_chain_in_the_catalogue_holds(written: Stand):
    assert await AuditTrail(written.catalogue).broken() == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'eve' WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit WHERE number = 3",
        "DELETE FROM audit",
        "UPDATE audit SET number = number + 10 WHERE number = 1",
    ],
)
async def test_whoever_gets_past_the_trigger_is_found(written: Stand, statement: str):
    await past_the_trigger(written, statement)

    assert await AuditTrail(written.catalogue).broken() != ""


async def test_an_end_that_was_cut_off_with_its_head_differs_from_what_was_known(written: Stand):
    trail = AuditTrail(written.catalogue)
    known = await trail.head()
    [(second,)] = await written.sql("SELECT hash FROM audit WHERE number = 2")
    await past_the_trigger(written, "DELETE FROM audit WHERE number = 3", f"UPDATE audit_head SET number = 2, hash = '{second}'")

    assert await trail.broken() == ""
    assert await trail.broken(known) != ""


async def test_changes_are_found_by_subject_time_and_place(written: Stand):
    trail = AuditTrail(written.catalogue)
    everything = await trail.changes(AuditQuery())

    assert [record.subject for record in everything] == ["model/m2", "model/m1", "model/m0"]
    assert await trail.changes(AuditQuery(subject="model/m1")) == everything[1:2]
    assert await trail.changes(AuditQuery(subject="model")) == everything
    assert await trail.changes(AuditQuery(since_time=everything[1].time)) == everything[:2]
    assert await trail.changes(AuditQuery(before=2)) == everything[2:]
    assert await trail.changes(AuditQuery(limit=1)) == everything[:1]
