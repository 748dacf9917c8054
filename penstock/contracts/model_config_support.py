"""Which settings of a Triton configuration are refused here, and which are read and change nothing.

Nothing that a file says is passed over in silence: a setting that would change answers is refused by name, one that only changes speed
on other hardware, or labels metrics, is listed.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from penstock.contracts.errors import NotImplementedHere
from penstock.oip.v2 import model_config_pb2 as pb

REFUSED = {
    "sequence_batching": "requests of a sequence are not tied to an instance; keep state in the client, or serve it by Triton",
    "ensemble_scheduling": "an ensemble is a graph: give its config.pbtxt alone, in a folder without a model (docs/graphs.md)",
    "model_transaction_policy.decoupled": "every request has exactly one answer",
    "batch_input": "inputs are not derived from a batch; pad the input, or remove the setting",
    "batch_output": "outputs are not taken apart by input shapes; pad the output, or remove the setting",
    "input.allow_ragged_batch": "requests of different shapes never run together; remove the setting",
    "input.is_shape_tensor": "shape tensors belong to TensorRT plans; serve the ONNX file",
    "input.is_non_linear_format_io": "non-linear formats belong to TensorRT plans; serve the ONNX file",
    "output.is_shape_tensor": "shape tensors belong to TensorRT plans; serve the ONNX file",
    "output.is_non_linear_format_io": "non-linear formats belong to TensorRT plans; serve the ONNX file",
    "model_operations": "libraries of custom operators are not loaded; use standard operators",
    "model_repository_agents": "no program prepares the files; put the finished files into the folder",
    "instance_group.passive": "every instance takes requests; remove the group",
    "instance_group.secondary_devices": "there are no secondary devices; remove the setting",
}
"""Advice by the path of a setting that is refused."""

IGNORED = frozenset(
    {
        "optimization",
        "metric_tags",
        "model_metrics",
        "cc_model_filenames",
        "runtime",
        "input.format",
        "instance_group.rate_limiter",
        "instance_group.profile",
        "instance_group.host_policy",
    }
)
"""Paths of settings that are read and change nothing."""

_PLATFORMS = frozenset({"", "onnxruntime_onnx"})
_BACKENDS = frozenset({"", "onnxruntime"})
_IGNORED_PARAMETERS = frozenset(
    {
        "execution_mode",
        "enable_mem_arena",
        "enable_mem_pattern",
        "memory.enable_memory_arena_shrinkage",
        "arena_extend_strategy",
        "gpu_mem_limit",
        "cudnn_conv_algo_search",
        "do_copy_in_default_stream",
        "enable_cuda_graph",
    }
)


def check_support(config: pb.ModelConfig) -> tuple[str, ...]:
    """Return the paths of settings that change nothing here.

    Raises:
        NotImplementedHere: a setting would change answers and is not served; its field is the setting's path.
    """
    if config.backend not in _BACKENDS:
        raise _refusal("backend", f"only onnxruntime runs here, not {config.backend[:40]!r}")
    if config.platform not in _PLATFORMS:
        raise _refusal("platform", f"only onnxruntime_onnx runs here, not {config.platform[:40]!r}")
    ignored: list[str] = []
    for path, plain in _given(config, "", ""):
        if plain in REFUSED:
            raise _refusal(path, REFUSED[plain])
        if plain in IGNORED:
            ignored.append(path)
    ignored += [f"parameters.{key}" for key in sorted(config.parameters) if key in _IGNORED_PARAMETERS]
    return tuple(ignored)


def _given(message: Message, path: str, plain: str) -> Iterator[tuple[str, str]]:
    """Yield the path of every setting that is given, as written (with positions) and plain."""
    for field, value in message.ListFields():
        here, plain_here = path + field.name, plain + field.name
        yield here, plain_here
        if field.type != FieldDescriptor.TYPE_MESSAGE or _is_map(field):
            continue
        many = list(enumerate(value)) if field.is_repeated else [(None, value)]
        for index, inner in many:
            position = "" if index is None else f"[{index}]"
            yield from _given(inner, f"{here}{position}.", f"{plain_here}.")


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _refusal(path: str, advice: str) -> NotImplementedHere:
    return NotImplementedHere(f"model configuration: {path} is not served here: {advice}", field=path)
