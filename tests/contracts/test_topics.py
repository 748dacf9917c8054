"""The catalogue of topics."""

from __future__ import annotations

import re

import pytest
from google.protobuf import symbol_database

from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS, TOPICS, Topic
from penstock.v1 import assignments_pb2, observations_pb2, routes_pb2, tenants_pb2, worker_pb2

SCHEMAS = (assignments_pb2, observations_pb2, routes_pb2, tenants_pb2, worker_pb2)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_carries_a_message_that_exists_by_a_key(topic: Topic):
    found = symbol_database.Default().pool.FindMessageTypeByName(topic.message)

    assert found.file.name in {schema.DESCRIPTOR.name for schema in SCHEMAS}
    assert topic.key
    assert re.fullmatch(r"penstock\.[a-z-]+\.v\d+", topic.name)


def test_names_are_given_once():
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("topic", [ROUTES, ASSIGNMENTS, TENANTS], ids=lambda topic: topic.name)
def test_desired_state_is_compacted_and_in_one_order(topic: Topic):
    assert (topic.partitions, topic.settings["cleanup.policy"]) == (1, "compact")


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if not topic.is_compacted], ids=lambda topic: topic.name)
def test_events_are_kept_for_a_stated_time(topic: Topic):
    assert topic.settings["cleanup.policy"] == "delete"
    assert topic.settings["retention.ms"] == str(topic.retention_seconds * 1000)
