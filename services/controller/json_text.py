"""Reads JSON that says one thing only: what two parsers could read in two ways is refused. Pure.

Python's own reader takes NaN, repeated keys (the last one wins), numbers beyond every float, halves of characters, and nests as deep as
its stack: a share that is said twice would be one share for whoever wrote it and another for us.
"""

from __future__ import annotations

import json
import math
from typing import Any

from penstock.contracts.errors import MalformedBody

MOST_DEPTH = 64


def document_in(text: str | bytes, what: str, *, field: str | None = None) -> Any:
    """Return the document of a text; `what` names it to whoever wrote it.

    Raises:
        MalformedBody: it is no JSON, repeats a key, holds what is no number or no text, or is nested deeper than MOST_DEPTH.
    """
    try:
        document = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_once,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check_depth(document)
        # A lone surrogate is read and cannot be written: it would be an error of ours much later.
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError:
        raise MalformedBody(f"{what} is no UTF-8 text: half of a character stands in it", reason="BAD_JSON", field=field) from None
    except RecursionError:
        raise MalformedBody(f"{what} is nested deeper than {MOST_DEPTH} levels", reason="BAD_JSON", field=field) from None
    except ValueError as error:
        raise MalformedBody(f"{what} is no JSON: {str(error)[:160]}", reason="BAD_JSON", field=field) from None
    return document


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        message = f"the key {next(name for name in names if names.count(name) > 1)[:80]!r} comes twice"
        raise ValueError(message)
    return found


def _refuse_constant(name: str) -> object:
    message = f"{name} is no number of JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text[:40]} is beyond every number that can be kept"
        raise ValueError(message)
    return number


def _check_depth(document: object) -> None:
    waiting: list[tuple[Any, int]] = [(document, 1)]
    while waiting:
        held, depth = waiting.pop()
        if depth > MOST_DEPTH:
            message = f"it is nested deeper than {MOST_DEPTH} levels"
            raise ValueError(message)
        inside = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
        waiting.extend((one, depth + 1) for one in inside if isinstance(one, dict | list))
