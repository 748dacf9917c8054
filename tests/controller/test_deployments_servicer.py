"""Settings of a deployment as they come over the wire."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput, RequestTooLarge
from services.controller.deployments_servicer import MOST_CONFIG_BYTES, config_of


def test_settings_are_a_json_object_or_nothing():
    assert config_of("") == {}
    assert config_of('{"batching": {"max_batch_size": 8}}') == {"batching": {"max_batch_size": 8}}


@pytest.mark.parametrize(
    "text",
    ["[]", "1", "not json", '{"a": NaN}', '{"a": Infinity}', '{"a": "\\ud800"}', "{" * 5000, "[" * 100_000, " " * (MOST_CONFIG_BYTES + 1)],
    ids=["list", "number", "text", "nan", "infinity", "surrogate", "braces", "nesting", "length"],
)
def test_what_is_none_is_refused_as_the_callers_fault(text: str):
    with pytest.raises((InvalidInput, RequestTooLarge)):
        config_of(text)
