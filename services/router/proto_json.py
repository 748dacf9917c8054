"""Protobuf messages as the JSON that Triton writes: field names as declared, 64-bit integers as numbers, enumerations by name."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def as_document(message: Message, *, with_defaults: bool = True) -> dict[str, Any]:
    """Return a message as a JSON object.

    Args:
        message: any message without extensions.
        with_defaults: write fields that are not set; submessages and members of a oneof are only written when they are.
    """
    document: dict[str, Any] = {}
    fields = message.DESCRIPTOR.fields if with_defaults else [field for field, _ in message.ListFields()]
    for field in fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        document[field.name] = _field(field, getattr(message, field.name), with_defaults=with_defaults)
    return document


def _field(field: FieldDescriptor, value: Any, *, with_defaults: bool) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {str(key): _one(inner, value[key], with_defaults=with_defaults) for key in sorted(value)}
    if field.is_repeated:
        return [_one(field, one, with_defaults=with_defaults) for one in value]
    return _one(field, value, with_defaults=with_defaults)


def _one(field: FieldDescriptor, value: Any, *, with_defaults: bool) -> Any:
    if field.message_type is not None:
        return as_document(value, with_defaults=with_defaults)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value
