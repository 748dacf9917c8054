"""Refuses what no catalogue could keep, whatever method it came by. Pure: a message in, nothing or a refusal out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.message import Message

from penstock.contracts.errors import InvalidInput

LONGEST_KEY = 255
"""Characters of an idempotency key."""


def check_request(request: Message) -> None:
    """Refuse texts with NUL, numbers that are none, and idempotency keys that are too long, at any depth.

    Raises:
        InvalidInput: naming the field.
    """
    for field, value in request.ListFields():
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
    elif field == "idempotency_key" and len(cast("str", value)) > LONGEST_KEY:
        raise InvalidInput(f"an idempotency key has at most {LONGEST_KEY} characters", reason="BAD_VALUE", field=field)
