"""What a key says of itself, those that were made before it named an environment too."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.keys import new_key as key_of_a_file
from penstock.contracts.api_keys import CHARACTERS, DEFAULT_ENVIRONMENT, ENVIRONMENT, KeyParts, checksum, key_body, key_parts
from services.controller.key_making import id_in, new_key

OLD_BODY = "penstock_abcdefghijkl_" + "s" * 32
OLD_KEY = OLD_BODY + checksum(OLD_BODY)
SHAPE = re.compile(r"penstock_([a-z][a-z0-9]{0,15})_([0-9A-Za-z]{12})_[0-9A-Za-z]{32}[0-9A-Za-z]{6}")


def test_a_key_names_its_environment_and_its_id():
    key_id, key = new_key("staging")

    assert key_parts(key) == KeyParts(environment="staging", key_id=key_id)
    assert SHAPE.fullmatch(key)
    assert id_in(key) == key_id


def test_keys_for_a_tenants_file_have_the_same_shape():
    parts = key_parts(key_of_a_file())

    assert parts is not None
    assert parts.environment == DEFAULT_ENVIRONMENT
    assert SHAPE.fullmatch(key_of_a_file("test"))


def test_a_key_without_an_environment_goes_on_being_one():
    assert key_parts(OLD_KEY) == KeyParts(environment="", key_id="abcdefghijkl")


@pytest.mark.parametrize("key", [new_key()[1], OLD_KEY], ids=["new", "old"])
def test_every_typing_error_of_one_character_is_found_without_a_lookup(key: str):
    typed = [key[:place] + other + key[place + 1 :] for place in range(len(key)) for other in "aB7_" if other != key[place]]

    assert {id_in(one) for one in [*typed, key[:-1], key + "a"]} == {""}


@pytest.mark.parametrize(
    "body",
    [
        "stranger_live_id_secret",
        "penstock_id",
        "penstock_Live_id_secret",
        "penstock_1ive_id_secret",
        "penstock_a_b_c_d",
        "penstock_ä_b_c",
        "",
    ],
)
def test_what_is_none_of_ours_says_nothing(body: str):
    assert key_parts(body + checksum(body)) is None


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str):
    assert key_parts(text) is None or text.startswith("penstock_")


@given(
    st.from_regex(ENVIRONMENT, fullmatch=True), st.text(CHARACTERS, min_size=12, max_size=12), st.text(CHARACTERS, min_size=32, max_size=32)
)
def test_whatever_is_made_is_read(environment: str, key_id: str, secret: str):
    body = key_body(environment.strip(), key_id, secret)

    assert key_parts(body + checksum(body)) == KeyParts(environment=environment.strip(), key_id=key_id)
