"""Reads documents from text: JSON, or YAML without what makes it dangerous. Pure.

Of YAML only what JSON can say is taken, and plain words mean what they mean in YAML 1.2: no anchors and so no bombs of them, no tags and
so no types of any language, no merge keys, no dates, and `no` is a word. A key that comes twice is an error in both.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from penstock.contracts.errors import MalformedBody, RequestTooLarge

MOST_BYTES = 1 << 20
MOST_NODES = 20_000
MOST_DEPTH = 32
MOST_DOCUMENTS = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)


def documents_in(text: str) -> tuple[object, ...]:
    """Return the documents of a text: one of JSON, or any number of YAML; empty ones are left out.

    Raises:
        RequestTooLarge: more bytes, nodes, documents or depth than the limits.
        MalformedBody: it is neither, or it uses what is refused here.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refused("half of a character (a lone surrogate) stands in it") from None
    if size > MOST_BYTES:
        raise RequestTooLarge(f"the manifest has {size} bytes, the limit is {MOST_BYTES}", field="manifest")
    if text.lstrip().startswith("{"):
        try:
            return (_from_json(text),)
        except ValueError:
            # Several JSON objects with `---` between them, or YAML in braces: the reader of YAML says better what is wrong.
            pass
        except RecursionError:
            raise _too_deep() from None
    try:
        return tuple(each for each in _from_yaml(text) if each is not None)
    except yaml.YAMLError as error:
        raise MalformedBody(f"the manifest is no YAML: {_place(error)}", reason="BAD_YAML", field="manifest") from None


def _from_json(text: str) -> object:
    document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    _count(document)
    return document


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _refused(f"the key {next(name for name in names if names.count(name) > 1)[:80]!r} comes twice")
    return found


def _no_constant(word: str) -> object:
    raise _refused(f"{word} is no number that can be asked for")


def _count(document: object) -> None:
    waiting, nodes = [(document, 1)], 0
    while waiting:
        held, depth = waiting.pop()
        nodes += 1
        if isinstance(held, str) and not held.isascii() and _is_broken(held):
            raise _refused("half of a character (a lone surrogate) stands in it")
        if depth > MOST_DEPTH:
            raise _too_deep()
        if nodes > MOST_NODES:
            raise _too_many()
        inside: Any = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        waiting.extend((one, depth + 1) for one in inside)


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _from_yaml(text: str) -> Iterator[object]:
    """Build documents from the parser's events; nothing is composed, so nothing can refer to anything."""
    events, count = _Events(yaml.parse(text, Loader=_LOADER)), 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            count += 1
            if count > MOST_DOCUMENTS:
                raise RequestTooLarge(f"the manifest has more than {MOST_DOCUMENTS} documents", field="manifest")
            yield _node(events, next(events), 1)


class _Events:
    """The parser's events, counted."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self._count = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        event = next(self._events)
        self._count += 1
        if self._count > MOST_NODES:
            raise _too_many()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused("anchors (&) and aliases (*) are not taken: write it out", event)
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refused(f"the tag {event.tag[:40]!r} is not taken: a document has no types of its own", event)
        return event


def _node(events: _Events, event: Any, depth: int) -> object:
    if depth > MOST_DEPTH:
        raise _too_deep()
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_node(events, event, depth + 1))
        return items
    found: dict[str, object] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = event.value if isinstance(event, yaml.ScalarEvent) else None
        if key is None or key == "<<":
            raise _refused("a key is a plain word", event)
        if key in found:
            raise _refused(f"the key {key[:80]!r} comes twice", event)
        found[key] = _node(events, next(events), depth + 1)
    return found


def _scalar(event: Any) -> object:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INFINITE.fullmatch(text):
        raise _refused(f"{text} is no number that can be asked for", event)
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) <= 20 else text
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _refused(what: str, event: Any = None) -> MalformedBody:
    mark = getattr(event, "start_mark", None)
    where = f" (line {mark.line + 1})" if mark is not None else ""
    return MalformedBody(f"the manifest is refused: {what}{where}", reason="BAD_YAML", field="manifest")


def _too_deep() -> RequestTooLarge:
    return RequestTooLarge(f"the manifest is nested deeper than {MOST_DEPTH}", field="manifest")


def _too_many() -> RequestTooLarge:
    return RequestTooLarge(f"the manifest has more than {MOST_NODES} values", field="manifest")


def _place(error: yaml.YAMLError) -> str:
    mark: Any = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read")
    return f"{problem[:120]} (line {mark.line + 1})" if mark is not None else problem[:120]
