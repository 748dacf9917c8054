from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.errors import AlreadyExists, Conflict, InvalidInput, ModelNotFound, NotFound, RevisionConflict, VersionNotFound
from services.controller.model_values import Model, Version, VersionState
from services.controller.registry import Description
from tests.controller.stand import ANN, DIGEST, Stand

VERSION = Version(model="fraud", version="1", digest=DIGEST, metadata={"framework": "sklearn"}, lineage={"run": "7"})


async def held(stand: Stand, model: str = "fraud") -> Model:
    async with stand.catalogue.reading() as unit:
        found = await unit.models.get(model)
    assert found is not None
    return found


async def aliases(stand: Stand, model: str = "fraud") -> dict[str, str]:
    async with stand.catalogue.reading() as unit:
        return dict(await unit.aliases.of(model))


async def test_the_first_version_makes_the_model(stand: Stand):
    outcome = await stand.registry.register(VERSION, Description(owner="risk"), ANN)

    assert outcome.value.created_by == "ann"
    assert outcome.value.created_time > 0
    assert (await held(stand)).owner == "risk"
    async with stand.catalogue.reading() as unit:
        assert await unit.versions.of("fraud") == (outcome.value,)


async def test_the_same_files_again_change_nothing(stand: Stand):
    first = await stand.registry.register(VERSION, Description(), ANN)
    again = await stand.registry.register(VERSION, Description(), ANN)

    assert again.value == first.value
    assert again.change is None


async def test_a_version_never_gets_other_files(stand: Stand):
    await stand.registry.register(VERSION, Description(), ANN)

    with pytest.raises(AlreadyExists):
        await stand.registry.register(replace(VERSION, digest="e" * 64), Description(), ANN)


async def test_what_is_not_said_of_a_model_stays(stand: Stand):
    await stand.registry.describe("fraud", Description(description="finds fraud", owner="risk"), ANN)
    await stand.registry.describe("fraud", Description(owner="payments"), ANN)

    assert (await held(stand)).description == "finds fraud"
    assert (await held(stand)).owner == "payments"
    assert (await held(stand)).revision == 2


async def test_an_alias_moves_from_version_to_version_and_goes_away(stand: Stand):
    await stand.registered("fraud", "1", "2")
    await stand.registry.set_alias("fraud", "stable", "1", ANN)
    await stand.registry.set_alias("fraud", "stable", "2", ANN)
    assert await aliases(stand) == {"stable": "2"}

    await stand.registry.set_alias("fraud", "stable", "", ANN)

    assert await aliases(stand) == {}
    assert (await held(stand)).revision == 4


async def test_an_alias_moved_over_a_stale_revision_is_refused(stand: Stand):
    await stand.registered("fraud", "1", "2")
    await stand.registry.set_alias("fraud", "stable", "1", replace(ANN, expected_revision=1))

    with pytest.raises(RevisionConflict):
        await stand.registry.set_alias("fraud", "stable", "2", replace(ANN, expected_revision=1))

    assert await aliases(stand) == {"stable": "1"}


@pytest.mark.parametrize(
    ("model", "alias", "version", "refusal"),
    [
        ("absent", "stable", "1", ModelNotFound),
        ("fraud", "stable", "9", VersionNotFound),
        ("fraud", "absent", "", NotFound),
        ("fraud", "2", "1", AlreadyExists),
        ("fraud", "latest", "1", InvalidInput),
        ("fraud", "../x", "1", InvalidInput),
        ("fraud", "stable", "failed", Conflict),
    ],
)
async def test_an_alias_that_cannot_be_is_refused(stand: Stand, model: str, alias: str, version: str, refusal: type[Exception]):
    await stand.registered("fraud", "1", "2", "failed")
    await stand.registry.withdraw("fraud", "failed", VersionState.FAILED, ANN)

    with pytest.raises(refusal):
        await stand.registry.set_alias(model, alias, version, ANN)

    assert await aliases(stand) == {}


async def test_a_version_cannot_take_the_name_of_an_alias(stand: Stand):
    await stand.registered("fraud", "1")
    await stand.registry.set_alias("fraud", "stable", "1", ANN)

    with pytest.raises(AlreadyExists):
        await stand.registered("fraud", "stable")


async def test_a_version_in_use_is_not_withdrawn(stand: Stand):
    await stand.registered("fraud", "1")
    await stand.registry.set_alias("fraud", "stable", "1", ANN)

    with pytest.raises(Conflict, match="alias stable") as refusal:
        await stand.registry.withdraw("fraud", "1", VersionState.DELETED, ANN)

    assert refusal.value.reason == "IN_USE"
