"""What is secret is compared in constant time: `==` stops at the first character that differs, and its time tells how far a guess got."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from tests.architecture.source import Module

SECRETS = frozenset({"api_key", "secret", "password", "pepper", "token", "hash", "key_hash", "mac", "presented"})
"""Last words of names that may hold a key, a hash of one, or a token."""
CALLS = frozenset({"hash_of", "entry_of"})
"""What returns one; what an HMAC digests to is one, too."""


def open_comparisons(modules: Iterable[Module], allowed: Mapping[str, str]) -> Iterator[str]:
    """Yield comparisons of secrets that take the less time the earlier they differ; `allowed` names modules, each with its reason."""
    for module in modules:
        if module.name in allowed:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                sides = [node.left, *node.comparators]
                if any(_is_secret(side) for side in sides) and not any(_is_plain(side) for side in sides):
                    yield f"{module.name}:{node.lineno} compares {ast.unparse(node)}: use hmac.compare_digest"


def _is_secret(side: ast.expr) -> bool:
    if isinstance(side, ast.Call):
        return _last(side.func) in CALLS or ast.unparse(side).startswith("hmac.new(")
    return _last(side) in SECRETS


def _is_plain(side: ast.expr) -> bool:
    """Whether a side is written down here, so that there is nothing to find out."""
    return isinstance(side, ast.Constant)


def _last(side: ast.expr) -> str:
    if isinstance(side, ast.Attribute):
        return side.attr
    return side.id if isinstance(side, ast.Name) else ""
