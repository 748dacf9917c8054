"""Words that name nothing here: they fit everything and so say nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.architecture.source import Function, Module

EMPTY_WORDS = frozenset({"manager", "handler", "helper", "util", "utility", "utilities", "common", "data", "info"})
"""Refused as a whole part of a name, in singular and plural: `data_loader`, `JobManager`; not `metadata`."""

VERB = "process"
"""Refused as the verb of a function; the noun (`services.chassis.process`, `spawn_process`) is a process."""

TERMS: dict[tuple[str, ...], str] = {
    ("data", "type"): "the Open Inference Protocol's word for what a tensor's elements are",
    ("process", "metrics"): "Prometheus's name for the figures of a process; a noun",
    ("data", "received"): "asyncio.Protocol names it",
}
"""Runs of words in which an empty word has a meaning, each with its reason."""

NAMES: dict[str, str] = {
    f"services.controller.sql_types.{kind}.{method}": "SQLAlchemy's TypeDecorator names it"
    for kind in ("Document", "Word")
    for method in ("process_bind_param", "process_result_value")
} | {"services.controller.rest_json_front.StrictRoute.get_route_handler": "FastAPI's APIRoute names it"}
"""Qualified names that somebody else's interface dictates, each with its reason."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+")


def empty_names(modules: Iterable[Module]) -> Iterator[str]:
    """Yield modules, classes and functions whose names hold an empty word."""
    for module in modules:
        if module.is_generated:
            continue
        for qualified, name, node in _named(module):
            word = empty_word(name, node)
            if word and qualified not in NAMES:
                yield f"{qualified}: the word {word!r} says nothing"


def empty_word(name: str, node: ast.AST | None = None) -> str | None:
    """Return the first word of a name that says nothing."""
    parts = parts_of(name)
    for term in TERMS:
        parts = _without(parts, term)
    for part in parts:
        if part in EMPTY_WORDS or part.removesuffix("s") in EMPTY_WORDS:
            return part
    return VERB if _is_verb(parts, node) else None


def parts_of(name: str) -> list[str]:
    """Split a snake_case or CamelCase name into lower-case words."""
    return [part.lower() for part in _PART.findall(name)]


def _named(module: Module) -> Iterator[tuple[str, str, ast.AST | None]]:
    yield module.name, module.leaf, None
    for qualified, node in (*module.classes, *module.functions):
        yield qualified, node.name, node


def _is_verb(parts: list[str], node: ast.AST | None) -> bool:
    # A property is a noun: `process_id`.
    return isinstance(node, Function) and parts[:1] == [VERB] and not any(_is_property(each) for each in node.decorator_list)


def _is_property(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id in {"property", "cached_property"}


def _without(parts: list[str], term: tuple[str, ...]) -> list[str]:
    for start in range(len(parts) - len(term) + 1):
        if tuple(parts[start : start + len(term)]) == term:
            return [*parts[:start], *_without(parts[start + len(term) :], term)]
    return parts
