"""Names and the order of versions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import ModelVersion, check_model_name, check_version_name, version_order

OLD_TO_NEW = ["nightly", "1", "v1.0.1-alpha.2", "v1.0.1-alpha.10", "v1.0.1-rc", "1.0.1", "2", "v3.0", "v3.1", "3.10", "10"]


def test_versions_are_ordered_as_numbers_and_as_semantic_versions():
    shuffled = random.Random(3).sample(OLD_TO_NEW, len(OLD_TO_NEW))

    assert sorted(shuffled, key=version_order) == OLD_TO_NEW


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6))
def test_numeric_versions_are_ordered_as_numbers(numbers: list[int]):
    assert sorted(map(str, numbers), key=version_order) == list(map(str, sorted(numbers)))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 300, "a\0b", "-1", "a..b", ".hidden", "mod\u0435l", "a b", "a\n"])
def test_names_that_could_be_paths_or_forgeries_are_refused(name: str):
    for check in (check_model_name, check_version_name):
        with pytest.raises(InvalidInput) as refused:
            check(name)
        assert refused.value.reason == "BAD_NAME"


@pytest.mark.parametrize("name", ["3", "v3.1", "my_model", "a-b.c", "0"])
def test_letters_digits_dot_underscore_and_dash_make_a_name(name: str):
    assert str(ModelVersion(model=name, version=name)) == f"{name}@{name}"
