"""Values as JSON documents and back: what is stored, hashed, compared and shown. Pure: the same value gives the same text.

Frozen dataclasses become objects (fields with `init=False` are derived and left out), enums their values, bytes base64, mappings and
tuples what they are. Reading back ignores fields of a later release and fills in the defaults of an earlier one.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place in which two documents differ; None is absence."""

    pointer: str
    """JSON pointer (RFC 6901)."""
    before: object = None
    after: object = None


def to_document(value: object) -> Any:
    """Return what `json.dumps` takes for a value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_document(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): to_document(held) for key, held in cast("Mapping[object, object]", value).items()}
    if isinstance(value, tuple | list):
        return [to_document(held) for held in cast("Sequence[object]", value)]
    return value


def from_document(kind: Any, document: Any) -> Any:
    """Build a value of a type from its document.

    Raises:
        ValueError, TypeError, KeyError: the document is not of that type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        present = next(one for one in arguments if one is not types.NoneType)
        return None if document is None else from_document(present, document)
    if origin is tuple:
        return tuple(from_document(arguments[0], held) for held in document)
    if origin in {Mapping, dict}:
        return {key: from_document(arguments[1], held) for key, held in document.items()}
    if dataclasses.is_dataclass(kind):
        known = _init_types(cast("type", kind))
        return cast("Any", kind)(**{name: from_document(known[name], held) for name, held in document.items() if name in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(document)
    if kind is bytes:
        return base64.b64decode(document)
    return document


def canonical(value: object) -> str:
    """Return the one text of a value: JSON with sorted keys and no spaces."""
    return json.dumps(to_document(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """Return the SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def read(kind: type[T], text: str) -> T:
    """Build a value from its canonical text."""
    return from_document(kind, json.loads(text))


def differences(before: object, after: object) -> tuple[Difference, ...]:
    """Return where two values differ, by place."""
    return tuple(_differences("", to_document(before), to_document(after)))


def _differences(pointer: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            place = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from _differences(place, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _differences(f"{pointer}/{index}", _at(before, index), _at(after, index))
    elif before != after:
        yield Difference(pointer=pointer, before=before, after=after)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


@lru_cache(maxsize=256)
def _init_types(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind) if each.init}
