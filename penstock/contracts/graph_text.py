"""Reads `graph.toml`, and the same as JSON, which is how a graph travels.

max_batch_size = 16                      # input, output, dynamic_batching, aliases, traffic, parameters: as in model.toml

[[input]]
name = "pixels"
data_type = "FP32"
dims = [64]

[[output]]
name = "probabilities"
data_type = "FP32"
dims = [10]
from = "blend.output"                    # an input of the graph, or step.output

[[step]]
name = "forest"
model = "digits_forest"
version = "3"                            # optional: without it the model's route says which
inputs = { pixels = "pixels" }           # the model's inputs
timeout_seconds = 0.2                    # optional, of what is left of the caller's deadline
on_failure = "default"                   # or "fail", "skip"
default = { probabilities = { data_type = "FP32", value = [0.1, …] } }   # one row

[[step]]
name = "net"
model = "digits_net"
inputs = { pixels = "pixels" }
when = { tensor = "forest.margin", is = "<", value = 0.5 }   # or { parameter = "tier", is = "==", value = "gold" }, { otherwise = "…" }

[[step]]
name = "blend"
combine = "mean"                         # or "vote", "first"
of = ["forest.probabilities", "net.probabilities"]
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np

from penstock.contracts.errors import InvalidInput
from penstock.contracts.graph_order import graph_of
from penstock.contracts.graphs import Combine, Comparison, Condition, Default, Graph, OnFailure, Source, Step
from penstock.contracts.model_config_checks import Table, invalid, require
from penstock.contracts.model_config_text import from_tree
from penstock.contracts.model_config_values import ModelConfig, TensorConfig
from penstock.contracts.signature import ANY, Signature, TensorSpec
from penstock.contracts.tensors import DataType, datatype_named, encode

GRAPH_FILE = "graph.toml"
LARGEST_BYTES = 1 << 20
MOST_DEFAULT_ELEMENTS = 65_536

_STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_Choice = TypeVar("_Choice", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphVersion:
    """What a graph.toml says."""

    config: ModelConfig
    """What it has in common with other versions: tensors, priority levels, aliases."""
    graph: Graph
    text: str
    """The whole as JSON; `from_json` reads it."""
    ensemble: bytes = b""
    """Triton's ModelEnsembling, serialised, where it was read from one."""


def from_toml(text: str) -> GraphVersion:
    """Read a graph.toml.

    Raises:
        InvalidInput: with the line, when the text cannot be read; with the setting's path, when it does not exist or makes no sense.
        NotImplementedHere: a setting that would change answers is not served.
    """
    require(len(text) <= LARGEST_BYTES, GRAPH_FILE, f"has {len(text)} characters, the limit is {LARGEST_BYTES}")
    try:
        tree = tomllib.loads(text)
        return _read(tree, json.dumps(tree, allow_nan=False))
    except (tomllib.TOMLDecodeError, RecursionError, TypeError, ValueError) as error:
        raise invalid(GRAPH_FILE, str(error)) from error


def from_json(text: str) -> GraphVersion:
    """Read what `GraphVersion.text` holds; raises what `from_toml` raises."""
    try:
        return _read(json.loads(text), text)
    except (RecursionError, TypeError, ValueError) as error:
        raise invalid("graph", str(error)) from error


def signature_of(config: ModelConfig) -> Signature:
    """Return what callers of a graph send and receive, when its configuration says nothing that only its steps can have.

    Raises:
        InvalidInput: with the setting's name.
    """
    _check_plain(config)
    rows = config.max_batch_size or 0
    require(bool(config.inputs) and bool(config.outputs), "input and output", "of a graph must be given")
    return Signature(
        inputs=tuple(_spec(one, has_rows=rows > 0) for one in config.inputs),
        outputs=tuple(_spec(one, has_rows=rows > 0) for one in config.outputs),
        max_batch_size=rows,
    )


def _read(tree: object, text: str) -> GraphVersion:
    require(isinstance(tree, dict), GRAPH_FILE, "must be a table")
    given = dict(cast("dict[str, Any]", tree))
    steps = Table({"step": given.pop("step", [])}, "").tables("step")
    outputs = [dict(one) if isinstance(one, dict) else one for one in cast("list[Any]", given.get("output", []))]
    origins = [str(one.pop("from", "")) if isinstance(one, dict) else "" for one in cast("list[Any]", outputs)]
    config = from_tree(given | {"output": outputs})
    signature = signature_of(config)
    names = signature.input_index.keys()
    for spec, origin in zip(signature.outputs, origins, strict=True):
        require(bool(origin), f"output.{spec.name}.from", "must say where it comes from")
    graph = graph_of(signature, [_source(origin, names) for origin in origins], [_step(table, names) for table in steps])
    return GraphVersion(config=config, graph=graph, text=text)


def _check_plain(config: ModelConfig) -> None:
    """Refuse settings that mean nothing for a graph: its steps have them."""
    plain = ModelConfig(
        name=config.name,
        max_batch_size=config.max_batch_size,
        inputs=config.inputs,
        outputs=config.outputs,
        batching=config.batching,
        aliases=config.aliases,
        traffic=config.traffic,
        parameters=config.parameters,
    )
    for name in ModelConfig.__dataclass_fields__:
        where = "config.pbtxt or model.toml beside the versions" if name == "version_policy" else "the models of its steps"
        is_plain = name == "ignored" or getattr(plain, name) == getattr(config, name)
        require(is_plain, name, f"is nothing that a graph has: say it in {where}")


def _spec(tensor: TensorConfig, *, has_rows: bool) -> TensorSpec:
    datatype = tensor.datatype
    if datatype is None:
        raise invalid(f"{tensor.name}.data_type", "must be given")
    is_plain = replace(tensor, reshape=None, optional=False, label_filename=None) == tensor
    require(is_plain, tensor.name, "of a graph has a name, a data type, dims and is_text")
    shape = (ANY, *(tensor.dims or ())) if has_rows else tensor.dims or ()
    return TensorSpec(name=tensor.name, datatype=datatype, shape=shape, is_text=tensor.is_text)


def _step(table: Table, inputs: Collection[str]) -> Step:
    name = table.text("name", "")
    require(bool(_STEP_NAME.fullmatch(name)), "step.name", f"{name[:80]!r} is not 1 to 64 letters, digits, '_' and '-'")
    step = Step(
        name=name,
        model=_given(table, "model"),
        version=_given(table, "version"),
        inputs={to: _source(str(origin), inputs) for to, origin in table.names("inputs").items()},
        combine=_choice(Combine, _given(table, "combine"), f"step.{name}.combine"),
        of=tuple(_source(origin, inputs) for origin in table.texts("of")),
        when=_condition(table.table("when"), inputs) if table.has("when") else None,
        timeout_seconds=table.number_or_none("timeout_seconds"),
        on_failure=_choice(OnFailure, _given(table, "on_failure"), f"step.{name}.on_failure") or OnFailure.FAIL,
        defaults={to: _default(value, f"step.{name}.default.{to}") for to, value in table.names("default").items()},
    )
    table.close()
    return step


def _condition(table: Table, inputs: Collection[str]) -> Condition:
    tensor = _given(table, "tensor")
    value = table.plain("value", default=True)
    condition = Condition(
        source=_source(tensor, inputs) if tensor else None,
        parameter=_given(table, "parameter"),
        otherwise=_given(table, "otherwise"),
        comparison=_choice(Comparison, _given(table, "is"), "step.when.is") or Comparison.EQUAL,
        value=value,
    )
    table.close()
    return condition


def _default(content: object, where: str) -> Default:
    table = Table(content, where)
    datatype = datatype_named(table.text("data_type", "").removeprefix("TYPE_").replace("STRING", "BYTES"), field=where)
    value = table.anything("value")
    table.close()
    try:
        array = np.array(value, dtype=object if datatype is DataType.BYTES else datatype.dtype)
        raw = bytes(encode(array, datatype))
    except (TypeError, ValueError, OverflowError, InvalidInput) as error:
        raise invalid(where, f"is no tensor of {datatype.value}: {error}") from error
    require(datatype is not DataType.BF16, where, "BF16 is not read here")
    require(array.size <= MOST_DEFAULT_ELEMENTS, where, f"has {array.size} elements, the limit is {MOST_DEFAULT_ELEMENTS}")
    return Default(datatype=datatype, shape=array.shape, raw=raw)


def _source(text: str, inputs: Collection[str]) -> Source:
    if text in inputs:
        return Source(tensor=text)
    step, _, tensor = text.partition(".")
    require(bool(step) and bool(tensor), text[:80], "is neither an input of the graph nor `step.output`")
    return Source(step=step, tensor=tensor)


def _given(table: Table, key: str) -> str:
    return table.text(key, "") if table.has(key) else ""


def _choice(kind: type[_Choice], text: str, where: str) -> _Choice | None:
    if not text:
        return None
    found: Mapping[str, _Choice] = {one.value: one for one in kind}
    require(text in found, where, f"{text[:40]!r} is not one of {', '.join(found)}")
    return found[text]
