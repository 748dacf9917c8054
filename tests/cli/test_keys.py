"""A key is shown once, random, and known to the server by what its tenants file holds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from penstock.cli.keys import new_key
from penstock.contracts.errors import Unauthenticated
from services.router.tenants import Tenants
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController


def test_the_server_knows_the_tenant_by_the_key(run: Run, tmp_path: Path):
    shown = run("keys", "create", "--tenant", "acme").output
    key = re.search(r"^  (penstock_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{38})$", shown, re.MULTILINE)
    assert key is not None
    (tmp_path / "tenants.toml").write_text(shown[shown.index("  [[tenants]]") :])
    tenants = Tenants()
    tenants.load(tmp_path / "tenants.toml")

    assert tenants.of(key[1]).policy.name == "acme"
    with pytest.raises(Unauthenticated):
        tenants.of(new_key())


def test_under_a_pepper_only_its_owner_knows_the_key(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_KEY_PEPPER", "a secret")
    made = json.loads(run("keys", "create", "--tenant", "a", "--pepper-env", "PENSTOCK_KEY_PEPPER", "-o", "json").stdout)
    (tmp_path / "tenants.toml").write_text(f'[[tenants]]\nname = "a"\nkeys = ["{made["entry"]}"]\n')
    owner, other = Tenants(pepper=b"a secret"), Tenants(pepper=b"another")
    for tenants in (owner, other):
        tenants.load(tmp_path / "tenants.toml")

    assert owner.of(made["key"]).policy.name == "a"
    with pytest.raises(Unauthenticated):
        other.of(made["key"])


def test_names_stay_what_they_are_in_the_file(run: Run):
    shown = run("keys", "create", "--tenant", 'größe "x" \\').output

    assert tomllib.loads(shown[shown.index("  [[tenants]]") :])["tenants"][0]["name"] == 'größe "x" \\'


def test_a_key_names_its_environment(run: Run):
    made = json.loads(run("keys", "create", "--tenant", "a", "--environment", "staging", "-o", "json").stdout)

    assert made["key"].startswith("penstock_staging_")
    assert run("keys", "create", "--tenant", "a", "--environment", "No_Name").exit_code == 2


def test_no_two_keys_are_the_same():
    assert len({new_key() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("arguments", [[], ["--tenant", " "], ["--tenant"]])
def test_a_key_is_somebodys(arguments: list[str], run: Run):
    assert run("keys", "create", *arguments).exit_code == 2


def test_a_pepper_that_is_not_there_is_no_pepper(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PENSTOCK_KEY_PEPPER", raising=False)
    ended = run("keys", "create", "--tenant", "a", "--pepper-env", "PENSTOCK_KEY_PEPPER")

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: the environment variable PENSTOCK_KEY_PEPPER is empty\n  next:  export")


def test_keys_of_a_mesh_are_listed_with_the_minute_of_their_last_use(run: Run, controller: FarController):
    listed = run("keys", "list", "--tenant", "acme", "--grpc", controller.target, "-o", "json")
    shown, nothing = (run("keys", "list", *more, "--grpc", controller.target) for more in ((), ("--tenant", "other")))

    keys = [(one["id"], one["tenant"], one["last_used"], one["revoked"]) for one in json.loads(listed.output)]
    assert keys == [("k-1", "acme", "1970-01-01T00:02:00Z", False), ("k-2", "acme", None, True)]
    assert "1970-01-01T00:02:00Z" in shown.output
    assert nothing.output.startswith("no keys")
