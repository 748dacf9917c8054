"""Checks nested tables against the fields of Triton's message, so that a refusal names the path of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config_checks import invalid, unknown_key
from penstock.contracts.model_config_options import TABLES, Tree

_TYPES: dict[int, tuple[type, str]] = {
    FieldDescriptor.CPPTYPE_STRING: (str, "text"),
    FieldDescriptor.CPPTYPE_BOOL: (bool, "true or false"),
    FieldDescriptor.CPPTYPE_MESSAGE: (dict, "a table"),
}
_NUMBERS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})
_SHORT_FORMS = {"BYTES": "TYPE_STRING"}


def checked(descriptor: Descriptor, tree: Mapping[str, object], path: str = "") -> Tree:
    """Return the tables as protobuf's JSON expects them: original names, shorthand written out, `null` left out.

    Raises:
        InvalidInput: a key does not exist, or its value has another type; its field is the key's path.
    """
    known = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    result: Tree = {}
    for key, value in tree.items():
        field = known.get(key)
        if field is None:
            raise unknown_key(path + key, [one.name for one in descriptor.fields] + ([] if path else list(TABLES)))
        if value is not None:
            result[field.name] = _value(field, value, path + field.name)
    return result


def _value(field: FieldDescriptor, value: object, path: str) -> object:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return _map(message.fields_by_name["value"], value, path)
    if not field.is_repeated:
        return _single(field, value, path)
    if not isinstance(value, list):
        raise _wrong(path, "a list", value)
    return [_single(field, one, f"{path}[{index}]") for index, one in enumerate(cast("list[object]", value))]


def _map(entry: FieldDescriptor, value: object, path: str) -> Tree:
    if not isinstance(value, dict):
        raise _wrong(path, "a table", value)
    tree = cast("Tree", value)
    if path == "parameters":
        tree = {key: one if isinstance(one, dict) else {"string_value": _plain(one)} for key, one in tree.items()}
    return {key: _single(entry, one, f"{path}.{key}") for key, one in tree.items()}


def _single(field: FieldDescriptor, value: object, path: str) -> object:
    if field.enum_type is not None:
        return _enum(field.enum_type, value, path)
    if field.cpp_type in _TYPES:
        kind, wanted = _TYPES[field.cpp_type]
        if not isinstance(value, kind):
            raise _wrong(path, wanted, value)
        message = field.message_type
        return value if message is None else checked(message, cast("Tree", value), f"{path}.")
    if field.cpp_type in _NUMBERS:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong(path, "a number", value)
        return value
    return _whole(value, path)


def _whole(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 20 and value.lstrip("-").isdecimal() and value.isascii():
        return int(value)  # protobuf's JSON writes 64-bit integers as strings
    raise _wrong(path, "a whole number", value)


def _enum(kind: EnumDescriptor, value: object, path: str) -> object:
    names = [one.name for one in kind.values]
    if isinstance(value, int) and not isinstance(value, bool) and value in kind.values_by_number:
        return value
    if not isinstance(value, str):
        raise _wrong(path, "a name", value)
    for name in (value, _SHORT_FORMS.get(value, f"TYPE_{value}")):
        if name in names:
            return name
    near = get_close_matches(value.upper(), names, n=1)
    raise invalid(path, f"there is no {value[:40]!r}; " + (f"did you mean {near[0]!r}?" if near else "known here: " + ", ".join(names)))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _wrong(path: str, wanted: str, value: object) -> InvalidInput:
    text = repr(value)
    return invalid(path, f"must be {wanted}, got {text if len(text) <= 40 else text[:40] + '…'}")
