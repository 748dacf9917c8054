"""Completes a configuration from the model's graph, and refuses one that contradicts it.

What a configuration says must agree with the graph; what it leaves out comes from there. Whether the first dimension counts rows is
decided so:

1. `max_batch_size` is given: above 0 it does, 0 it does not.
2. Else the graph decides: it does when there are inputs and the first dimension is of any size in every input and output. Where `dims`
   are given, they decide between the two readings: as many sizes as the graph's tensor has means no batch dimension, one less means one.

A model that has a batch dimension and no `max_batch_size` gets DEFAULT_MAX_BATCH_SIZE. Triton's ONNX Runtime backend takes 4 there; we
take more because the batcher never waits for a batch to fill, so a high limit costs an idle model nothing and lets a busy one keep up.
Such a model, like every one that may run more than one row, batches dynamically, as Triton's completed configurations do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import prod

from penstock.contracts.errors import NotImplementedHere
from penstock.contracts.feature_schema import check_signature
from penstock.contracts.model_config_checks import invalid, require
from penstock.contracts.model_config_proto import triton_name
from penstock.contracts.model_config_scheduling import DynamicBatching, InstanceGroup
from penstock.contracts.model_config_values import ModelConfig, TensorConfig
from penstock.contracts.model_config_warmup import check_warmup
from penstock.contracts.model_graph import GraphSignature, GraphTensor, has_batch_dimension
from penstock.contracts.model_text import TextPlan, plan_text, text_tensors
from penstock.contracts.signature import ANY, Signature, TensorSpec

DEFAULT_MAX_BATCH_SIZE = 64
"""Most rows of one execution of a model with a batch dimension whose configuration does not say."""

DEFAULT_MODEL_FILENAME = "model.onnx"
"""Name of the model's file in a version folder when the configuration does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedModel:
    """A configuration that agrees with its graph, and what follows from both."""

    config: ModelConfig
    """Nothing left out."""
    signature: Signature
    """What callers send and receive: batch dimension included, `text` and `embedding` for a text model."""
    reshapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Shape that the graph uses, without the batch dimension, of tensors that callers see in another shape (`reshape`)."""
    text: TextPlan | None = None
    """How a text model's tensors are made from its texts; None for other models."""


def complete(
    config: ModelConfig | None,
    graph: GraphSignature,
    *,
    name: str,
    labels: Mapping[str, Sequence[str]] | None = None,
    has_tokenizer: bool = False,
) -> CompletedModel:
    """Complete a configuration.

    Args:
        config: what is configured; None for nothing.
        graph: what the model's file says.
        name: the model's name, from its folder.
        labels: class names by output, read from the files that `label_filename` names.
        has_tokenizer: the version folder holds the tokenizer's file.

    Raises:
        InvalidInput: the configuration contradicts the graph, the folder or itself; the message names both sides.
        NotImplementedHere: an input or output is no tensor.
        Conflict: the features that it names do not fit its inputs.
    """
    given = ModelConfig() if config is None else config
    require(given.name in ("", name), "name", f"is {given.name!r}, but the model's folder is {name!r}")
    text = plan_text(given, graph, has_tokenizer=has_tokenizer)
    seen = text_tensors(text) if text else graph
    inputs = _tensors("input", given.inputs, seen.inputs)
    outputs = _tensors("output", given.outputs, seen.outputs)
    max_batch_size = _max_batch_size(given, [*inputs, *outputs]) if inputs else _without_inputs(given)
    rows = max_batch_size > 0
    completed = replace(
        given,
        name=name,
        max_batch_size=max_batch_size,
        inputs=tuple(_completed("input", one, tensor, rows=rows) for one, tensor in inputs),
        outputs=tuple(_completed("output", one, tensor, rows=rows) for one, tensor in outputs),
        batching=given.batching or (DynamicBatching() if max_batch_size > 1 else None),
        instance_groups=given.instance_groups or (InstanceGroup(name=f"{name}_0"),),
        default_model_filename=given.default_model_filename or DEFAULT_MODEL_FILENAME,
        text=text.options if text else None,
    )
    check_warmup(completed)
    signature = _signature(completed, seen, labels or {})
    return CompletedModel(config=completed, signature=signature, reshapes=_reshapes(completed), text=text)


Pair = tuple[TensorConfig, GraphTensor]


def _tensors(side: str, given: Iterable[TensorConfig], graph: Sequence[GraphTensor]) -> list[Pair]:
    """Pair what is configured with the graph's tensors.

    Configured ones come first. All other required inputs follow, but other outputs only when none is configured.
    """
    known = {tensor.name: tensor for tensor in graph}
    pairs: list[Pair] = []
    for one in given:
        if one.name not in known:
            near = get_close_matches(one.name, list(known), n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"the model has {', '.join(map(repr, known))}"
            raise invalid(side, f"{one.name!r} is configured, but the model has no such {side}; {advice}")
        pairs.append((one, known.pop(one.name)))
    if side == "input" or not pairs:
        # An optional input is a weight that can be overridden; files of old exporters declare all their weights so.
        pairs += [(TensorConfig(name=tensor.name), tensor) for tensor in known.values() if not tensor.optional]
    for _, tensor in pairs:
        _check_type(side, tensor)
    return pairs


def _check_type(side: str, tensor: GraphTensor) -> None:
    if tensor.datatype is None:
        advice = "" if side == "input" else " (scikit-learn: zipmap=False), or list the outputs to serve in the configuration"
        raise NotImplementedHere(
            f"{side} {tensor.name!r} of the model is {tensor.onnx_type[:80]}, which is not served: export it as a plain tensor{advice}",
            field=tensor.name,
        )


def _max_batch_size(config: ModelConfig, pairs: list[Pair]) -> int:
    given = config.max_batch_size
    if given == 0:
        return 0
    can_batch = has_batch_dimension(tensor for _, tensor in pairs)
    if given is not None:
        fixed = next((tensor for _, tensor in pairs if not tensor.shape or tensor.sizes[0] != ANY), None)
        if fixed is not None:
            shape = list(fixed.sizes)
            raise invalid(
                "max_batch_size",
                f"is {given}, but {fixed.name!r} of the model has the shape {shape}, whose first dimension is not of any size: set "
                "max_batch_size to 0, or export the model with a dynamic first dimension",
            )
        return given
    if not can_batch or not _dims_leave_room(pairs):
        return 0
    preferred = config.batching.preferred_batch_size if config.batching else ()
    return max((DEFAULT_MAX_BATCH_SIZE, *preferred))


def _without_inputs(config: ModelConfig) -> int:
    """Return the maximum of a model that takes nothing: two calls could not be told apart in the rows of one answer."""
    wanted = config.max_batch_size or 0
    require(wanted == 0, "max_batch_size", f"is {wanted}, but the model takes no input whose first dimension could count rows: set it to 0")
    return 0


def _dims_leave_room(pairs: list[Pair]) -> bool:
    """Whether the configured dims, where there are some, leave the first dimension out."""
    readings = {one.name: len(tensor.shape) - len(_model_dims(one) or ()) for one, tensor in pairs if _model_dims(one) is not None}
    whole = [name for name, left_out in readings.items() if left_out == 0]
    short = [name for name, left_out in readings.items() if left_out == 1]
    if whole and short:
        raise invalid("dims", f"{whole[0]!r} includes the batch dimension and {short[0]!r} does not: say max_batch_size")
    return not whole


def _model_dims(one: TensorConfig) -> tuple[int, ...] | None:
    return one.reshape if one.reshape is not None else one.dims


def _signature(config: ModelConfig, graph: GraphSignature, labels: Mapping[str, Sequence[str]]) -> Signature:
    rows = (config.max_batch_size or 0) > 0
    tensors = {tensor.name: tensor for tensor in graph.inputs}, {tensor.name: tensor for tensor in graph.outputs}
    signature = Signature(
        inputs=tuple(_spec(one, tensors[0][one.name], rows=rows) for one in config.inputs),
        outputs=tuple(_spec(one, tensors[1][one.name], rows=rows, labels=labels.get(one.name, ())) for one in config.outputs),
        max_batch_size=config.max_batch_size or 0,
    )
    if config.features is not None:
        check_signature(config.features, signature)
    return signature


def _reshapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    tensors = (*config.inputs, *config.outputs)
    return {one.name: one.reshape for one in tensors if one.reshape is not None and one.reshape != one.dims}


def _completed(side: str, one: TensorConfig, tensor: GraphTensor, *, rows: bool) -> TensorConfig:
    """Return what is configured about a tensor, completed and checked against the graph's."""
    where, datatype = f"{side} {one.name!r}", tensor.datatype
    if one.datatype is not None and datatype is not None and one.datatype is not datatype:
        types = f"{triton_name(one.datatype)} in the configuration and {triton_name(datatype)} in the model"
        raise invalid(f"{where}.data_type", f"is {types}")
    require(not one.optional or tensor.optional, f"{where}.optional", "is true in the configuration, but the model has no value of its own")
    sizes = tensor.sizes[1:] if rows else tensor.sizes
    dims = sizes if one.dims is None else one.dims
    _check_dims(where, one.reshape if one.reshape is not None else dims, sizes, rows=rows)
    if one.reshape is not None:
        same = _elements(one.reshape) == _elements(dims)
        require(same, f"{where}.reshape", f"{list(one.reshape)} has other elements than dims {list(dims)}")
    return replace(one, datatype=datatype, dims=dims, optional=tensor.optional, is_text=one.is_text or tensor.is_text)


def _check_dims(where: str, dims: tuple[int, ...], sizes: tuple[int, ...], *, rows: bool) -> None:
    fits = len(dims) == len(sizes) and all(wanted in (ANY, size) for size, wanted in zip(dims, sizes, strict=True))
    if not fits:
        reading = "without the batch dimension" if rows else "which has no batch dimension"
        raise invalid(f"{where}.dims", f"are {list(dims)} in the configuration and {list(sizes)} in the model, {reading}")


def _elements(dims: tuple[int, ...]) -> tuple[int, int]:
    return dims.count(ANY), prod(size for size in dims if size != ANY)


def _spec(one: TensorConfig, tensor: GraphTensor, *, rows: bool, labels: Sequence[str] = ()) -> TensorSpec:
    dims = one.dims or ()
    names = tensor.symbols[1:] if rows else tensor.symbols
    if one.reshape is not None and one.reshape != dims:
        names = ("",) * len(dims)
    symbols = tuple(name if size == ANY else "" for name, size in zip(names, dims, strict=True))
    if rows:
        dims, symbols = (ANY, *dims), (tensor.symbols[0], *symbols)
    assert one.datatype is not None  # noqa: S101 - _check_type has refused tensors without one
    return TensorSpec(
        name=one.name,
        datatype=one.datatype,
        shape=dims,
        symbols=symbols if any(symbols) else (),
        optional=one.optional,
        is_text=one.is_text,
        labels=tuple(labels),
    )
