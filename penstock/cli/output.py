"""What a reading command prints: a table for people, JSON or YAML for programs.

A document is made of mappings with text keys, lists, texts, numbers, booleans and None; arrays have become lists before. JSON keeps
on one line what is short, and vectors of any length. YAML is the block style, read alike by YAML 1.1 and 1.2: whatever either could
take for something else than a text is quoted. JSON knows neither NaN nor infinity: they become null; YAML has both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, cast

import click

SHORT = 100
"""Longest part of a JSON document, in characters, that is not spread over lines."""


class Form(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _form(_ctx: click.Context, _option: click.Parameter, value: str) -> Form:
    return Form(value)


form_option = click.option(
    "-o",
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.TABLE.value,
    show_default=True,
    callback=_form,
    help="How to print the result.",
)
"""Adds `-o`; the function gets a `Form` as `form`."""


def show(document: Any, form: Form, table: Callable[[], str]) -> None:
    """Print a document, or what `table` returns."""
    written = {Form.TABLE: table, Form.JSON: lambda: as_json(document), Form.YAML: lambda: as_yaml(document)}[form]()
    click.echo(written.rstrip("\n"))


# --- JSON -------------------------------------------------------------------------------------------------------------------------


def as_json(document: Any) -> str:
    """Return a document as indented JSON."""
    return "\n".join(_json_lines(document, is_whole=True))


def as_json_line(document: Any) -> str:
    """Return a document as JSON without line breaks."""
    return json.dumps(_without_nan(document), ensure_ascii=False)


def _json_lines(value: Any, *, is_whole: bool = False) -> list[str]:
    on_one_line = as_json_line(value)
    if _is_scalars(value) or (len(on_one_line) <= SHORT and not is_whole):
        return [on_one_line]
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return _bracketed("{}", [(json.dumps(str(key), ensure_ascii=False) + ": ", one) for key, one in items])
    return _bracketed("[]", [("", one) for one in cast("list[Any]", value)])


def _bracketed(brackets: str, items: Sequence[tuple[str, Any]]) -> list[str]:
    lines = [brackets[0]]
    for position, (head, value) in enumerate(items):
        first, *rest = _json_lines(value)
        lines += [f"  {head}{first}", *(f"  {line}" for line in rest)]
        if position < len(items) - 1:
            lines[-1] += ","
    return [*lines, brackets[1]]


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_without_nan(one) for one in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in cast("Mapping[str, Any]", value).items()}
    return value


# --- YAML -------------------------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(?: [A-Za-z0-9_./@-]+)*")
_TAKEN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Texts that one of the versions of YAML reads as something else, in lower case."""
_LETTERED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def as_yaml(document: Any) -> str:
    """Return a document as YAML in block style; lists of numbers stand in brackets."""
    return "\n".join(_yaml_lines(document)) + "\n"


def _yaml_lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, one in cast("Mapping[str, Any]", value).items() for line in _yaml_entry(str(key), one)]
    if isinstance(value, list) and value and not _is_numeric(cast("list[Any]", value)):
        return [line for one in cast("list[Any]", value) for line in _yaml_item(one)]
    return [_yaml_scalar(value)]


def _yaml_entry(key: str, value: Any) -> Iterator[str]:
    lines = _yaml_lines(value)
    if _is_block(value):
        yield f"{_yaml_text(key)}:"
        yield from (f"  {line}" for line in lines)
    else:
        yield f"{_yaml_text(key)}: {lines[0]}"


def _yaml_item(value: Any) -> Iterator[str]:
    first, *rest = _yaml_lines(value)
    yield f"- {first}"
    yield from (f"  {line}" for line in rest)


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str):
        return _yaml_text(value)
    if isinstance(value, float):
        return _yaml_float(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list):
        return f"[{', '.join(_yaml_scalar(one) for one in cast('list[Any]', value))}]"
    return json.dumps(value)


def _yaml_text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _TAKEN:
        return text
    return f'"{"".join(_yaml_character(one) for one in text)}"'


def _yaml_character(one: str) -> str:
    if one in _LETTERED:
        return _LETTERED[one]
    # Line separators and the byte order mark are printable nowhere, and YAML folds the former.
    if one.isprintable():
        return one
    return f"\\U{ord(one):08x}" if ord(one) > 0xFFFF else f"\\u{ord(one):04x}"


def _yaml_float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    mantissa, letter, exponent = repr(value).partition("e")
    # YAML 1.1 takes 1e-05 for a text: the point is what makes it a number.
    return f"{mantissa}{letter}{exponent}" if "." in mantissa else f"{mantissa}.0{letter}{exponent}"


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping | list) and bool(value) and not (isinstance(value, list) and _is_numeric(cast("list[Any]", value)))


def _is_numeric(values: list[Any]) -> bool:
    return all(isinstance(one, int | float) for one in values)


def _is_scalars(value: Any) -> bool:
    """Whether a value is a scalar, empty, or a list of scalars."""
    if isinstance(value, list):
        return not any(isinstance(one, Mapping | list) for one in cast("list[Any]", value))
    return not (isinstance(value, Mapping) and value)
