"""A router that knows its environment refuses keys of another one, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.contracts.api_keys import checksum
from penstock.contracts.errors import ServingError
from penstock.contracts.tenant_records import KeyRecord
from services.controller.config import ControllerSettings
from services.controller.key_making import hash_of, new_key
from services.router.admission import TenantPolicy
from services.router.config import RouterSettings
from services.router.tenant_policies import Admitted
from services.router.tenants import Tenants

LIVE, STAGING = new_key("live")[1], new_key("staging")[1]
OLD_BODY = "penstock_abcdefghijkl_" + "s" * 32
OLD = OLD_BODY + checksum(OLD_BODY)
FREE = "whatever an old tenants file has"


def told(environment: str, key: str) -> str:
    """Return whom a key opens for where all four are known, or why it does not."""
    tenants = Tenants(environment=environment)
    keys = tuple(KeyRecord(key_id="", hash=hash_of(one)) for one in (LIVE, STAGING, OLD, FREE))
    tenants.put("acme", Admitted(policy=TenantPolicy(name="acme"), keys=keys))
    try:
        return tenants.of(key).policy.name
    except ServingError as error:
        return error.reason


@pytest.mark.parametrize(
    ("environment", "key", "outcome"),
    [
        ("live", LIVE, "acme"),
        ("live", STAGING, "KEY_OF_ANOTHER_ENVIRONMENT"),
        ("live", STAGING[:-1] + ("a" if STAGING[-1] != "a" else "b"), "UNAUTHENTICATED"),
        ("live", OLD, "acme"),
        ("live", FREE, "acme"),
        ("", LIVE, "acme"),
        ("", STAGING, "acme"),
    ],
    ids=["own", "another's", "another's, mistyped", "without one", "of any shape", "not told, live", "not told, staging"],
)
def test_a_key_of_another_environment_opens_nothing_even_if_it_is_known(environment: str, key: str, outcome: str):
    assert told(environment, key) == outcome


def test_the_refusal_names_both_environments_and_nothing_else_of_the_key():
    with pytest.raises(ServingError) as refused:
        Tenants(environment="live", require_keys=True).of(STAGING)

    assert ("'staging'" in refused.value.message, "'live'" in refused.value.message) == (True, True)
    assert not any(part in refused.value.message for part in STAGING.split("_")[2:])


@pytest.mark.parametrize("settings", [RouterSettings, ControllerSettings])
@pytest.mark.parametrize("name", ["Live", "1st", "a_b", "a-b", "ä", "a" * 17, "live\n", " "])
def test_a_name_that_is_none_is_refused_by_the_setting(settings: Any, name: str, tmp_path: Path):
    with pytest.raises(ValidationError, match="key_environment"):
        settings(state_dir=tmp_path, key_environment=name)


def test_a_controller_has_an_environment_and_a_router_is_told_none(tmp_path: Path):
    assert ControllerSettings(state_dir=tmp_path).key_environment == "live"
    assert RouterSettings(state_dir=tmp_path).key_environment == ""
