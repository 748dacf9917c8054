"""What turns bytes of a stranger into running code stands nowhere in the product."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.architecture.source import Module, is_under

IMPORTS = frozenset({"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"})
BUILTINS = frozenset({"eval", "exec", "compile", "__import__"})
CALLS = frozenset({
    "builtins.eval", "builtins.exec", "os.system", "os.popen",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
})  # fmt: skip
YAML_LOADERS = frozenset(name.removeprefix("yaml.") for name in CALLS if name.startswith("yaml."))
KEYWORDS = {"allow_pickle": "reads pickles", "shell": "runs a shell"}
"""Arguments that are refused unless they are literally False."""


def dangers(modules: Iterable[Module]) -> Iterator[str]:
    """Yield imports and calls that run what they are given."""
    for module in modules:
        for imported in module.imports:
            if is_under(imported.name, *IMPORTS) or (imported.name.startswith("yaml.") and imported.name[5:] in YAML_LOADERS):
                yield f"{module.name}:{imported.line} imports {imported.name}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                yield from (f"{module.name}:{node.lineno} {what}" for what in _dangers_of(node))


def _dangers_of(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    if called in BUILTINS or called in CALLS:
        yield f"calls {called}"
    for keyword in node.keywords:
        is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg in KEYWORDS and not is_false:
            yield f"calls {called}, which {KEYWORDS[keyword.arg]}"
