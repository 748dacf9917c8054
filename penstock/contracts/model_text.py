"""Decides how a model that reads tokens is served as one that reads text.

A version folder that holds a tokenizer beside a sentence-embedding model is served with one BYTES input, `text`, and one floating
output, `embedding`, beside the number of tokens of each text, `token_count`. A model that merely has a tokenizer next to it
(a classifier, a language model) is served with its own tensors,
unless its configuration has a table `text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_checks import invalid
from penstock.contracts.model_config_values import ModelConfig, TextOptions
from penstock.contracts.model_graph import GraphSignature, GraphTensor
from penstock.contracts.tensors import DataType

TEXT_INPUT = "text"
"""Name of a text model's input."""

EMBEDDING_OUTPUT = "embedding"
TOKEN_COUNT_OUTPUT = "token_count"  # noqa: S105 - a name, no password
"""Name of a text model's output."""

TOKEN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
"""Inputs of a graph that a tokenizer can fill."""

_POOLED = ("sentence_embedding", "embedding", "embeddings", "sentence_embeddings")
_BY_TOKEN = ("last_hidden_state", "token_embeddings", "hidden_states")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlan:
    """How tokens enter the graph and vectors leave it."""

    options: TextOptions
    inputs: tuple[str, ...]
    """Names of the graph's inputs, in its order: `input_ids`, and those of `attention_mask` and `token_type_ids` that it has."""
    token_datatype: DataType
    """INT64 or INT32."""
    output: str
    """Name of the graph's output that is used."""
    is_pooled: bool
    """The output is `[texts, size]`; else it is `[texts, tokens, size]` and has to be pooled."""
    size: int
    """Numbers in a vector; -1 when the graph does not say."""
    datatype: DataType
    """Type of the output; FP32 or FP16. Vectors leave as FP32."""
    batch_symbol: str
    """The graph's name for the number of texts; "" when it has none."""


def plan_text(config: ModelConfig, graph: GraphSignature, *, has_tokenizer: bool) -> TextPlan | None:
    """Return how the model is served as a text model; None when it is not.

    Raises:
        InvalidInput: the configuration asks for it, but there is no tokenizer, or the graph does not read tokens and give vectors.
    """
    if config.text is None and not has_tokenizer:
        return None
    options = config.text or TextOptions()
    if not has_tokenizer:
        raise invalid("text.tokenizer_file", f"the version folder has no file {options.tokenizer_file!r}")
    try:
        return _plan(options, graph, is_asked_for=config.text is not None)
    except InvalidInput:
        if config.text is not None:
            raise
        return None


def text_tensors(plan: TextPlan) -> GraphSignature:
    """Return the tensors that callers of a text model see."""
    rows = plan.batch_symbol or None
    return GraphSignature(
        inputs=(GraphTensor(name=TEXT_INPUT, onnx_type="tensor(string)", shape=(rows,), is_text=True),),
        outputs=(
            GraphTensor(name=EMBEDDING_OUTPUT, onnx_type="tensor(float)", shape=(rows, plan.size)),
            GraphTensor(name=TOKEN_COUNT_OUTPUT, onnx_type="tensor(int64)", shape=(rows, 1)),
        ),
    )


def _plan(options: TextOptions, graph: GraphSignature, *, is_asked_for: bool) -> TextPlan:
    required = [tensor for tensor in graph.inputs if not tensor.optional]
    names = tuple(tensor.name for tensor in required)
    if "input_ids" not in names or not TOKEN_INPUTS.issuperset(names):
        raise invalid("text", f"a tokenizer fills {', '.join(sorted(TOKEN_INPUTS))}, but the model's inputs are {', '.join(names)}")
    types = {tensor.datatype for tensor in required}
    kind = types.pop() if len(types) == 1 else None
    if kind not in (DataType.INT64, DataType.INT32) or any(len(tensor.shape) != 2 for tensor in required):
        raise invalid("text", "the model's inputs are not all INT64 or all INT32 of shape [texts, tokens]")
    output = _output(graph.outputs, is_asked_for=is_asked_for)
    if output is None or output.datatype is None:
        raise invalid("text", f"none of the model's outputs is a vector a text or a token: {', '.join(one.name for one in graph.outputs)}")
    return TextPlan(
        options=options,
        inputs=names,
        token_datatype=kind,
        output=output.name,
        is_pooled=len(output.shape) == 2,
        size=output.sizes[-1],
        datatype=output.datatype,
        batch_symbol=required[0].symbols[0],
    )


def _output(outputs: Sequence[GraphTensor], *, is_asked_for: bool) -> GraphTensor | None:
    """Choose by name first; by shape alone only when the configuration asks for a text model, for logits have the same shape."""
    floating = [one for one in outputs if one.datatype in (DataType.FP32, DataType.FP16)]
    pooled = [one for one in floating if len(one.shape) == 2]
    by_token = [one for one in floating if len(one.shape) == 3]
    named = [one for one in pooled if one.name in _POOLED] + [one for one in by_token if one.name in _BY_TOKEN]
    return next(iter([*named, *(by_token + pooled if is_asked_for else [])]), None)
