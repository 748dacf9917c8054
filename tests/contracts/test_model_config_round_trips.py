"""Properties of reading and writing configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.contracts.model_config import (
    All,
    DynamicBatching,
    ExecutionOptions,
    FeatureColumn,
    FeatureSchema,
    GoldenExample,
    InstanceGroup,
    InstanceKind,
    Latest,
    ModelConfig,
    NonFiniteOutput,
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
    from_proto,
    from_toml,
    to_bytes,
    to_json,
    to_proto,
)
from penstock.contracts.tensors import DataType
from penstock.oip.v2 import model_config_pb2 as pb

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9]{1,5})?", fullmatch=True)
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
TENSOR_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
FILES = st.one_of(NAMES, st.sampled_from(["1", "true", "null", '"x"', "[1]", "a/b.json", "{}"]))
DIMS = st.lists(st.integers(-1, 10**6), min_size=1, max_size=4).map(tuple)
KINDS = st.sampled_from(DataType)
COUNTS = st.integers(1, 2**31 - 1)
FLOATS = st.floats(min_value=0, max_value=1e9, allow_nan=False)

QUEUE_POLICIES = st.builds(
    QueuePolicy,
    timeout_action=st.sampled_from(TimeoutAction),
    default_timeout_microseconds=st.none() | st.integers(1, 2**64 - 1),
    allow_timeout_override=st.booleans(),
    max_queue_size=st.none() | st.integers(1, 2**32 - 1),
)


@st.composite
def batchings(draw: st.DrawFn) -> DynamicBatching:
    levels = draw(st.integers(0, 5))
    preserve = draw(st.booleans()) and levels <= 1
    policies = QUEUE_POLICIES.filter(lambda policy: not preserve or policy.timeout_action is TimeoutAction.REJECT)
    return DynamicBatching(
        preferred_batch_size=tuple(draw(st.lists(st.integers(1, 64), max_size=3))),
        max_queue_delay_microseconds=draw(st.integers(0, 2**64 - 1)),
        preserve_ordering=preserve,
        priority_levels=levels,
        default_priority_level=draw(st.integers(1, levels)) if levels else 0,
        default_queue_policy=draw(policies),
        priority_queue_policy=draw(st.dictionaries(st.integers(1, levels), policies)) if levels else {},
    )


@st.composite
def warmup_inputs(draw: st.DrawFn) -> WarmupInput:
    values = draw(st.sampled_from(WarmupValues))
    dims = tuple(draw(st.lists(st.integers(0, 1000), max_size=3)))
    return WarmupInput(datatype=draw(KINDS), dims=dims, values=values, file=draw(FILES) if values is WarmupValues.FILE else None)


@st.composite
def tensors(draw: st.DrawFn, *, is_input: bool) -> TensorConfig:
    datatype = draw(st.none() | KINDS)
    return TensorConfig(
        name=draw(TENSOR_NAMES),
        datatype=datatype,
        dims=draw(st.none() | DIMS),
        reshape=draw(st.none() | DIMS | st.just(())),
        optional=is_input and draw(st.booleans()),
        is_text=is_input and datatype in (None, DataType.BYTES) and draw(st.booleans()),
        label_filename=None if is_input else draw(st.none() | FILES),
    )


@st.composite
def instance_groups(draw: st.DrawFn) -> InstanceGroup:
    kind = draw(st.sampled_from(InstanceKind))
    can_have_gpus = kind in (InstanceKind.AUTO, InstanceKind.GPU)
    gpus = tuple(draw(st.lists(st.integers(0, 15), max_size=3))) if can_have_gpus else ()
    return InstanceGroup(count=draw(COUNTS), kind=kind, gpus=gpus, name=draw(WORDS))


def unique(strategy: st.SearchStrategy[TensorConfig]) -> st.SearchStrategy[tuple[TensorConfig, ...]]:
    return st.lists(strategy, max_size=3, unique_by=lambda tensor: tensor.name).map(tuple)


UNITS = st.sampled_from(["", "EUR", "1", "true", "null", "[1]", "{}", "km/h", "°C"])
CONFIGS = st.builds(
    ModelConfig,
    name=st.just("") | NAMES,
    max_batch_size=st.none() | st.integers(64, 2**31 - 1),
    inputs=unique(tensors(is_input=True)),
    outputs=unique(tensors(is_input=False)),
    version_policy=st.one_of(
        st.builds(Latest, count=COUNTS),
        st.just(All()),
        st.builds(Specific, versions=st.lists(NAMES | st.integers(0, 10**6).map(str), min_size=1, max_size=4).map(tuple)),
    ),
    instance_groups=st.lists(instance_groups(), max_size=3).map(tuple),
    batching=st.none() | batchings(),
    warmup=st.lists(
        st.builds(
            WarmupSample,
            name=TENSOR_NAMES,
            inputs=st.dictionaries(TENSOR_NAMES, warmup_inputs(), min_size=1, max_size=2),
            batch_size=st.integers(0, 2**31),
            count=COUNTS,
        ),
        max_size=2,
    ).map(tuple),
    golden=st.lists(st.builds(GoldenExample, file=FILES, absolute_tolerance=FLOATS, relative_tolerance=FLOATS), max_size=2).map(tuple),
    features=st.none()
    | st.builds(
        FeatureSchema,
        columns=st.lists(
            st.builds(FeatureColumn, name=NAMES, datatype=st.sampled_from(DataType), unit=UNITS),
            min_size=1,
            max_size=3,
            unique_by=lambda column: column.name,
        ).map(tuple),
        view=UNITS,
    ),
    response_cache=st.builds(ResponseCache, enable=st.booleans(), ttl_seconds=st.none() | FLOATS.filter(bool))
    | st.builds(ResponseCache, enable=st.just(True), shared=st.booleans(), ttl_seconds=st.none() | FLOATS.filter(bool)),
    execution=st.builds(
        ExecutionOptions,
        intra_op_threads=st.integers(0, 64),
        inter_op_threads=st.integers(0, 64),
        spinning=st.booleans(),
        providers=st.lists(NAMES, max_size=3).map(tuple),
    ),
    text=st.none()
    | st.builds(
        TextOptions, tokenizer_file=FILES, max_length=st.none() | COUNTS, pooling=st.sampled_from(Pooling), normalize=st.booleans()
    ),
    reject_non_finite=st.booleans(),
    non_finite_output=st.sampled_from(NonFiniteOutput),
    default_model_filename=st.none() | FILES,
    parameters=st.dictionaries(WORDS.filter(lambda key: not key.startswith("penstock.") and "_thread_count" not in key), WORDS, max_size=3),
)


@given(CONFIGS)
def test_a_value_survives_its_protobuf(config: ModelConfig):
    assert from_proto(to_proto(config)) == config


@given(CONFIGS)
def test_a_value_survives_its_bytes(config: ModelConfig):
    assert from_proto(pb.ModelConfig.FromString(to_bytes(config))) == config


@given(CONFIGS)
def test_a_value_survives_text_format(config: ModelConfig):
    assert from_pbtxt(text_format.MessageToString(to_proto(config))) == config


@given(CONFIGS)
def test_a_value_survives_the_json_that_clients_read(config: ModelConfig):
    assert from_json(to_json(config)) == config


@given(CONFIGS)
def test_a_protobuf_that_came_from_a_value_survives_it(config: ModelConfig):
    proto = to_proto(config)

    assert to_proto(from_proto(proto)) == proto


FIELDS = [field.name for field in pb.ModelConfig.DESCRIPTOR.fields]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.sampled_from(["TYPE_FP32", "KIND_CPU", "name", "\ud800"])
KEYS = st.sampled_from(
    [*FIELDS, "name", "dims", "data_type", "count", "versions", "specific", "execution", "text", "golden", "string_value"]
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | WORDS, inner, max_size=4), max_leaves=12)


def is_read_or_refused(read: Callable[[], ModelConfig]) -> bool:
    """Let every error through but our own refusals."""
    with suppress(InvalidInput, NotImplementedHere):
        return isinstance(read(), ModelConfig)
    return True


@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_any_json_is_read_or_refused(tree: dict[str, object]):
    assert is_read_or_refused(lambda: from_json(json.dumps(tree)))


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*FIELDS, ":", "{", "}", "[", "]", "1", '"x"', "TYPE_FP32", "\n"]), max_size=20).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str):
    assert is_read_or_refused(lambda: from_pbtxt(text))
    assert is_read_or_refused(lambda: from_toml(text))


@given(st.binary(max_size=60))
def test_any_message_is_read_or_refused(wire: bytes):
    proto = pb.ModelConfig()
    with suppress(DecodeError):
        proto.ParseFromString(wire)

    assert is_read_or_refused(lambda: from_proto(proto))
