"""How Kafka is reached: half a setting is refused, and a password stands nowhere but in the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.chassis.bus_settings import BusSettings
from services.chassis.command_bus import command_bus
from services.chassis.config import InvalidConfig, load
from services.router.config import RouterSettings

SECRET = "never-shown"
WITH_USER = {"sasl": "SCRAM-SHA-512", "username": "penstock", "password": SECRET}
PREFIX = "PENSTOCK_ROUTER__"


@pytest.mark.parametrize(
    ("given", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"tls": True}, "SSL"),
        (WITH_USER, "SASL_PLAINTEXT"),
        ({"tls": True, **WITH_USER}, "SASL_SSL"),
    ],
)
def test_what_is_set_is_the_protocol(given: dict[str, Any], protocol: str):
    assert BusSettings.model_validate(given).security_protocol == protocol


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls": True, "certificate": "/c.pem"}, "certificate and key go together"),
        ({"authorities": "/ca.pem"}, "set tls = true"),
        ({"certificate": "/c.pem", "key": "/c.key"}, "set tls = true"),
        ({"check_hostname": False}, "set tls = true"),
        ({"sasl": "SCRAM-SHA-256"}, "needs username and password"),
        ({"sasl": "SCRAM-SHA-256", "username": "penstock"}, "BUS__PASSWORD_FILE"),
        ({"username": "penstock"}, "are for sasl"),
        ({**WITH_USER, "sasl": "PLAIN"}, "in the clear"),
        ({**WITH_USER, "sasl": "GSSAPI"}, "SCRAM-SHA-512"),
    ],
)
def test_what_would_not_be_used_or_not_be_secret_is_refused(given: dict[str, Any], told: str):
    with pytest.raises(ValidationError) as refusal:
        BusSettings.model_validate(given)

    assert told in str(refusal.value)


def test_names_are_checked_unless_somebody_says_otherwise():
    assert BusSettings(tls=True).check_hostname
    assert not BusSettings(tls=True, check_hostname=False).check_hostname


def test_a_password_comes_by_the_environment_or_the_file_that_it_names(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    tree = {"state_dir": str(tmp_path), "bus": {"bootstrap_servers": "a:1", "sasl": "SCRAM-SHA-512", "username": "penstock"}}

    for name, value in (("BUS__PASSWORD", SECRET), ("BUS__PASSWORD_FILE", str(file))):
        settings = load(RouterSettings, overrides=tree, environment={PREFIX + name: value})

        assert settings.bus.password.get_secret_value() == SECRET
        assert SECRET not in f"{settings} {settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize("place", ["file", "--set"])
def test_a_password_in_a_file_of_settings_or_on_a_command_line_is_refused(tmp_path: Path, place: str):
    file = tmp_path / "router.toml"
    file.write_text(f'state_dir = "/s"\n[bus]\nsasl = "SCRAM-SHA-512"\nusername = "penstock"\npassword = "{SECRET}"\n')
    tree = {"state_dir": "/s", "bus": WITH_USER}

    with pytest.raises(InvalidConfig) as refusal:
        load(RouterSettings, file=file if place == "file" else None, overrides=tree if place == "--set" else None, environment={})

    assert [problem.partition(" (")[0] for problem in refusal.value.problems] == ["bus.password: a secret comes by the environment alone"]
    assert SECRET not in str(refusal.value)


def test_a_command_reads_the_settings_of_bus_from_the_environment_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "bus.toml"
    file.write_text('tls = true\nauthorities = "/ca.pem"\nsasl = "PLAIN"\nusername = "penstock"\n')
    monkeypatch.setitem(os.environ, "PENSTOCK_BUS__PASSWORD", SECRET)
    monkeypatch.setitem(os.environ, "PENSTOCK_BUS__CHECK_HOSTNAME", "false")

    bus = command_bus("a:1", file)

    assert (bus.bootstrap_servers, bus.security_protocol, bus.check_hostname) == ("a:1", "SASL_SSL", False)
    assert bus.password.get_secret_value() == SECRET
