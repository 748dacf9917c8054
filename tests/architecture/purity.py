"""Pure modules: what they answer follows from what they are given. No clock, no chance, no waiting, no input or output."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.architecture.source import GENERATED, Module, is_under

IMPURE = frozenset({
    "asyncio", "concurrent", "multiprocessing", "random", "secrets", "select", "selectors", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "threading", "time", "urllib", "http",
    "aiokafka", "fastapi", "grpc", "httptools", "numpy.random", "onnxruntime", "prometheus_client", "pygrpc_native", "redis",
    "temporalio", "uvicorn", "uvloop",
})  # fmt: skip
"""Packages that wait, tell the time, throw dice or reach outside."""

PASSED_IN = {"random.Random": "the type of a source of chance that the caller passes in"}
"""Names out of impure packages that are allowed, each with its reason."""

OUTWARD_FUNCTIONS = frozenset({"open", "print", "input", "breakpoint"})
OUTWARD_METHODS = frozenset({
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "uuid.uuid1", "uuid.uuid4", "os.urandom", "os.environ",
    "os.getenv", "os.getpid",
})  # fmt: skip
PATH_METHODS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "mkdir", "unlink", "exists", "stat"})
"""What reads a clock, throws dice or reaches outside although no import shows it."""

CONTRACTS = "penstock.contracts"
CONTRACTS_MAY_USE = ("numpy", "google.protobuf", *GENERATED, CONTRACTS)

IMPURE_CONTRACTS: dict[str, str] = {}
"""Contract modules that are not pure, each with its reason."""

DECIDERS = frozenset({
    "services.mesh.placement",
    "services.mesh.retry_budget",
    "services.mesh.route_table",
    "services.router.admission",
    "services.router.result_cache",
    "services.worker.batching",
    "services.worker.replica_state",
})  # fmt: skip
"""Modules of the services that are pure by design; others join by saying `Pure:` in their docstring."""


def pure_names(modules: Iterable[Module]) -> frozenset[str]:
    """Return the modules that have to be pure: contracts, deciders, and whoever claims it."""
    return frozenset(module.name for module in modules if _has_to_be_pure(module))


def impurities(modules: Sequence[Module]) -> Iterator[str]:
    """Yield what pure modules, and the modules of services they lean on, do that pure modules do not."""
    by_name = {module.name: module for module in modules}
    waiting = [(name, name) for name in sorted(pure_names(modules))]
    seen: set[str] = set()
    while waiting:
        name, needed_by = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        because = f"and is pure{'' if name == needed_by else f', for {needed_by} needs it'}"
        yield from (f"{found}, {because}" for found in _outside(by_name[name]))
        waiting += [(target, needed_by) for target in _relatives(by_name[name], by_name)]


def foreign_imports(modules: Iterable[Module]) -> Iterator[str]:
    """Yield what contracts import besides the standard library, numpy, protobuf and each other."""
    for module in modules:
        if not is_under(module.name, CONTRACTS):
            continue
        for imported in module.imports:
            if imported.name.split(".")[0] not in sys.stdlib_module_names and not is_under(imported.name, *CONTRACTS_MAY_USE):
                yield f"{module.name}:{imported.line} imports {imported.name}; contracts use the standard library, numpy and protobuf"


def _has_to_be_pure(module: Module) -> bool:
    if is_under(module.name, CONTRACTS):
        return module.name not in IMPURE_CONTRACTS
    return module.name in DECIDERS or "Pure:" in (ast.get_docstring(module.tree) or "")


def _relatives(module: Module, by_name: Mapping[str, Module]) -> Iterator[str]:
    for imported in module.imports:
        # `from services.mesh import placement` names a module, `from services.mesh.placement import choose` something in one.
        target = imported.name if imported.name in by_name else imported.name.rpartition(".")[0]
        if target in by_name and target not in IMPURE_CONTRACTS:
            yield target


def _outside(module: Module) -> Iterator[str]:
    for imported in module.imports:
        if is_under(imported.name, *IMPURE) and imported.name not in PASSED_IN and not _names_a_type(module, imported.name):
            yield f"{module.name}:{imported.line} imports {imported.name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{module.name}:{node.lineno} waits"
        if isinstance(node, ast.Call) and (name := _outward(node)):
            yield f"{module.name}:{node.lineno} calls {name}"


def _names_a_type(module: Module, package: str) -> bool:
    # `import random` for nothing but `random.Random`.
    used = {ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    mine = {name for name in used if name.startswith(package + ".")}
    return bool(mine) and mine <= set(PASSED_IN)


def _outward(node: ast.Call) -> str | None:
    called = ast.unparse(node.func)
    tail = ".".join(called.split(".")[-2:])
    if called in OUTWARD_FUNCTIONS or tail in OUTWARD_METHODS or ("." in called and called.rpartition(".")[2] in PATH_METHODS):
        return called
    # A source of chance without a seed is the machine's, not the caller's.
    return called if tail.rpartition(".")[2] in {"Random", "default_rng"} and not node.args and not node.keywords else None
