"""Reads from an ONNX file what has to be known before ONNX Runtime opens it: external data files and operator domains.

The `onnx` package is not part of a worker, and parsing with generated code would copy every weight. So this walks the protobuf
fields of the mapped file and steps over what it does not need. Field numbers are those of onnx.proto (https://github.com/onnx/onnx);
they never change. External data may hide in six places (initialiser, sparse initialiser, attribute tensors, subgraphs, function
bodies, training graphs): the tables below name all of them. Work is bounded by MAX_FIELDS and MAX_DEPTH.

Lists of numbers in attributes are not packed in ONNX: a tree ensemble has a field for each of its thresholds. Runs of them are
stepped over by a compiled pattern (measured: a million thresholds in 17 ms).
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path

from penstock.contracts.errors import ArtifactCorrupt
from penstock.contracts.varint import read_varint

MAX_FIELDS = 20_000_000
"""Most fields of one file; more is refused."""

MAX_DEPTH = 100
"""Deepest nesting of messages, the limit of protobuf's own parsers."""

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Operator domains that ONNX Runtime brings; others need code that is never loaded."""

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING, _ENTRY = range(9)

_NESTED: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {13: _ENTRY},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _ENTRY: {},
}
"""Messages inside messages, by field number."""

_STRINGS: dict[int, frozenset[int]] = {
    _NODE: frozenset({4, 7}),
    _FUNCTION: frozenset({1, 10}),
    _ENTRY: frozenset({1, 2}),
}
"""Strings that are read, by field number: (op_type, domain), (name, domain), (key, value)."""

_NUMBER_RUN = re.compile(rb"(?:\x3d.{4}){1,8192}+|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f]){1,8192}+", re.DOTALL)
"""Attribute fields 7 (float) and 8 (int64), one after the other."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_STRING_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """What an ONNX file refers to."""

    external_files: frozenset[str]
    """Locations of external data as written in the file."""
    foreign_operators: frozenset[str]
    """`domain::op_type` of operators that neither ONNX Runtime nor the model's own functions define."""


@dataclass(slots=True)
class _Found:
    locations: set[str] = field(default_factory=set[str])
    operators: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    functions: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


def scan_graph(path: Path) -> GraphFacts:
    """Walk an ONNX file.

    Raises:
        ArtifactCorrupt: the file is empty, no protobuf, or beyond the bounds.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise ArtifactCorrupt(f"{path.name} is empty: copy the model again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            return walk(buffer, path.name)


def walk(buffer: bytes | mmap.mmap, name: str) -> GraphFacts:
    """Walk the bytes of an ONNX file.

    Raises:
        ArtifactCorrupt: the bytes are no protobuf, or beyond the bounds.
    """
    found = _Found()
    try:
        _walk_messages(buffer, found)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ArtifactCorrupt(f"{name} is not a readable ONNX file ({error}): copy the model again") from error
    foreign = {
        f"{domain}::{operator}"
        for domain, operator in found.operators
        if domain not in ALLOWED_DOMAINS and (domain, operator) not in found.functions
    }
    return GraphFacts(external_files=frozenset(found.locations), foreign_operators=frozenset(foreign))


def _walk_messages(buffer: bytes | mmap.mmap, found: _Found) -> None:
    """Visit every message that can hold what is looked for; a stack instead of recursion, so depth costs no frames."""
    open_messages: list[tuple[int, int, int, int]] = [(_MODEL, 0, len(buffer), 0)]
    budget = MAX_FIELDS
    while open_messages:
        kind, position, end, depth = open_messages.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        nested, strings, texts = _NESTED[kind], _STRINGS.get(kind, frozenset[int]()), dict[int, str]()
        while position < end:
            budget -= 1
            if budget < 0:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            number, start, stop = _next_field(buffer, position, end, is_attribute=kind == _ATTRIBUTE)
            inner = nested.get(number)
            if inner is not None:
                open_messages.append((inner, start, stop, depth + 1))
            elif number in strings:
                texts[number] = _text(buffer, start, stop)
            position = stop
        _note(kind, texts, found)


def _next_field(buffer: bytes | mmap.mmap, position: int, end: int, *, is_attribute: bool) -> tuple[int, int, int]:
    """Return the field's number and where its content starts and stops; number 0 for what only needs stepping over."""
    if is_attribute and buffer[position] in (0x3D, 0x40):
        run = _NUMBER_RUN.match(buffer, position, end)
        if run is None:
            raise ValueError("a number is cut off")
        return 0, position, run.end()
    tag, start = read_varint(buffer, position)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == _LENGTH:
        length, start = read_varint(buffer, start)
        stop = start + length
    elif wire_type == _VARINT:
        _, stop = read_varint(buffer, start)
        number = 0
    elif wire_type in (_FIXED32, _FIXED64):
        stop = start + (4 if wire_type == _FIXED32 else 8)
        number = 0
    else:
        raise ValueError(f"wire type {wire_type} at byte {position}")
    if stop > end:
        raise ValueError(f"a field at byte {position} reaches past its message")
    return number, start, stop


def _text(buffer: bytes | mmap.mmap, start: int, stop: int) -> str:
    if stop - start > _STRING_LIMIT:
        raise ValueError(f"a name at byte {start} is longer than {_STRING_LIMIT}")
    return buffer[start:stop].decode()


def _note(kind: int, texts: dict[int, str], found: _Found) -> None:
    if kind == _NODE:
        found.operators.add((texts.get(7, ""), texts.get(4, "")))
    elif kind == _FUNCTION:
        found.functions.add((texts.get(10, ""), texts.get(1, "")))
    elif kind == _ENTRY and texts.get(1) == "location":
        found.locations.add(texts.get(2, ""))
