"""Reads a model's configuration from the three forms that people and clients write, and writes the one that clients read.

- `config.pbtxt`: Triton's, in protobuf's text format;
- `model.toml`: ours, with the same vocabulary. Data types may leave `TYPE_` out, versions may be names, parameters plain values;
- JSON: what a client sends to load a model with another configuration; Triton's form, ours in it as in `model.toml`.

All three become Triton's message first, with settings of our own as its parameters, and are read from there: one way in. Settings of a
deployment, JSON of the last form, can be laid over the first two.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import NoReturn, cast

from google.protobuf import json_format, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_checks import invalid, require, unknown_key
from penstock.contracts.model_config_keys import checked
from penstock.contracts.model_config_options import OF_CACHE, TABLES, Tree, flattened, is_number
from penstock.contracts.model_config_overlay import laid_over
from penstock.contracts.model_config_proto import from_proto, to_proto
from penstock.contracts.model_config_values import ModelConfig
from penstock.oip.v2 import model_config_pb2 as pb

_SCHEMA = cast("Descriptor", pb.ModelConfig.DESCRIPTOR)
_UNKNOWN = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_WIDE = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


def from_pbtxt(text: str, settings: str = "") -> ModelConfig:
    """Read a `config.pbtxt`, with settings in JSON that replace those in it.

    Raises:
        InvalidInput: with the line, when the text cannot be read; with the setting's path, when its value is impossible.
        NotImplementedHere: a setting that would change answers is not served.
    """
    try:
        proto = text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise _unreadable(error) from error
    if not settings:
        return from_proto(proto)
    return _read(_with(json_format.MessageToDict(proto, preserving_proto_field_name=True), settings))


def from_toml(text: str, settings: str = "") -> ModelConfig:
    """Read a `model.toml`, with settings in JSON that replace those in it.

    Raises:
        InvalidInput: with the line, when the text cannot be read; with the setting's path, when it does not exist or is impossible.
        NotImplementedHere: a setting that would change answers is not served.
    """
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise invalid("model.toml", str(error)) from error
    return _read(_with(_canonical(tree), settings))


def from_json(text: str, settings: str = "") -> ModelConfig:
    """Read a configuration in JSON, as clients send it to load a model, with settings that replace those in it.

    Raises:
        InvalidInput: not JSON, keys given twice, or as `from_toml`.
        NotImplementedHere: a setting that would change answers is not served.
    """
    return _read(_with(_canonical(_json_tree(text)), settings))


def from_tree(tree: Mapping[str, object]) -> ModelConfig:
    """Read a configuration from nested tables.

    Raises:
        InvalidInput: a key does not exist (the refusal names the nearest one that does), or its value is impossible.
        NotImplementedHere: a setting that would change answers is not served.
    """
    return _read(_canonical(tree))


def check_settings(tree: Mapping[str, object]) -> None:
    """Refuse settings that do not exist or are of another form, whatever configuration they are to be laid over.

    Raises:
        InvalidInput: with the setting's path.
    """
    _canonical(tree)


def to_json(config: ModelConfig) -> str:
    """Write a configuration as Triton writes it: original field names, defaults included, 64-bit integers as numbers."""
    tree = json_format.MessageToDict(to_proto(config), preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps(_with_numbers(_SCHEMA, tree))


def _json_tree(text: str) -> Tree:
    try:
        tree = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid("config", f"not JSON: {error}") from error
    require(isinstance(tree, dict), "config", "must be a JSON object")
    return cast("Tree", tree)


def _canonical(tree: Mapping[str, object]) -> Tree:
    """Return the tables as protobuf's JSON has them, with settings of ours among the parameters."""
    theirs, ours = _split(tree)
    result = checked(_SCHEMA, theirs)
    parameters = dict(cast("Tree", result.get("parameters", {})))
    try:
        own = flattened(ours)
    except (TypeError, ValueError) as error:
        raise invalid("value", _ours(str(error))) from error
    for key, value in own.items():
        require(key not in parameters, key, "is given twice")
        parameters[key] = {"string_value": value}
    return result | {"parameters": parameters} if parameters else result


def _with(canonical: Tree, settings: str) -> Tree:
    return laid_over(_SCHEMA, canonical, _canonical(_json_tree(settings))) if settings else canonical


def _read(canonical: Tree) -> ModelConfig:
    try:
        proto = json_format.ParseDict(canonical, pb.ModelConfig())
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise invalid("value", _ours(str(error))) from error
    return from_proto(proto)


def _split(tree: Mapping[str, object]) -> tuple[Tree, Tree]:
    """Part Triton's settings from ours, wherever ours stand."""
    theirs = {key: value for key, value in tree.items() if key not in TABLES}
    ours = {key: value for key, value in tree.items() if key in TABLES}
    cache = theirs.get("response_cache")
    if isinstance(cache, dict) and not OF_CACHE.isdisjoint(cache):
        theirs["response_cache"] = {key: value for key, value in cache.items() if key not in OF_CACHE}
        ours["response_cache"] = {key: value for key, value in cache.items() if key in OF_CACHE}
    inputs = theirs.get("input")
    if isinstance(inputs, list):
        tables = [cast("Tree", one) for one in inputs if isinstance(one, dict)]
        texts = [one.get("name") for one in tables if _is_text(one)]
        theirs["input"] = [
            {key: value for key, value in one.items() if key != "is_text"} if isinstance(one, dict) else one for one in inputs
        ]
        if texts:
            ours["text_inputs"] = texts
    policy = theirs.get("version_policy")
    specific = policy.get("specific") if isinstance(policy, dict) else None
    versions = specific.get("versions") if isinstance(specific, dict) else None
    if isinstance(versions, list) and not all(is_number(str(version)) for version in versions):
        theirs["version_policy"] = {"specific": {**specific, "versions": []}} if isinstance(specific, dict) else {}
        ours["version_policy"] = {"specific": {"versions": versions}}
    return theirs, ours


def _is_text(table: Tree) -> bool:
    said = table.get("is_text", False)
    require(isinstance(said, bool), "input.is_text", "must be true or false")
    return said is True


def _with_numbers(descriptor: Descriptor, tree: Mapping[str, object]) -> Tree:
    """Return protobuf's JSON with 64-bit integers as numbers, which protobuf writes as strings and Triton as numbers."""
    return {key: _as_number(descriptor.fields_by_name[key], value) for key, value in tree.items()}


def _as_number(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, list):
        return [_as_number(field, one) for one in value]
    if field.type in _WIDE:
        return int(cast("str", value))
    message = field.message_type
    if message is None:
        return value
    tree = cast("Tree", value)
    if not message.GetOptions().map_entry:
        return _with_numbers(message, tree)
    return {key: _as_number(message.fields_by_name["value"], one) for key, one in tree.items()}


def _unreadable(error: text_format.ParseError) -> InvalidInput:
    where = f"config.pbtxt, line {error.GetLine()}" if error.GetLine() else "config.pbtxt"
    match = _UNKNOWN.search(str(error))
    if match is None:
        return invalid(where, _ours(str(error)))
    message = pb.DESCRIPTOR.pool.FindMessageTypeByName(match[1])
    refusal = unknown_key(match[2], [field.name for field in message.fields])
    return InvalidInput(f"{refusal.message} ({where})", reason="BAD_VALUE", field=match[2])


def _ours(message: str) -> str:
    return message.replace(f"{pb.DESCRIPTOR.package}.", "")


def _without_repetition(pairs: list[tuple[str, object]]) -> Tree:
    tree = dict(pairs)
    for key, _ in pairs if len(tree) != len(pairs) else ():
        require(sum(other == key for other, _ in pairs) == 1, key, "is given twice")
    return tree


def _no_constant(name: str) -> NoReturn:
    raise invalid("config", f"{name} is not JSON")
