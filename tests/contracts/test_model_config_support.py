"""No setting of a Triton configuration is passed over in silence: each is kept, refused by name, or listed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor

from penstock.contracts.errors import NotImplementedHere
from penstock.contracts.model_config import from_pbtxt, to_proto
from penstock.contracts.model_config_support import IGNORED, REFUSED
from penstock.oip.v2 import model_config_pb2 as pb

QUEUE = "{ timeout_action: DELAY default_timeout_microseconds: 5 allow_timeout_override: true max_queue_size: 6 }"
LEVELS = "priority_levels: 2 default_priority_level: 2"

KEPT = {
    "name": 'name: "digits"',
    "platform": 'platform: "onnxruntime_onnx"',
    "backend": 'backend: "onnxruntime"',
    "version_policy.latest.num_versions": "version_policy { latest { num_versions: 3 } }",
    "version_policy.all": "version_policy { all {} }",
    "version_policy.specific.versions": "version_policy { specific { versions: [1, 4] } }",
    "max_batch_size": "max_batch_size: 0",
    "input.name": 'input { name: "x" }',
    "input.data_type": 'input { name: "x" data_type: TYPE_BF16 }',
    "input.dims": 'input { name: "x" dims: [-1, 3] }',
    "input.reshape.shape": 'input { name: "x" reshape { shape: [3, -1] } }',
    "input.optional": 'input { name: "x" optional: true }',
    "output.name": 'output { name: "y" }',
    "output.data_type": 'output { name: "y" data_type: TYPE_STRING }',
    "output.dims": 'output { name: "y" dims: [-1, 3] }',
    "output.reshape.shape": 'output { name: "y" reshape {} }',
    "output.label_filename": 'output { name: "y" label_filename: "labels.txt" }',
    "dynamic_batching.preferred_batch_size": "dynamic_batching { preferred_batch_size: [4, 8] }",
    "dynamic_batching.max_queue_delay_microseconds": "dynamic_batching { max_queue_delay_microseconds: 100 }",
    "dynamic_batching.preserve_ordering": "dynamic_batching { preserve_ordering: true }",
    "dynamic_batching.priority_levels": f"dynamic_batching {{ {LEVELS} }}",
    "dynamic_batching.default_priority_level": f"dynamic_batching {{ {LEVELS} }}",
    "dynamic_batching.default_queue_policy.timeout_action": f"dynamic_batching {{ default_queue_policy {QUEUE} }}",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": f"dynamic_batching {{ default_queue_policy {QUEUE} }}",
    "dynamic_batching.default_queue_policy.allow_timeout_override": f"dynamic_batching {{ default_queue_policy {QUEUE} }}",
    "dynamic_batching.default_queue_policy.max_queue_size": f"dynamic_batching {{ default_queue_policy {QUEUE} }}",
    "dynamic_batching.priority_queue_policy": f"dynamic_batching {{ {LEVELS} priority_queue_policy {{ key: 1 value {QUEUE} }} }}",
    "instance_group.name": 'instance_group { count: 1 name: "gpu" }',
    "instance_group.count": "instance_group { count: 3 }",
    "instance_group.gpus": "instance_group { count: 1 gpus: [0, 2] }",
    "instance_group.kind": "instance_group { count: 1 kind: KIND_MODEL }",
    "default_model_filename": 'default_model_filename: "classifier.onnx"',
    "parameters": 'parameters { key: "team" value { string_value: "vision" } }',
    "model_warmup.name": 'model_warmup { name: "w" count: 2 inputs { key: "x" value { data_type: TYPE_FP32 dims: 3 zero_data: true } } }',
    "model_warmup.batch_size": (
        'model_warmup { name: "w" batch_size: 2 count: 1 inputs { key: "x" value { data_type: TYPE_INT8 random_data: true } } }'
    ),
    "model_warmup.count": 'model_warmup { name: "w" count: 7 inputs { key: "x" value { data_type: TYPE_INT8 zero_data: true } } }',
    "model_warmup.inputs": (
        'model_warmup { name: "w" count: 1 inputs { key: "x" value { data_type: TYPE_STRING dims: [1] input_data_file: "texts" } } }'
    ),
    "response_cache.enable": "response_cache { enable: true }",
}

REFUSALS = {
    "sequence_batching": ("sequence_batching { oldest {} }", "sequence_batching"),
    "ensemble_scheduling": ("ensemble_scheduling { step {} }", "ensemble_scheduling"),
    "model_transaction_policy.decoupled": ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled"),
    "batch_input": ("batch_input { kind: BATCH_ITEM_SHAPE }", "batch_input"),
    "batch_output": ('batch_output { target_name: "y" }', "batch_output"),
    "input.allow_ragged_batch": ('input { name: "a" } input { name: "x" allow_ragged_batch: true }', "input[1].allow_ragged_batch"),
    "input.is_shape_tensor": ('input { name: "x" is_shape_tensor: true }', "input[0].is_shape_tensor"),
    "input.is_non_linear_format_io": ('input { name: "x" is_non_linear_format_io: true }', "input[0].is_non_linear_format_io"),
    "output.is_shape_tensor": ('output { name: "y" is_shape_tensor: true }', "output[0].is_shape_tensor"),
    "output.is_non_linear_format_io": ('output { name: "y" is_non_linear_format_io: true }', "output[0].is_non_linear_format_io"),
    "model_operations": ('model_operations { op_library_filename: "ops.so" }', "model_operations"),
    "model_repository_agents": ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents"),
    "instance_group.passive": ("instance_group { passive: true }", "instance_group[0].passive"),
    "instance_group.secondary_devices": ("instance_group { secondary_devices {} }", "instance_group[0].secondary_devices"),
}

LISTED = {
    "optimization": ("optimization { graph { level: 1 } }", "optimization"),
    "metric_tags": ('metric_tags { key: "a" value: "b" }', "metric_tags"),
    "model_metrics": ("model_metrics { metric_control {} }", "model_metrics"),
    "cc_model_filenames": ('cc_model_filenames { key: "8.0" value: "a" }', "cc_model_filenames"),
    "runtime": ('runtime: "libtriton_x.so"', "runtime"),
    "input.format": ('input { name: "x" format: FORMAT_NCHW }', "input[0].format"),
    "instance_group.rate_limiter": ("instance_group { rate_limiter { priority: 2 } }", "instance_group[0].rate_limiter"),
    "instance_group.profile": ('instance_group { profile: "1" }', "instance_group[0].profile"),
    "instance_group.host_policy": ('instance_group { host_policy: "numa0" }', "instance_group[0].host_policy"),
}


def leaves(descriptor: Descriptor, path: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        here = path + field.name
        message = field.message_type
        is_leaf = message is None or message.GetOptions().map_entry or not message.fields
        if is_leaf or here in REFUSED or here in IGNORED:
            yield here
        else:
            yield from leaves(message, f"{here}.")


def test_every_setting_of_a_triton_configuration_is_kept_refused_or_listed():
    assert set(leaves(pb.ModelConfig.DESCRIPTOR)) == set(KEPT) | set(REFUSED) | set(IGNORED)


def test_every_refused_and_every_listed_setting_has_its_case():
    assert (set(REFUSALS), set(LISTED)) == (set(REFUSED), set(IGNORED))


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_a_supported_setting_is_kept(text: str):
    said = text_format.Parse(text, pb.ModelConfig())

    kept = to_proto(from_pbtxt(text))

    assert from_pbtxt(text).ignored == ()
    for field, value in said.ListFields():
        assert getattr(kept, field.name) == value


@pytest.mark.parametrize(("text", "field"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_setting_that_would_change_answers_is_refused_by_name(text: str, field: str):
    with pytest.raises(NotImplementedHere) as caught:
        from_pbtxt(text)

    assert caught.value.field == field
    assert field in caught.value.message


@pytest.mark.parametrize(("text", "path"), LISTED.values(), ids=LISTED.keys())
def test_a_setting_that_changes_nothing_is_listed(text: str, path: str):
    assert from_pbtxt(text).ignored == (path,)


@pytest.mark.parametrize("text", ['backend: "python"', 'platform: "tensorrt_plan"', 'backend: "onnxruntime" platform: "ensemble"'])
def test_another_backend_is_refused(text: str):
    with pytest.raises(NotImplementedHere, match="only onnxruntime"):
        from_pbtxt(text)


def test_refused_settings_at_their_defaults_are_harmless():
    text = 'model_transaction_policy { decoupled: false } input { name: "x" allow_ragged_batch: false format: FORMAT_NONE }'

    assert from_pbtxt(text).ignored == ()


def test_options_of_tritons_backend_that_are_not_read_here_are_listed_and_kept():
    config = from_pbtxt('parameters { key: "enable_mem_arena" value { string_value: "0" } }')

    assert config.ignored == ("parameters.enable_mem_arena",)
    assert config.parameters == {"enable_mem_arena": "0"}
