"""The document about models shows configurations that can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.contracts.model_config import NonFiniteOutput, from_toml

DOCUMENT = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_read(example: str):
    assert from_toml(example).ignored == ()


def test_every_key_of_ours_is_shown():
    shown = from_toml(EXAMPLES[0])

    assert (shown.aliases, shown.traffic) == ({"champion": "1"}, {"1": 9000, "2": 1000})
    assert shown.response_cache.ttl_seconds == 30.0
    assert shown.reject_non_finite
    assert shown.non_finite_output is NonFiniteOutput.ERROR
    assert shown.golden
    assert shown.features is not None
