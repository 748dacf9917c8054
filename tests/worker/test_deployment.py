"""A configuration becomes the settings of a batcher, word by word."""

from __future__ import annotations

import numpy as np

from penstock.contracts.model_config import ModelConfig, from_pbtxt
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from services.worker.batch_policy import BatchPolicy, QueuePolicy, TimeoutAction
from services.worker.deployment import batch_policy_of, wire_row_bytes


def test_everything_that_a_configuration_says_about_batching_arrives():
    config = from_pbtxt("""
        max_batch_size: 16
        dynamic_batching {
          preferred_batch_size: [4, 8]
          max_queue_delay_microseconds: 500
          priority_levels: 3
          default_priority_level: 2
          default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1000 max_queue_size: 9 }
          priority_queue_policy { key: 1 value { max_queue_size: 5 } }
        }
    """)

    policy = batch_policy_of(config)

    assert policy == BatchPolicy(
        max_batch_size=16,
        preferred_batch_size=(4, 8),
        max_queue_delay_microseconds=500,
        queue=QueuePolicy(timeout_action=TimeoutAction.DELAY, default_timeout_microseconds=1000, max_queue_size=9),
        level_queues={1: QueuePolicy(max_queue_size=5)},
        priority_levels=3,
        default_priority_level=2,
    )


def test_a_model_without_dynamic_batching_keeps_its_limit():
    assert batch_policy_of(ModelConfig(max_batch_size=0)) == BatchPolicy(max_batch_size=0)
    assert batch_policy_of(ModelConfig(max_batch_size=1)).row_limit == 1


def test_the_bytes_of_a_row_are_those_of_the_wire():
    numbers = TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 3))
    texts = TensorSpec(name="t", datatype=DataType.BYTES, shape=(-1,))
    signature = Signature(inputs=(numbers, texts), outputs=(), max_batch_size=8)
    feeds = {"x": np.zeros((2, 3), np.float32), "t": np.array(["é", "abcd"], dtype=object)}

    assert wire_row_bytes(feeds, signature) == (2 * 12 + (4 + 2) + (4 + 4)) // 2
    assert wire_row_bytes({"x": np.zeros((2, 3), np.float32)}, Signature(inputs=(numbers,), outputs=())) == 24
