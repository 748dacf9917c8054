r"""Settings of our own that Triton's vocabulary lacks, and how they travel in a file of Triton's.

In `model.toml` they are tables and keys next to Triton's. In `config.pbtxt`, and in what clients read, they are parameters whose keys
start with `penstock.` and continue with the same path; values are JSON, or plain text where it is not JSON:

    parameters { key: "penstock.reject_non_finite" value { string_value: "true" } }
    parameters { key: "penstock.execution.providers" value { string_value: "[\"CPUExecutionProvider\"]" } }

Two parameters of Triton's ONNX Runtime backend are understood, too: `intra_op_thread_count` and `inter_op_thread_count`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar, cast

from penstock.contracts.feature_schema import FeatureColumn, FeatureSchema
from penstock.contracts.model_config_checks import Table, invalid, require
from penstock.contracts.model_config_scheduling import Specific
from penstock.contracts.model_config_values import (
    ExecutionOptions,
    GoldenExample,
    ModelConfig,
    NonFiniteOutput,
    Pooling,
    ResponseCache,
    TextOptions,
)
from penstock.contracts.tensors import DataType

PREFIX = "penstock."
"""Start of the keys of parameters that are settings of ours."""

TABLES = ("aliases", "execution", "features", "golden", "non_finite_output", "reject_non_finite", "text", "text_inputs", "traffic")
"""Keys at the top of `model.toml` that Triton's configuration does not have."""

OF_CACHE = frozenset({"shared", "ttl_seconds"})
"""Keys of `[response_cache]` that Triton's configuration does not have."""

BY_NAME = frozenset({"aliases", "traffic"})
"""Tables whose keys are names, which may hold dots: they travel as one parameter each."""

_TRITON = {"intra_op_thread_count": "intra_op_threads", "inter_op_thread_count": "inter_op_threads"}

Tree = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptions:
    """The settings that Triton's vocabulary lacks."""

    reject_non_finite: bool = False
    non_finite_output: NonFiniteOutput = NonFiniteOutput.UNCHECKED
    versions: tuple[str, ...] = ()
    """Versions of the policy `specific`, when not all of them are numbers."""
    ttl_seconds: float | None = None
    shared: bool = False
    execution: ExecutionOptions
    text: TextOptions | None = None
    golden: tuple[GoldenExample, ...] = ()
    features: FeatureSchema | None = None
    text_inputs: tuple[str, ...] = ()
    aliases: Mapping[str, str]
    traffic: Mapping[str, int]


def split_parameters(parameters: Mapping[str, str]) -> tuple[OwnOptions, dict[str, str]]:
    """Take our own settings out of a configuration's parameters.

    Returns:
        The settings, and the parameters that are not ours.

    Raises:
        InvalidInput: a setting does not exist, or has an impossible value.
    """
    tree: Tree = {}
    rest: dict[str, str] = {}
    for key, value in sorted(parameters.items()):
        if key in _TRITON:
            _put(tree, ["execution", _TRITON[key]], _decoded(value))
        elif key.startswith(PREFIX):
            _put(tree, key.removeprefix(PREFIX).split("."), _decoded(value))
        else:
            rest[key] = value
    return read_options(tree), rest


def read_options(tree: Mapping[str, object]) -> OwnOptions:
    """Read our own settings from nested tables.

    Raises:
        InvalidInput: a setting does not exist, or has an impossible value.
    """
    table = Table(tree, "")
    policy = table.table("version_policy")
    specific = policy.table("specific")
    cache = table.table("response_cache")
    options = OwnOptions(
        reject_non_finite=table.flag("reject_non_finite", default=False),
        non_finite_output=_read_non_finite_output(table),
        versions=specific.texts("versions"),
        ttl_seconds=cache.number_or_none("ttl_seconds"),
        shared=cache.flag("shared", default=False),
        execution=_read_execution(table.table("execution")),
        text=_read_text(table.table("text")) if table.has("text") else None,
        golden=tuple(_read_golden(one) for one in table.tables("golden")),
        features=_read_features(table.table("features")) if table.has("features") else None,
        text_inputs=table.texts("text_inputs"),
        aliases=_read_names(table.names("aliases"), "aliases", str),
        traffic=_read_names(table.names("traffic"), "traffic", int),
    )
    for one in (specific, policy, cache, table):
        one.close()
    return options


def own_parameters(config: ModelConfig) -> dict[str, str]:
    """Return the parameters that carry our own settings; settings at their defaults are left out."""
    tree = _non_finite(config)
    if isinstance(config.version_policy, Specific) and not all(is_number(one) for one in config.version_policy.versions):
        tree["version_policy"] = {"specific": {"versions": list(config.version_policy.versions)}}
    if cache := _cache(config.response_cache):
        tree["response_cache"] = cache
    execution = _changed(config.execution, ExecutionOptions())
    if config.text is not None:
        tree["text"] = _changed(config.text, TextOptions()) or {"tokenizer_file": config.text.tokenizer_file}
    tree |= _examples_and_features(config)
    text_inputs = [tensor.name for tensor in config.inputs if tensor.is_text]
    if text_inputs:
        tree["text_inputs"] = text_inputs
    if config.aliases:
        tree["aliases"] = dict(sorted(config.aliases.items()))
    if config.traffic:
        tree["traffic"] = dict(sorted(config.traffic.items()))
    threads = {key: str(execution.pop(name)) for key, name in _TRITON.items() if name in execution}
    if execution:
        tree["execution"] = execution
    return threads | flattened(tree)


def _cache(cache: ResponseCache) -> Tree:
    tree: Tree = {"shared": True} if cache.shared else {}
    return tree if cache.ttl_seconds is None else tree | {"ttl_seconds": float(cache.ttl_seconds)}


def _non_finite(config: ModelConfig) -> Tree:
    tree: Tree = {"reject_non_finite": True} if config.reject_non_finite else {}
    if config.non_finite_output is not NonFiniteOutput.UNCHECKED:
        tree["non_finite_output"] = config.non_finite_output.value
    return tree


def flattened(tree: Mapping[str, object], path: str = PREFIX) -> dict[str, str]:
    """Return nested tables as parameters; an empty table is one, for `[text]` alone says something."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value and key not in BY_NAME:
            flat |= flattened(cast("Tree", value), f"{path}{key}.")
        else:
            flat[path + key] = _encoded(value)
    return flat


def is_number(version: str) -> bool:
    """Whether a version is one that Triton could name: a number in its usual form that fits 63 bits."""
    return version.isascii() and version.isdigit() and str(int(version)) == version and int(version) < 2**63


N = TypeVar("N", str, int)


def _read_names(content: Mapping[str, object], where: str, kind: type[N]) -> dict[str, N]:
    values: dict[str, N] = {}
    for name, value in content.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise invalid(f"{where}.{name}", f"must be {'text' if kind is str else 'a whole number'}, got {str(value)[:40]!r}")
        values[name] = value
    return values


def _read_execution(table: Table) -> ExecutionOptions:
    options = ExecutionOptions(
        intra_op_threads=table.whole("intra_op_threads", 1),
        inter_op_threads=table.whole("inter_op_threads", 1),
        spinning=table.flag("spinning", default=False),
        providers=table.texts("providers"),
    )
    table.close()
    return options


def _read_non_finite_output(table: Table) -> NonFiniteOutput:
    wanted, choices = table.text("non_finite_output", NonFiniteOutput.UNCHECKED.value), [one.value for one in NonFiniteOutput]
    require(wanted in choices, "non_finite_output", f"must be one of {', '.join(choices)}, got {wanted[:40]!r}")
    return NonFiniteOutput(wanted)


def _read_text(table: Table) -> TextOptions:
    pooling, choices = table.text("pooling", Pooling.MEAN.value), [one.value for one in Pooling]
    require(pooling in choices, "text.pooling", f"must be one of {', '.join(choices)}, got {pooling[:40]!r}")
    options = TextOptions(
        tokenizer_file=table.text("tokenizer_file", TextOptions().tokenizer_file),
        max_length=table.whole_or_none("max_length"),
        pooling=Pooling(pooling),
        normalize=table.flag("normalize", default=True),
    )
    table.close()
    return options


def _read_golden(table: Table) -> GoldenExample:
    require(table.has("file"), "golden", "every example names its file")
    default = GoldenExample(file=table.text("file", ""))
    example = GoldenExample(
        file=default.file,
        absolute_tolerance=table.number("absolute_tolerance", default.absolute_tolerance),
        relative_tolerance=table.number("relative_tolerance", default.relative_tolerance),
    )
    table.close()
    return example


def _read_features(table: Table) -> FeatureSchema:
    view = table.text("view", "") if table.has("view") else ""
    columns = tuple(_read_column(one) for one in table.tables("columns"))
    table.close()
    return FeatureSchema(columns=columns, view=view)


def _read_column(table: Table) -> FeatureColumn:
    require(table.has("name") and table.has("data_type"), "features.columns", "every column has a name and a data_type")
    kind, known = table.text("data_type", ""), [one.value for one in DataType]
    require(kind in known, "features.columns.data_type", f"must be one of {', '.join(known)}, got {kind[:40]!r}")
    column = FeatureColumn(name=table.text("name", ""), datatype=DataType(kind), unit=table.text("unit", "") if table.has("unit") else "")
    table.close()
    return column


def _features(schema: FeatureSchema) -> Tree:
    columns = [{"name": one.name, "data_type": one.datatype.value} | ({"unit": one.unit} if one.unit else {}) for one in schema.columns]
    tree: Tree = {"columns": columns}
    return tree | {"view": schema.view} if schema.view else tree


def _examples_and_features(config: ModelConfig) -> Tree:
    tree: Tree = {"golden": [_golden(one) for one in config.golden]} if config.golden else {}
    return tree | ({"features": _features(config.features)} if config.features is not None else {})


def _golden(example: GoldenExample) -> Tree:
    # Floats, because 1 and 1.0 are equal values and must be equal bytes.
    absolute, relative = float(example.absolute_tolerance), float(example.relative_tolerance)
    return {"file": example.file, "absolute_tolerance": absolute, "relative_tolerance": relative}


def _changed(value: ExecutionOptions | TextOptions, default: object) -> Tree:
    changed = {one.name: getattr(value, one.name) for one in fields(value) if getattr(value, one.name) != getattr(default, one.name)}
    return {name: now.value if isinstance(now, Pooling) else now for name, now in changed.items()}


def _put(tree: Tree, path: list[str], value: object) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        require(isinstance(inner, dict), ".".join(path), f"{part!r} is given as a value and as a table")
        tree = cast("Tree", inner)
    if tree.setdefault(path[-1], value) is not value:
        raise invalid(".".join(path), "is given twice")


def _decoded(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _encoded(value: object) -> str:
    if isinstance(value, str) and isinstance(_decoded(value), str) and _decoded(value) == value:
        return value
    return json.dumps(list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value)
