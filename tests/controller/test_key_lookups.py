"""Which keys open the controller: the whole secret counts, and every key that was made until it is revoked."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import Unauthenticated
from services.controller.key_making import CHECKSUM_CHARACTERS, checksum, id_in, new_key
from services.controller.known_callers import KnownCallers
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.stand import ANN, Stand

PEPPER = b"pepper"


def altered(key: str, position: int) -> str:
    """Return a key with another character there and the checksum that fits."""
    body = key[:-CHECKSUM_CHARACTERS]
    other = "a" if body[position] != "a" else "b"
    body = body[:position] + other + body[position + 1 :]
    return body + checksum(body)


async def told(callers: KnownCallers, key: str) -> str:
    """Return whom a key opens for, or in which words it does not."""
    try:
        return (await callers.of(key, writes=True)).tenant
    except Unauthenticated as error:
        return error.message


@pytest.fixture
async def made(stand: Stand) -> tuple[KnownCallers, Tenancy, list[str]]:
    """Return two keys of one administrator."""
    tenancy = Tenancy(stand.changes, pepper=PEPPER)
    await tenancy.set_tenant("root", TenantUpdate(settings={"admin": True}), ANN)
    keys = [(await tenancy.create_key("root", None, ANN))[0] for _ in range(2)]
    return KnownCallers(stand.catalogue, pepper=PEPPER), tenancy, keys


async def test_a_key_opens_by_its_whole_secret_and_a_near_one_is_refused_like_any_other(made: tuple[KnownCallers, Tenancy, list[str]]):
    callers, _, (key, _) = made
    first = len(key) - CHECKSUM_CHARACTERS - 32
    near = [altered(key, position) for position in range(first, len(key) - CHECKSUM_CHARACTERS)]

    assert await told(callers, key) == "root"
    assert {id_in(one) for one in near} == {id_in(key)}
    assert {await told(callers, one) for one in near} == {await told(callers, new_key()[1])} == {"the API key is not known"}


async def test_two_keys_are_in_force_side_by_side_and_one_goes_alone(made: tuple[KnownCallers, Tenancy, list[str]]):
    callers, tenancy, (old, new) = made
    before = [await told(callers, key) for key in (old, new)]
    await tenancy.revoke_key("root", id_in(old), ANN)

    assert before == ["root", "root"]
    assert [await told(callers, key) for key in (old, new)] == ["the API key is not known", "root"]


async def test_a_hash_that_was_read_in_the_catalogue_opens_nothing(made: tuple[KnownCallers, Tenancy, list[str]], stand: Stand):
    callers, _, (key, _) = made
    async with stand.catalogue.reading() as unit:
        held = await unit.keys.get(id_in(key))

    assert held is not None
    assert held.hash.startswith("hmac-sha256:")
    assert await told(callers, held.hash) == await told(callers, held.hash.partition(":")[2]) == "the API key is not known"
    assert await told(KnownCallers(stand.catalogue, pepper=b"another"), key) == "the API key is not known"
