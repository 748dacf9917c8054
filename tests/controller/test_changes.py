from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from penstock.contracts.errors import AlreadyExists, Conflict, RevisionConflict, Unavailable
from penstock.contracts.topics import ROUTES
from services.controller.changes import Changes, Command, Intent, Made, Sides, Writing
from services.controller.ledger_values import Lease
from services.controller.model_values import Model
from services.controller.platform_settings import PlatformSettings
from services.controller.registry import Description
from services.controller.tenant_values import Setting
from services.controller.write_freeze import PAGE_RECORDS, WRITES_FROZEN
from tests.controller.stand import ANN, Stand

COMMAND = Command(action="model.test", answer=Model, subject="model/m", request={"text": "a"})


async def add_model(writing: Writing) -> Made[Model]:
    model = Model(name="m", created_time=writing.time)
    await writing.unit.models.add(model)
    await writing.publish(ROUTES, "m", lambda number: str(number).encode())
    return Made(value=model, before=None, after=model, revision=1)


async def models(stand: Stand) -> list[str]:
    return [name for (name,) in await stand.sql("SELECT name FROM models")]  # type: ignore[misc]


async def test_state_audit_record_and_messages_are_written_together(stand: Stand):
    outcome = await stand.changes.make(ANN, COMMAND, add_model)

    assert await models(stand) == ["m"]
    assert await stand.audit() == [outcome.change]
    assert outcome.change is not None
    assert (outcome.change.actor, outcome.change.why, outcome.change.revision, outcome.change.sequence) == ("ann", "because", 1, 1)
    assert [(row.sequence, row.topic, row.key, row.value) for row in await stand.outbox()] == [(1, ROUTES.name, "m", b"1")]
    assert len(stand.commits) == 1


async def test_work_that_fails_leaves_nothing(stand: Stand):
    async def fail(writing: Writing) -> Made[Model]:
        await add_model(writing)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await stand.changes.make(ANN, COMMAND, fail)

    assert (await models(stand), await stand.audit(), await stand.outbox(), stand.commits) == ([], [], (), [])


async def test_a_dry_run_tells_the_difference_and_writes_nothing(stand: Stand):
    outcome = await stand.changes.make(replace(ANN, dry_run=True, idempotency_key="k"), COMMAND, add_model)

    assert outcome.is_dry_run
    assert outcome.value.name == "m"
    assert [each.after["name"] for each in outcome.differences] == ["m"]  # type: ignore[index]
    assert (await models(stand), await stand.audit(), await stand.outbox(), stand.commits) == ([], [], (), [])


async def test_the_same_request_under_one_key_is_done_once_and_answered_alike(stand: Stand):
    intent = replace(ANN, idempotency_key="k", scope="acme")
    first = await stand.changes.make(intent, COMMAND, add_model)
    second = await stand.changes.make(intent, COMMAND, add_model)

    assert not first.is_repeat
    assert second == replace(first, is_repeat=True)
    assert len(await stand.audit()) == 1


async def test_another_request_under_the_same_key_is_refused(stand: Stand):
    intent = replace(ANN, idempotency_key="k")
    await stand.changes.make(intent, COMMAND, add_model)

    with pytest.raises(AlreadyExists) as refusal:
        await stand.changes.make(intent, replace(COMMAND, request={"text": "b"}), add_model)

    assert refusal.value.reason == "IDEMPOTENCY_MISMATCH"


async def test_keys_of_two_scopes_never_meet(stand: Stand):
    await stand.changes.make(replace(ANN, idempotency_key="k", scope="acme"), COMMAND, add_model)
    other = replace(COMMAND, request="other")

    async def nothing(writing: Writing) -> Made[Model]:
        return Made(value=Model(name="n"), before=None, after=None)

    assert not (await stand.changes.make(replace(ANN, idempotency_key="k", scope="globex"), other, nothing)).is_repeat


async def test_a_request_sent_twice_at_once_is_done_once(stand: Stand):
    intent = replace(ANN, idempotency_key="k")
    outcomes = await asyncio.gather(*(stand.changes.make(intent, COMMAND, add_model) for _ in range(5)))

    assert sorted(outcome.is_repeat for outcome in outcomes) == [False, True, True, True, True]


async def test_a_change_that_changes_nothing_leaves_no_record(stand: Stand):
    async def nothing(writing: Writing) -> Made[Model]:
        return Made(value=Model(name="n"), before={"a": 1}, after={"a": 1})

    outcome = await stand.changes.make(ANN, COMMAND, nothing)

    assert outcome.change is None
    assert await stand.audit() == []


async def test_the_write_of_a_stale_epoch_is_refused_inside_the_transaction(stand: Stand):
    async with stand.catalogue.writing() as unit:
        await unit.leases.put(Lease(holder="controller-2", epoch=stand.lease.epoch + 1, expires_time=unit.time + 60))

    with pytest.raises(Unavailable) as refusal:
        await stand.changes.make(ANN, COMMAND, add_model)

    assert refusal.value.reason == "NOT_THE_WRITER"
    assert (await models(stand), await stand.audit(), await stand.outbox()) == ([], [], ())


async def test_a_process_without_the_lease_writes_nothing(stand: Stand):
    standby = Changes(stand.catalogue, epoch=lambda: 0, committed=lambda: None)

    with pytest.raises(Unavailable):
        await standby.make(ANN, COMMAND, add_model)


async def test_of_two_who_act_at_once_one_wins_and_the_audit_has_both(stand: Stand):
    await stand.registry.describe("m", Description(description="first"), ANN)
    seen = replace(ANN, expected_revision=1)
    results = await asyncio.gather(
        *(stand.registry.describe("m", Description(owner=who), replace(seen, actor=who)) for who in ("bob", "cat")), return_exceptions=True
    )

    refused = [result for result in results if isinstance(result, RevisionConflict)]
    assert len(refused) == 1
    assert isinstance(refused[0].details, Sides)
    assert (refused[0].details.expected, refused[0].details.found) == (1, 2)
    assert isinstance(refused[0].details.current, Model)
    assert sorted(record.outcome for record in await stand.audit("model/m")) == ["REVISION_CONFLICT", "done", "done"]
    assert {record.actor for record in await stand.audit("model/m")} == {"ann", "bob", "cat"}


async def test_frozen_writes_are_refused_and_emergencies_are_not(stand: Stand):
    async with stand.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=True))

    with pytest.raises(Conflict) as refusal:
        await stand.changes.make(ANN, COMMAND, add_model)
    await stand.changes.make(ANN, replace(COMMAND, is_emergency=True), add_model)

    assert refusal.value.reason == "WRITES_FROZEN"
    assert [record.outcome for record in await stand.audit()] == ["WRITES_FROZEN", "done"]


async def test_a_frozen_write_is_told_who_froze_them_and_why_whoever_tried_to_since(stand: Stand):
    settings = PlatformSettings(stand.changes)
    await settings.freeze_writes(frozen=True, intent=replace(ANN, why="first"))
    await settings.freeze_writes(frozen=False, intent=ANN)
    frozen = await settings.freeze_writes(frozen=True, intent=Intent(actor="eve", why="the audit of token=hunter2hunter2"))
    for _ in range(PAGE_RECORDS + 1):
        with pytest.raises(RevisionConflict):
            await settings.freeze_writes(frozen=False, intent=replace(ANN, expected_revision=1))

    with pytest.raises(Conflict) as refusal:
        await stand.changes.make(ANN, COMMAND, add_model)

    assert frozen.change is not None
    since = datetime.fromtimestamp(frozen.change.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert refusal.value.message.startswith(f"all writes are frozen since {since} by eve, 'the audit of token=(redacted)': ")
    assert "`penstock freeze --writes --off`" in refusal.value.message


async def test_numbers_of_messages_go_on_after_the_published_ones_are_forgotten(stand: Stand):
    for name in ("a", "b"):

        async def publish(writing: Writing, name: str = name) -> Made[Model]:
            await writing.publish(ROUTES, name, lambda number: b"x")
            return Made(value=Model(name=name), before=None, after=name)

        await stand.changes.make(Intent(actor="ann"), replace(COMMAND, request=name), publish)
    async with stand.catalogue.writing() as unit:
        await unit.outbox.mark(2, unit.time)
        assert await unit.outbox.prune(unit.time + 1) == 1
    await stand.changes.make(ANN, COMMAND, add_model)

    assert [row.sequence for row in await stand.outbox()] == [3]
