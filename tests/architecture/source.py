"""The source under judgement, read as syntax: nothing of it is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

REPO = Path(__file__).parents[2]
GENERATED = ("penstock.v1", "penstock.oip")
"""Packages that protos/generate.py writes."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name: `penstock.contracts.names` or `penstock.contracts.names.ModelVersion`."""

    name: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Module:
    """One source file."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.name)

    @property
    def leaf(self) -> str:
        """The last part of the name: the role is read from it."""
        return self.name.rpartition(".")[2]

    @property
    def is_generated(self) -> bool:
        return is_under(self.name, *GENERATED)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Everything imported anywhere in the file: at the top, inside functions, for types only, or by a constant name."""
        return tuple(_imports(self.tree, self.name))

    @cached_property
    def functions(self) -> tuple[tuple[str, Function], ...]:
        """Every function with its qualified name, nested ones included."""
        return tuple((name, node) for name, node in _definitions(self.tree, self.name) if isinstance(node, Function))

    @cached_property
    def classes(self) -> tuple[tuple[str, ast.ClassDef], ...]:
        """Every class with its qualified name, nested ones included."""
        return tuple((name, node) for name, node in _definitions(self.tree, self.name) if isinstance(node, ast.ClassDef))


def read_tree(*folders: str, root: Path = REPO) -> tuple[Module, ...]:
    """Read every Python file below these folders of the root; a package is named without its `__init__`."""
    found: list[Module] = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(_module(name, path, path.stat().st_mtime_ns))
    return tuple(found)


@cache
def _module(name: str, path: Path, _written_ns: int) -> Module:
    return Module(name=name, text=path.read_text(encoding="utf-8"))


forget = _module.cache_clear
"""Give back the memory of what was read: a tree of syntax is large, and every test of these asks for the same."""


def listed(violations: Iterable[str]) -> str:
    """Join violations, each once, so that a failed comparison with "" shows all of them."""
    return "\n".join(dict.fromkeys(violations))


def is_under(name: str, *packages: str) -> bool:
    """Say whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def _imports(tree: ast.Module, importer: str) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(name=alias.name, line=node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, importer)
            yield from (Import(name=f"{base}.{alias.name}", line=node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield Import(name=target.value, line=node.lineno)


def _base(node: ast.ImportFrom, importer: str) -> str:
    if node.level == 0:
        return node.module or ""
    parents = importer.split(".")[: -node.level]
    return ".".join([*parents, node.module] if node.module else parents)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def _definitions(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{owner}.{child.name}"
            yield name, child
            yield from _definitions(child, name)
        else:
            yield from _definitions(child, owner)
