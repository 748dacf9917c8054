"""Refuses what no catalogue could keep, whatever method it came by. Pure: a message in, nothing or a refusal out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from penstock.contracts.errors import InvalidInput

LONGEST: Mapping[str, int] = {
    "idempotency_key": 255,
    "reason": 1_000,
    "owner": 255,
    "framework": 255,
    "description": 10_000,
    "parameter": 255,
    "salt": 255,
}
"""Most characters of what people write; names have rules of their own."""
MOST_FACTS = 64
"""Entries of a version's metadata."""


def check_request(request: Message) -> None:
    """Refuse unknown fields, texts with NUL or longer than they may be, numbers that are none, and too many facts, at any depth.

    Raises:
        InvalidInput: naming the field.
    """
    # Protobuf keeps what it does not know and says nothing: whoever asked for it would believe that it was done.
    for unknown in UnknownFieldSet(request):
        where = f"{request.DESCRIPTOR.name} has no field {unknown.field_number} here"
        raise InvalidInput(
            f"{where}: leave it out, or ask a controller that knows it", reason="UNKNOWN_FIELD", field=str(unknown.field_number)
        )
    for field, value in request.ListFields():
        if field.name == "metadata" and len(value) > MOST_FACTS:
            raise InvalidInput(f"metadata has {len(value)} entries, the limit is {MOST_FACTS}", reason="BAD_VALUE", field="metadata")
        for one in _members(value):
            _check(field.name, one)


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes | int | float | Message):
        return (value,)
    # A map gives its keys, of which messages are found by them; a repeated field gives its members.
    return [*value, *value.values()] if hasattr(value, "values") else list(value)


def _check(field: str, value: object) -> None:
    if isinstance(value, Message):
        check_request(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{field} is {value}, and no number", reason="BAD_VALUE", field=field)
    elif isinstance(value, str) and "\0" in value:
        raise InvalidInput(f"{field} holds the character NUL", reason="BAD_VALUE", field=field)
    elif isinstance(value, str) and len(value) > LONGEST.get(field, len(value)):
        raise InvalidInput(f"{field} has {len(value)} characters, the limit is {LONGEST[field]}", reason="BAD_VALUE", field=field)
