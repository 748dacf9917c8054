"""Settings of a deployment replace those of a version one by one, whatever file these are in."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_scheduling import Latest, Specific
from penstock.contracts.model_config_text import from_json, from_pbtxt, from_toml

TOML = """
max_batch_size = 8
reject_non_finite = true
[dynamic_batching]
preferred_batch_size = [4, 8]
max_queue_delay_microseconds = 100
[parameters]
team = "red"
[version_policy.latest]
num_versions = 2
"""
PBTXT = """
max_batch_size: 8
dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100 }
parameters { key: "team" value { string_value: "red" } }
parameters { key: "penstock.reject_non_finite" value { string_value: "true" } }
version_policy { latest { num_versions: 2 } }
"""
JSON = """{"max_batch_size": 8, "reject_non_finite": true, "parameters": {"team": "red"}, "version_policy": {"latest": {"num_versions": 2}},
"dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": "100"}}"""

READERS = pytest.mark.parametrize(("read", "text"), [(from_toml, TOML), (from_pbtxt, PBTXT), (from_json, JSON)])


@READERS
def test_tables_are_merged_and_lists_are_replaced(read, text: str):
    config = read(text, '{"max_batch_size": 16, "dynamic_batching": {"preferred_batch_size": [16]}, "parameters": {"owner": "me"}}')

    assert config.max_batch_size == 16
    assert config.batching.preferred_batch_size == (16,)
    assert config.batching.max_queue_delay_microseconds == 100
    assert config.parameters == {"team": "red", "owner": "me"}
    assert config.reject_non_finite


@READERS
def test_a_setting_can_be_set_to_nothing(read, text: str):
    config = read(text, '{"dynamic_batching": {"max_queue_delay_microseconds": 0}, "reject_non_finite": false}')

    assert config.batching.max_queue_delay_microseconds == 0
    assert not config.reject_non_finite


@READERS
def test_of_a_choice_the_new_side_counts(read, text: str):
    assert read(text).version_policy == Latest(count=2)
    assert read(text, '{"version_policy": {"specific": {"versions": [3]}}}').version_policy == Specific(versions=("3",))


@READERS
def test_settings_of_ours_are_laid_over_as_well(read, text: str):
    assert read(text, '{"execution": {"intra_op_threads": 3}}').execution.intra_op_threads == 3


@READERS
def test_a_setting_that_does_not_exist_is_refused_by_name(read, text: str):
    with pytest.raises(InvalidInput, match="max_bach_size"):
        read(text, '{"max_bach_size": 4}')


@READERS
def test_without_settings_nothing_changes(read, text: str):
    assert read(text, "") == read(text)
    assert read(text, "{}") == read(text)
