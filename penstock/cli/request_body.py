"""What `-d` gives: JSON on the command line, or a file (`@file`, `@-` for the standard input) by its name's ending.

    .json   the body of the REST call, `{"inputs": …, "params": {"version": "v3"}, "outputs": […], …}`, or its inputs alone: a list of rows,
            an object of columns, a list of bare values
    .npy    one array, for a model with one input
    .npz    arrays by the names of inputs
    .csv    a row a line; with a first line of names it may be columns

What comes from the standard input is known by its first bytes; it is JSON when it is no array. Arrays of Python objects are refused:
reading them would run code.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import click

FIELDS = frozenset({"inputs", "params", "request_id", "timeout_ms", "routing_key", "outputs"})
_KINDS: dict[str, type | tuple[type, ...]] = {
    "params": dict,
    "request_id": str,
    "timeout_ms": (int, float),
    "routing_key": str,
    "outputs": list,
}
_ZIP, _NPY = b"PK\x03\x04", b"\x93NUMPY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Lines of a CSV file; the first of them may hold names."""

    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """A request as it was written down."""

    inputs: Any
    """Rows, columns or bare values out of JSON; an array; arrays by name; or a Sheet."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    request_id: str | None = None
    timeout_ms: float | None = None
    routing_key: str | None = None
    outputs: tuple[str, ...] = ()


def read_body(source: str) -> RequestBody:
    """Read what `-d` names.

    Raises:
        click.BadParameter: it cannot be read; the message says where and what would do.
    """
    if not source.startswith("@"):
        return _parsed(source.encode(), ".json", "the value of -d")
    name = source[1:]
    if name == "-":
        content = sys.stdin.buffer.read()
        return _parsed(content, _ending_of(content), "the standard input")
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{name}: {error.strerror}.", param_hint="-d") from None
    return _parsed(content, Path(name).suffix.lower() or _ending_of(content), name)


def _ending_of(content: bytes) -> str:
    return ".npy" if content.startswith(_NPY) else ".npz" if content.startswith(_ZIP) else ".json"


def _parsed(content: bytes, ending: str, name: str) -> RequestBody:
    readers = {".json": _json_body, ".npy": _array_body, ".npz": _array_body, ".csv": _csv_body}
    reader = readers.get(ending)
    if reader is None:
        raise click.BadParameter(f"{name}: '{ending}' is not read; use {', '.join(readers)}.", param_hint="-d")
    return reader(content, name)


def _json_body(content: bytes, name: str) -> RequestBody:
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        hint = " (a file is named @file)" if Path(name).exists() or name == "the value of -d" else ""
        raise click.BadParameter(f"{name}, line {error.lineno}, column {error.colno}: {error.msg}{hint}.", param_hint="-d") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{name} is no UTF-8 text.", param_hint="-d") from None
    if isinstance(document, dict) and "inputs" in document:
        return _rest_body(cast("dict[str, Any]", document), name)
    return RequestBody(inputs=document)


def _rest_body(document: dict[str, Any], name: str) -> RequestBody:
    unknown = sorted(set(document) - FIELDS)
    if unknown:
        raise click.BadParameter(f"{name}: '{unknown[0]}' is unknown; a body has {', '.join(sorted(FIELDS))}.", param_hint="-d")
    given: dict[str, Any] = {key: value for key, value in document.items() if value is not None}
    for key, kind in _KINDS.items():
        if key in given and (not isinstance(given[key], kind) or isinstance(given[key], bool)):
            raise click.BadParameter(f"{name}: '{key}' is of the wrong type.", param_hint="-d")
    given["outputs"] = tuple(map(str, given.get("outputs", ())))
    return RequestBody(**given)


def _array_body(content: bytes, name: str) -> RequestBody:
    import zipfile

    import numpy as np

    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        inputs = {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else loaded
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        raise click.BadParameter(f"{name} holds no arrays of numbers or texts.", param_hint="-d") from None
    return RequestBody(inputs=inputs)


def _csv_body(content: bytes, name: str) -> RequestBody:
    csv.field_size_limit(sys.maxsize)  # Python's own is 128 KiB; the server says how long a request may be
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = tuple(tuple(cell.strip() for cell in line) for line in reader if line)
    except (csv.Error, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{name} is no CSV file: {error}.", param_hint="-d") from None
    if not lines or len({len(line) for line in lines}) != 1:
        raise click.BadParameter(f"{name} must hold lines of equally many values.", param_hint="-d")
    return RequestBody(inputs=Sheet(lines=lines))
