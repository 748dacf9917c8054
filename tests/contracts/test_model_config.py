"""Configurations as people and clients write them."""

from __future__ import annotations

import json

import pytest

from penstock.contracts.model_config import (
    All,
    DynamicBatching,
    ExecutionOptions,
    GoldenExample,
    InstanceGroup,
    InstanceKind,
    Latest,
    ModelConfig,
    Pooling,
    QueuePolicy,
    ResponseCache,
    Specific,
    TensorConfig,
    TextOptions,
    TimeoutAction,
    WarmupInput,
    WarmupSample,
    WarmupValues,
    from_json,
    from_pbtxt,
    from_toml,
    to_bytes,
    to_json,
    to_proto,
)
from penstock.contracts.tensors import DataType

PBTXT = """
name: "densenet_onnx"  # as Triton's quick start has it
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "data_0" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] reshape { shape: [ 1, 3, 224, 224 ] } }
]
output [
  { name: "fc6_1" data_type: TYPE_FP32 dims: [ 1000 ] label_filename: "densenet_labels.txt" }
]
version_policy: { specific { versions: [ 1, 3 ] } }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { max_queue_size: 64 }
  priority_queue_policy { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 5000 allow_timeout_override: true } }
}
model_warmup [
  { name: "zeros" batch_size: 8 inputs { key: "data_0" value { data_type: TYPE_FP32 dims: [ 3, 224, 224 ] zero_data: true } } }
]
response_cache { enable: true }
parameters { key: "intra_op_thread_count" value { string_value: "2" } }
parameters { key: "penstock.response_cache.ttl_seconds" value { string_value: "30" } }
parameters { key: "penstock.response_cache.shared" value { string_value: "true" } }
parameters { key: "penstock.golden" value { string_value: "[{\\"file\\": \\"golden.json\\"}]" } }
parameters { key: "team" value { string_value: "vision" } }
"""

TOML = """
name = "densenet_onnx"
max_batch_size = 8

[[input]]
name = "data_0"
data_type = "FP32"
dims = [3, 224, 224]
reshape.shape = [1, 3, 224, 224]

[[output]]
name = "fc6_1"
data_type = "TYPE_FP32"
dims = [1000]
label_filename = "densenet_labels.txt"

[version_policy.specific]
versions = [1, 3]

[[instance_group]]
count = 2
kind = "KIND_CPU"

[dynamic_batching]
preferred_batch_size = [4, 8]
max_queue_delay_microseconds = 100
priority_levels = 2
default_priority_level = 2
default_queue_policy.max_queue_size = 64

[dynamic_batching.priority_queue_policy.1]
timeout_action = "DELAY"
default_timeout_microseconds = 5000
allow_timeout_override = true

[[model_warmup]]
name = "zeros"
batch_size = 8
[model_warmup.inputs.data_0]
data_type = "FP32"
dims = [3, 224, 224]
zero_data = true

[response_cache]
enable = true
ttl_seconds = 30
shared = true

[execution]
intra_op_threads = 2

[[golden]]
file = "golden.json"

[parameters]
team = "vision"
"""

VALUE = ModelConfig(
    name="densenet_onnx",
    max_batch_size=8,
    inputs=(TensorConfig(name="data_0", datatype=DataType.FP32, dims=(3, 224, 224), reshape=(1, 3, 224, 224)),),
    outputs=(TensorConfig(name="fc6_1", datatype=DataType.FP32, dims=(1000,), label_filename="densenet_labels.txt"),),
    version_policy=Specific(versions=("1", "3")),
    instance_groups=(InstanceGroup(count=2, kind=InstanceKind.CPU),),
    batching=DynamicBatching(
        preferred_batch_size=(4, 8),
        max_queue_delay_microseconds=100,
        priority_levels=2,
        default_priority_level=2,
        default_queue_policy=QueuePolicy(max_queue_size=64),
        priority_queue_policy={
            1: QueuePolicy(timeout_action=TimeoutAction.DELAY, default_timeout_microseconds=5000, allow_timeout_override=True)
        },
    ),
    warmup=(WarmupSample(name="zeros", batch_size=8, inputs={"data_0": WarmupInput(datatype=DataType.FP32, dims=(3, 224, 224))}),),
    response_cache=ResponseCache(enable=True, ttl_seconds=30, shared=True),
    execution=ExecutionOptions(intra_op_threads=2),
    golden=(GoldenExample(file="golden.json"),),
    parameters={"team": "vision"},
)


@pytest.mark.parametrize(
    ("read", "text"), [(from_pbtxt, PBTXT), (from_toml, TOML), (from_json, to_json(VALUE))], ids=["pbtxt", "toml", "json"]
)
def test_the_three_forms_say_the_same(read, text: str):
    assert read(text) == VALUE


def test_nothing_said_is_nothing_said():
    for config in (from_pbtxt(""), from_toml(""), from_json("{}")):
        assert config == ModelConfig()
        assert config.max_batch_size is None


def test_a_maximum_of_zero_differs_from_no_maximum():
    assert from_pbtxt("max_batch_size: 0").max_batch_size == 0
    assert from_pbtxt("").max_batch_size is None


def test_settings_of_our_own_are_tables_in_toml():
    config = from_toml("""
        reject_non_finite = true
        [execution]
        spinning = true
        inter_op_threads = 0
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        [text]
        tokenizer_file = "tok.json"
        max_length = 128
        pooling = "cls"
        normalize = false
        [[golden]]
        file = "a.json"
        absolute_tolerance = 0
        relative_tolerance = 0.1
    """)

    assert config == ModelConfig(
        reject_non_finite=True,
        execution=ExecutionOptions(spinning=True, inter_op_threads=0, providers=("CUDAExecutionProvider", "CPUExecutionProvider")),
        text=TextOptions(tokenizer_file="tok.json", max_length=128, pooling=Pooling.CLS, normalize=False),
        golden=(GoldenExample(file="a.json", absolute_tolerance=0, relative_tolerance=0.1),),
    )


def test_settings_of_our_own_are_parameters_in_pbtxt():
    values = {
        "penstock.reject_non_finite": "true",
        "penstock.execution.spinning": "true",
        "penstock.execution.providers": '["CPUExecutionProvider"]',
        "penstock.text.pooling": "cls",
        "penstock.version_policy.specific.versions": '["v3.1", "4"]',
    }
    text = "".join(
        f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}" for key, value in values.items()
    )

    config = from_pbtxt(text)

    assert config == ModelConfig(
        reject_non_finite=True,
        execution=ExecutionOptions(spinning=True, providers=("CPUExecutionProvider",)),
        text=TextOptions(pooling=Pooling.CLS),
        version_policy=Specific(versions=("v3.1", "4")),
    )


def test_versions_may_be_names_and_numbers_in_toml():
    config = from_toml('version_policy.specific.versions = ["v3.1", 4]')

    assert config.version_policy == Specific(versions=("v3.1", "4"))
    assert list(to_proto(config).version_policy.specific.versions) == [4]


def test_inputs_can_be_marked_as_text():
    config = from_toml('[[input]]\nname = "a"\n[[input]]\nname = "b"\ndata_type = "BYTES"\nis_text = true')

    assert [tensor.is_text for tensor in config.inputs] == [False, True]
    assert config.inputs[1].datatype is DataType.BYTES


def test_plain_parameters_become_text():
    assert from_toml('parameters = { a = "b", n = 3, on = true }').parameters == {"a": "b", "n": "3", "on": "true"}


def test_json_may_use_protobufs_own_spelling():
    config = from_json('{"maxBatchSize": 4, "batchInput": null, "dynamic_batching": {"maxQueueDelayMicroseconds": "100"}}')

    assert config == ModelConfig(max_batch_size=4, batching=DynamicBatching(max_queue_delay_microseconds=100))


def test_clients_read_tritons_json():
    tree = json.loads(to_json(VALUE))

    assert tree["platform"] == "onnxruntime_onnx"
    assert tree["backend"] == "onnxruntime"
    assert tree["max_batch_size"] == 8
    assert tree["input"][0]["dims"] == [3, 224, 224]
    assert tree["input"][0]["data_type"] == "TYPE_FP32"
    assert tree["input"][0]["is_shape_tensor"] is False
    assert tree["version_policy"] == {"specific": {"versions": [1, 3]}}
    assert tree["dynamic_batching"]["max_queue_delay_microseconds"] == 100
    assert tree["dynamic_batching"]["priority_queue_policy"]["1"]["default_timeout_microseconds"] == 5000
    assert tree["response_cache"] == {"enable": True}
    assert tree["parameters"]["intra_op_thread_count"] == {"string_value": "2"}


def test_equal_configurations_have_equal_bytes():
    assert to_bytes(from_toml(TOML)) == to_bytes(VALUE) == to_bytes(from_pbtxt(PBTXT))


VERSIONS = ["10", "9", "v1.2", "v1.10", "1"]


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Latest(), ("10",)),
        (Latest(count=2), ("9", "10")),
        (Latest(count=9), ("1", "v1.2", "v1.10", "9", "10")),
        (All(), ("1", "v1.2", "v1.10", "9", "10")),
        (Specific(versions=("v1.10", "9", "77")), ("v1.10", "9")),
    ],
    ids=str,
)
def test_a_version_policy_chooses_from_the_versions_there_are(policy: Latest | All | Specific, chosen: tuple[str, ...]):
    assert policy.choose(VERSIONS) == chosen


def test_a_level_without_a_policy_of_its_own_has_the_default():
    batching = VALUE.batching
    assert batching is not None

    assert batching.queue_policy(1).default_timeout_microseconds == 5000
    assert batching.queue_policy(2).max_queue_size == 64


def test_instances_of_all_groups_count():
    assert ModelConfig().instance_count == 1
    assert from_toml("instance_group = [{count = 2}, {}]").instance_count == 3


def test_a_warmup_file_is_named():
    config = from_pbtxt(
        'model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_STRING dims: [1] input_data_file: "texts" } } }'
    )

    assert config.warmup[0].inputs["x"] == WarmupInput(datatype=DataType.BYTES, dims=(1,), values=WarmupValues.FILE, file="texts")
