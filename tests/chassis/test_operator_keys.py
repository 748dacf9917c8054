from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.routes import single
from services.chassis.operator_keys import OperatorKey, OperatorKeys


def test_what_the_private_half_signs_the_public_half_takes(tmp_path: Path):
    made = OperatorKey.generate("alice")
    (tmp_path / "key").write_text(made.to_text())
    (tmp_path / "keys.toml").write_text(f"[keys]\n{made.public_line()}\n")
    keys = OperatorKeys.load(tmp_path / "keys.toml")
    record = OperatorKey.load(tmp_path / "key").signed(single("fraud", "1", revision=2))

    keys.check(record)
    longer = record.route_bytes + b"\x00"
    for forged in (replace(record, route_bytes=longer), replace(record, key_id="bob"), replace(record, signature=b"")):
        with pytest.raises(TenantForbidden):
            keys.check(forged)


@pytest.mark.parametrize("text", ["", "[operator]\nname = 'a'", "[operator]\nprivate_key = 'ed25519-private:c2hvcnQ='", "not toml ["])
def test_a_file_that_holds_no_key_is_refused_without_showing_it(text: str, tmp_path: Path):
    (tmp_path / "key").write_text(text)
    with pytest.raises(InvalidInput) as refusal:
        OperatorKey.load(tmp_path / "key")

    assert "c2hvcnQ" not in refusal.value.message


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a\n", "ä", "x" * 65])
def test_a_name_that_cannot_stand_in_the_file_is_refused(name: str):
    with pytest.raises(InvalidInput):
        OperatorKey.generate(name)
