"""Settings of a deployment as they come over the wire."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput, RequestTooLarge
from penstock.v1 import controller_pb2 as pb
from services.controller.deployments_servicer import MOST_CONFIG_BYTES, config_of, settings_of
from services.controller.servicer_messages import asked, asked_anew


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


def test_what_is_wrong_with_a_tenants_settings_is_said_in_their_words():
    with pytest.raises(InvalidInput, match="the text of the settings is a JSON object, in the words of the tenants file") as refusal:
        settings_of("[]")

    assert refusal.value.field == "settings_json"


def test_a_revision_of_what_is_only_being_made_is_refused():
    with pytest.raises(InvalidInput, match="a new deployment has no revision") as refusal:
        asked_anew(pb.WriteOptions(expected_revision=3), "a new deployment")

    assert refusal.value.field == "expected_revision"
    assert asked_anew(pb.WriteOptions(reason="why"), "a new deployment") == asked(pb.WriteOptions(reason="why"))
