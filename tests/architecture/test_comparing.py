"""No key, hash of a key or token is compared by `==`; and the check finds it when one is."""

from __future__ import annotations

import pytest

from tests.architecture.comparing import open_comparisons
from tests.architecture.source import Module, listed, read_tree

ALLOWED = {"services.controller.audit_trail": "hashes of the chain of records, which whoever may read the audit is shown"}


def test_what_is_secret_is_compared_in_constant_time():
    assert listed(open_comparisons(read_tree("penstock", "services"), ALLOWED)) == ""


def test_every_module_that_is_let_off_is_there():
    assert set(ALLOWED) <= {module.name for module in read_tree("penstock", "services")}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("held.hash == hash_of(key)", 1),
        ("hash_of(key, pepper) != other", 1),
        ("api_key == known", 1),
        ("hmac.new(pepper, raw, sha256).hexdigest() == kept", 1),
        ("hashlib.sha256(artefact).hexdigest() == known", 0),
        ("settings.token != given", 1),
        ("hmac.compare_digest(held.hash, hash_of(key))", 0),
        ("key is None", 0),
        ("key == ''", 0),
        ("held.revision == new.revision", 0),
    ],
)
def test_a_secret_that_is_compared_by_its_characters_is_found(statement: str, found: int):
    assert len(list(open_comparisons([Module(name="services.controller.thing", text=statement)], {}))) == found


def test_a_module_with_a_reason_is_let_off():
    module = Module(name="services.controller.thing", text="held.hash == other")

    assert list(open_comparisons([module], {"services.controller.thing": "hashes of a chain, which everybody may read"})) == []
