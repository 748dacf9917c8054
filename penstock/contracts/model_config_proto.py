"""Turns a model's configuration into Triton's message and back."""

from __future__ import annotations

from typing import TypeVar, cast

from penstock.contracts.model_config_checks import invalid, require
from penstock.contracts.model_config_options import OwnOptions, is_number, own_parameters, split_parameters
from penstock.contracts.model_config_scheduling import (
    All,
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    Latest,
    QueuePolicy,
    Specific,
    TimeoutAction,
    VersionPolicy,
)
from penstock.contracts.model_config_support import check_support
from penstock.contracts.model_config_values import ModelConfig, ResponseCache, TensorConfig, WarmupInput, WarmupSample, WarmupValues
from penstock.contracts.tensors import DataType
from penstock.oip.v2 import model_config_pb2 as pb

PLATFORM = "onnxruntime_onnx"
"""What every model's configuration says in `platform`."""

BACKEND = "onnxruntime"
"""What every model's configuration says in `backend`."""

_Member = TypeVar("_Member", InstanceKind, TimeoutAction)


def triton_name(kind: DataType) -> str:
    """Return Triton's name of a data type, for example TYPE_FP32."""
    return "TYPE_STRING" if kind is DataType.BYTES else f"TYPE_{kind.value}"


_FROM_DATATYPE = {kind: cast("pb.DataType", pb.DataType.Value(triton_name(kind))) for kind in DataType}
_TO_DATATYPE: dict[int, DataType] = {number: kind for kind, number in _FROM_DATATYPE.items()}


def from_proto(proto: pb.ModelConfig) -> ModelConfig:
    """Read a configuration.

    Raises:
        InvalidInput: a setting has an impossible value, or a parameter `penstock.…` does not exist.
        NotImplementedHere: a setting that would change answers is not served.
    """
    ignored = check_support(proto)
    own, parameters = split_parameters({key: value.string_value for key, value in proto.parameters.items()})
    inputs = tuple(_read_tensor(one, is_text=one.name in own.text_inputs) for one in proto.input)
    unknown = [name for name in own.text_inputs if all(tensor.name != name for tensor in inputs)]
    require(not unknown, "text_inputs", f"no such input: {', '.join(map(repr, unknown))}")
    return ModelConfig(
        name=proto.name,
        max_batch_size=proto.max_batch_size if proto.HasField("max_batch_size") else None,
        inputs=inputs,
        outputs=tuple(_read_tensor(one) for one in proto.output),
        version_policy=_read_version_policy(proto.version_policy, own),
        instance_groups=tuple(_read_instance_group(one) for one in proto.instance_group),
        batching=_read_batching(proto.dynamic_batching) if proto.HasField("dynamic_batching") else None,
        warmup=tuple(_read_warmup(one) for one in proto.model_warmup),
        golden=own.golden,
        features=own.features,
        response_cache=ResponseCache(enable=proto.response_cache.enable, ttl_seconds=own.ttl_seconds, shared=own.shared),
        execution=own.execution,
        text=own.text,
        reject_non_finite=own.reject_non_finite,
        non_finite_output=own.non_finite_output,
        aliases=own.aliases,
        traffic=own.traffic,
        default_model_filename=proto.default_model_filename or None,
        parameters=parameters,
        ignored=ignored,
    )


def to_proto(config: ModelConfig) -> pb.ModelConfig:
    """Return Triton's message; our own settings are parameters of it."""
    proto = pb.ModelConfig(
        name=config.name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=config.max_batch_size,
        version_policy=_version_policy(config.version_policy),
        input=[_input(tensor) for tensor in config.inputs],
        output=[_output(tensor) for tensor in config.outputs],
        instance_group=[_instance_group(group) for group in config.instance_groups],
        model_warmup=[_warmup(sample) for sample in config.warmup],
        default_model_filename=config.default_model_filename or "",
    )
    if config.batching is not None:
        proto.dynamic_batching.CopyFrom(_batching(config.batching))
    if config.response_cache.enable:
        proto.response_cache.enable = True
    for key, value in sorted((dict(config.parameters) | own_parameters(config)).items()):
        proto.parameters[key].string_value = value
    return proto


def to_bytes(config: ModelConfig) -> bytes:
    """Return Triton's message, serialised; equal configurations have equal bytes in every process."""
    return to_proto(config).SerializeToString(deterministic=True)


def _read_tensor(proto: pb.ModelInput | pb.ModelOutput, *, is_text: bool = False) -> TensorConfig:
    is_input = isinstance(proto, pb.ModelInput)
    return TensorConfig(
        name=proto.name,
        datatype=_datatype(proto.data_type, proto.name),
        dims=tuple(proto.dims) or None,
        reshape=tuple(proto.reshape.shape) if proto.HasField("reshape") else None,
        optional=proto.optional if is_input else False,
        is_text=is_text,
        label_filename=None if is_input else proto.label_filename or None,
    )


def _datatype(number: int, name: str) -> DataType | None:
    require(number == pb.TYPE_INVALID or number in _TO_DATATYPE, f"{name}.data_type", f"there is no type {number}")
    return _TO_DATATYPE.get(number)


def _member(kind: type[_Member], number: int, where: str) -> _Member:
    """Return an enum's member; proto3 lets unknown numbers through."""
    require(any(one.value == number for one in kind), where, f"there is no value {number}")
    return kind(number)


def _input(tensor: TensorConfig) -> pb.ModelInput:
    proto = pb.ModelInput(name=tensor.name, dims=tensor.dims, optional=tensor.optional)
    if tensor.datatype is not None:
        proto.data_type = _FROM_DATATYPE[tensor.datatype]
    if tensor.reshape is not None:
        proto.reshape.SetInParent()
        proto.reshape.shape.extend(tensor.reshape)
    return proto


def _output(tensor: TensorConfig) -> pb.ModelOutput:
    proto = pb.ModelOutput(name=tensor.name, dims=tensor.dims, label_filename=tensor.label_filename or "")
    if tensor.datatype is not None:
        proto.data_type = _FROM_DATATYPE[tensor.datatype]
    if tensor.reshape is not None:
        proto.reshape.SetInParent()
        proto.reshape.shape.extend(tensor.reshape)
    return proto


def _read_version_policy(proto: pb.ModelVersionPolicy, own: OwnOptions) -> VersionPolicy:
    choice = proto.WhichOneof("policy_choice")
    if own.versions:
        require(choice in (None, "specific"), "version_policy", f"is {choice} and specific at once")
        return Specific(versions=own.versions)
    if choice == "specific":
        return Specific(versions=tuple(str(version) for version in proto.specific.versions))
    return All() if choice == "all" else Latest(count=proto.latest.num_versions or 1)


def _version_policy(policy: VersionPolicy) -> pb.ModelVersionPolicy:
    match policy:
        case Latest(count=count):
            return pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=count))
        case All():
            return pb.ModelVersionPolicy(all=pb.ModelVersionPolicy.All())
        case Specific(versions=versions):
            numbers = [int(version) for version in versions if is_number(version)]
            return pb.ModelVersionPolicy(specific=pb.ModelVersionPolicy.Specific(versions=numbers))


def _read_instance_group(proto: pb.ModelInstanceGroup) -> InstanceGroup:
    return InstanceGroup(
        count=proto.count or 1, kind=_member(InstanceKind, proto.kind, "instance_group.kind"), gpus=tuple(proto.gpus), name=proto.name
    )


def _instance_group(group: InstanceGroup) -> pb.ModelInstanceGroup:
    kind = pb.ModelInstanceGroup.Kind.Name(group.kind.value)
    return pb.ModelInstanceGroup(name=group.name, count=group.count, kind=kind, gpus=group.gpus)


def _read_batching(proto: pb.ModelDynamicBatching) -> DynamicBatching:
    return DynamicBatching(
        preferred_batch_size=tuple(proto.preferred_batch_size),
        max_queue_delay_microseconds=proto.max_queue_delay_microseconds,
        preserve_ordering=proto.preserve_ordering,
        priority_levels=proto.priority_levels,
        default_priority_level=proto.default_priority_level,
        default_queue_policy=_read_queue_policy(proto.default_queue_policy),
        priority_queue_policy={level: _read_queue_policy(policy) for level, policy in sorted(proto.priority_queue_policy.items())},
    )


def _batching(batching: DynamicBatching) -> pb.ModelDynamicBatching:
    proto = pb.ModelDynamicBatching(
        preferred_batch_size=batching.preferred_batch_size,
        max_queue_delay_microseconds=batching.max_queue_delay_microseconds,
        preserve_ordering=batching.preserve_ordering,
        priority_levels=batching.priority_levels,
        default_priority_level=batching.default_priority_level,
    )
    if batching.default_queue_policy != QueuePolicy():
        proto.default_queue_policy.CopyFrom(_queue_policy(batching.default_queue_policy))
    for level, policy in batching.priority_queue_policy.items():
        proto.priority_queue_policy[level].CopyFrom(_queue_policy(policy))
    return proto


def _read_queue_policy(proto: pb.ModelQueuePolicy) -> QueuePolicy:
    return QueuePolicy(
        timeout_action=_member(TimeoutAction, proto.timeout_action, "timeout_action"),
        default_timeout_microseconds=proto.default_timeout_microseconds or None,
        allow_timeout_override=proto.allow_timeout_override,
        max_queue_size=proto.max_queue_size or None,
    )


def _queue_policy(policy: QueuePolicy) -> pb.ModelQueuePolicy:
    return pb.ModelQueuePolicy(
        timeout_action=pb.ModelQueuePolicy.TimeoutAction.Name(policy.timeout_action.value),
        default_timeout_microseconds=policy.default_timeout_microseconds or 0,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size or 0,
    )


def _read_warmup(proto: pb.ModelWarmup) -> WarmupSample:
    inputs = {name: _read_warmup_input(name, one) for name, one in sorted(proto.inputs.items())}
    return WarmupSample(name=proto.name, inputs=inputs, batch_size=proto.batch_size, count=proto.count or 1)


def _read_warmup_input(name: str, proto: pb.ModelWarmup.Input) -> WarmupInput:
    source, datatype = proto.WhichOneof("input_data_type"), _datatype(proto.data_type, name)
    require(source is not None, f"model_warmup.inputs.{name}", "says neither zero_data, random_data nor input_data_file")
    if datatype is None:
        raise invalid(f"model_warmup.inputs.{name}.data_type", "must be given")
    file = proto.input_data_file if source == "input_data_file" else None
    return WarmupInput(datatype=datatype, dims=tuple(proto.dims), values=WarmupValues(source), file=file)


def _warmup(sample: WarmupSample) -> pb.ModelWarmup:
    proto = pb.ModelWarmup(name=sample.name, batch_size=sample.batch_size, count=sample.count)
    for name, one in sample.inputs.items():
        target = proto.inputs[name]
        target.data_type = _FROM_DATATYPE[one.datatype]
        target.dims.extend(one.dims)
        if one.file is not None:
            target.input_data_file = one.file
        else:
            setattr(target, one.values.value, True)
    return proto
