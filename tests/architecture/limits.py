"""How long a module and a function may be, and how many parameters a function takes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.architecture.source import Function, Module

MODULE_LINES = 300
FUNCTION_LINES = 45
PARAMETERS = 5

COMMAND_DECORATORS = ("command", "callback")
"""click hands a command its options as parameters: there, and only for functions so decorated, they are the interface."""

MANY_KEYWORDS = {
    "penstock.client.aio.AsyncClient.predict": "the options of one call; a caller names the one or two that it needs, as in httpx",
    "penstock.client.sync.Client.predict": "as AsyncClient.predict",
    "services.router.inference.Inference.__init__": "collaborators, named where the composition root passes them",
}
"""Functions that take more parameters in all because the rest are keyword-only, each with its reason."""


def long_modules(modules: Iterable[Module]) -> Iterator[str]:
    """Yield modules over the limit of lines."""
    for module in modules:
        lines = len(module.text.splitlines())
        if not module.is_generated and lines > MODULE_LINES:
            yield f"{module.name} has {lines} lines, the limit is {MODULE_LINES}"


def long_functions(modules: Iterable[Module]) -> Iterator[str]:
    """Yield functions over the limit of lines, from `def` to their last line."""
    for name, node in _functions(modules):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{name} has {lines} lines, the limit is {FUNCTION_LINES}"


def wide_functions(modules: Iterable[Module]) -> Iterator[str]:
    """Yield functions with too many parameters; keyword-only ones may be many where MANY_KEYWORDS says why."""
    for name, node in _functions(modules):
        if _is_command(node):
            continue
        positional, keywords = count_parameters(node)
        if positional > PARAMETERS or (positional + keywords > PARAMETERS and name not in MANY_KEYWORDS):
            yield f"{name} takes {positional} parameters and {keywords} by keyword only, the limit is {PARAMETERS}"


def count_parameters(node: Function) -> tuple[int, int]:
    """Return how many parameters can be given by position (without self or cls), and how many by keyword only."""
    taken = [*node.args.posonlyargs, *node.args.args]
    if taken and taken[0].arg in {"self", "cls"}:
        taken = taken[1:]
    return len(taken) + (node.args.vararg is not None), len(node.args.kwonlyargs) + (node.args.kwarg is not None)


def _functions(modules: Iterable[Module]) -> Iterator[tuple[str, Function]]:
    for module in modules:
        if not module.is_generated:
            yield from module.functions


def _is_command(node: Function) -> bool:
    called = [decorator.func for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(target, ast.Attribute) and target.attr in COMMAND_DECORATORS for target in called)
