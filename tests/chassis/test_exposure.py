"""What listens where other machines reach it has TLS and knows its callers, or somebody has said that it need not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.chassis.config import InvalidConfig, Settings, load
from services.chassis.exposure import is_of_this_machine
from services.controller.config import ControllerSettings
from services.router.config import RouterSettings

BOTH = [RouterSettings, ControllerSettings]
TLS = {"tls_certificate": "/c.pem", "tls_key": "/c.key"}


def settings_of(kind: type[Settings], **given: Any) -> Any:
    return load(kind, overrides={"state_dir": "/s", **given}, environment={})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_some_addresses_are_of_this_machine(host: str):
    assert is_of_this_machine(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "192.168.1.4", "router.example", "localhost.example", "::ffff:10.0.0.1"])
def test_others_are_not(host: str):
    assert not is_of_this_machine(host)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("guards", "missing"),
    [
        ({}, "without TLS and without keys"),
        ({"require_keys": True}, "without TLS:"),
        (TLS, "without keys or client certificates:"),
    ],
)
def test_an_open_face_is_refused_with_what_is_missing(kind: type[Settings], guards: dict[str, Any], missing: str):
    with pytest.raises(InvalidConfig) as refusal:
        settings_of(kind, host="0.0.0.0", **guards)

    assert missing in str(refusal.value)
    assert "insecure_bind = true" in str(refusal.value)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("guards", [{**TLS, "require_keys": True}, {**TLS, "tls_client_authorities": "/ca.pem"}])
def test_a_guarded_face_needs_no_word(kind: type[Settings], guards: dict[str, Any]):
    assert settings_of(kind, host="0.0.0.0", **guards).exposure.gaps == ()


@pytest.mark.parametrize("kind", BOTH)
def test_a_face_of_this_machine_needs_no_word(kind: type[Settings]):
    assert settings_of(kind).exposure.gaps == ()


def test_a_file_of_tenants_knows_a_routers_callers(tmp_path: Path):
    assert settings_of(RouterSettings, host="::", tenants_file=str(tmp_path / "tenants.toml"), **TLS).exposure.gaps == ()
