from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.route_records import RouteRecord
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


@pytest.mark.parametrize(("after_seconds", "is_admitted"), [(-61, False), (-59, True), (0, True), (899, True), (901, False)])
def test_a_signed_record_holds_for_a_while(after_seconds: float, is_admitted: bool):
    made = OperatorKey.generate("alice")
    keys = OperatorKeys({"alice": made.key.public_key()})
    record = made.signed(replace(single("fraud", "1", revision=2), changed_time=1000.0))

    assert keys.is_admitted(record.to_bytes(), 1000.0 + after_seconds) is is_admitted


def test_what_the_controller_wrote_holds_for_ever_and_junk_is_left_to_whoever_reads_it():
    keys = OperatorKeys({})

    assert keys.is_admitted(RouteRecord(route=single("fraud", "1", revision=2)).to_bytes(), 1e12)
    assert keys.is_admitted(b"\xff", 0.0)
