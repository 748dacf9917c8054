"""What ONNX Runtime is told stands in the product's code: no library of operators, and no option by a name that somebody sends."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.architecture.source import Module

LIBRARIES = frozenset({"register_custom_ops_library", "register_execution_provider_library"})
SETTERS = frozenset({"add_session_config_entry", "add_run_config_entry"})
OPTIONS = frozenset({"session.intra_op.allow_spinning", "session.inter_op.allow_spinning"})
"""Options that change no results and load nothing."""


def runtime_openings(modules: Iterable[Module]) -> Iterator[str]:
    """Yield calls that load code into ONNX Runtime, or set an option that is not one of OPTIONS."""
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in LIBRARIES:
                yield f"{module.name}:{node.lineno} calls {node.func.attr}"
            if node.func.attr in SETTERS and not _is_known(node):
                yield f"{module.name}:{node.lineno} sets an option that is not known here"


def _is_known(node: ast.Call) -> bool:
    name = node.args[0] if node.args else None
    return isinstance(name, ast.Constant) and name.value in OPTIONS
