"""Whoever sends the controller too many wrong keys is told to come back later, and whoever has a key in use is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.errors import QuotaExceeded, TenantForbidden, Unauthenticated
from penstock.v1 import controller_pb2 as pb
from services.chassis.presented_keys import PresentedKey
from services.chassis.wrong_keys import WrongKeys
from services.controller.known_callers import KnownCallers
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.faces import faces, in_a_thread
from tests.controller.stand import ANN, Stand

LIMIT = 3


async def told(callers: KnownCallers, key: str | None, peer: str | None = "192.0.2.1") -> str:
    try:
        return (await callers.of(PresentedKey.of(key, peer), writes=True)).tenant
    except (QuotaExceeded, Unauthenticated, TenantForbidden) as error:
        return error.reason


@pytest.fixture
async def keys(stand: Stand) -> list[str]:
    """Two keys of an administrator."""
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("root", TenantUpdate(settings={"admin": True}), ANN)
    return [(await tenancy.create_key("root", None, ANN))[0] for _ in range(2)]


async def test_after_too_many_wrong_keys_only_a_key_in_use_opens_from_there(stand: Stand, keys: list[str]):
    callers = KnownCallers(stand.catalogue, wrong_keys=WrongKeys(LIMIT))
    used, unused = keys
    before = await told(callers, used)
    wrong = [await told(callers, f"wrong-{number}") for number in range(LIMIT + 1)]

    assert (before, wrong) == ("root", ["UNAUTHENTICATED"] * LIMIT + ["TOO_MANY_WRONG_KEYS"])
    assert [await told(callers, key) for key in (used, unused)] == ["root", "TOO_MANY_WRONG_KEYS"]
    assert await told(callers, unused, "192.0.2.2") == "root"


async def test_a_caller_without_a_key_or_without_rights_does_not_guess(stand: Stand, keys: list[str]):
    tenancy = Tenancy(stand.changes)
    await tenancy.set_tenant("acme", TenantUpdate(), ANN)
    plain, _ = await tenancy.create_key("acme", None, ANN)
    callers = KnownCallers(stand.catalogue, wrong_keys=WrongKeys(LIMIT))
    refused = {await told(callers, key) for _ in range(LIMIT + 1) for key in (None, plain)}

    assert refused == {"UNAUTHENTICATED", "FORBIDDEN"}
    assert await told(callers, keys[0]) == "root"


def test_both_faces_know_who_is_connected_and_believe_no_header(database_url: str, tmp_path: Path):
    with in_a_thread(lambda: faces(database_url, tmp_path, wrong_keys=LIMIT)) as made:
        assert made.refusal(made.grpc, "ListTenants", "operator")[0] == "OK"
        for number in range(LIMIT):
            made.keys["wrong"] = f"wrong-{number}"
            headers = {"x-forwarded-for": f"192.0.2.{number}"}
            assert made.send(made.http, "GET", "/api/v1/tenants", "wrong", headers=headers).status_code == 401
        made.keys["wrong"] = "another"
        by_http = made.send(made.http, "GET", "/api/v1/tenants", "wrong", headers={"x-forwarded-for": "192.0.2.9"})
        by_grpc, _ = made.refusal(made.grpc, "ListTenants", "wrong", pb.ListTenantsRequest())
        still = made.send(made.http, "GET", "/api/v1/tenants", "operator").status_code

    assert (by_http.status_code, by_http.json()["reason"], by_grpc, still) == (429, "TOO_MANY_WRONG_KEYS", "RESOURCE_EXHAUSTED", 200)
    assert 0 < int(by_http.headers["retry-after"]) <= 60
