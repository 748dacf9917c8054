"""Pure modules: what they answer follows from what they are given. No clock, no chance, no waiting, no input or output."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence

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
    """Yield what pure modules do that pure modules do not."""
    pure = pure_names(modules)
    impure = {module.name for module in modules} - pure - {module.name for module in modules if _is_empty(module)}
    for module in modules:
        if module.name in pure:
            yield from _outside_imports(module)
            yield from _impure_relatives(module, pure, impure)
            yield from _outside_calls(module)


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


def _is_empty(module: Module) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in module.tree.body)


def _outside_imports(module: Module) -> Iterator[str]:
    for imported in module.imports:
        if is_under(imported.name, *IMPURE) and imported.name not in PASSED_IN:
            yield f"{module.name}:{imported.line} imports {imported.name}, and is pure"


def _impure_relatives(module: Module, pure: frozenset[str], impure: set[str]) -> Iterator[str]:
    for imported in module.imports:
        # `from services.mesh import placement` names a module, `from services.mesh.placement import choose` something in one.
        target = imported.name if imported.name in pure | impure else imported.name.rpartition(".")[0]
        if target in impure:
            yield f"{module.name}:{imported.line} imports {target}, which is not pure"


def _outside_calls(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{module.name}:{node.lineno} waits, and is pure"
        if isinstance(node, ast.Call) and (name := _outward(node)):
            yield f"{module.name}:{node.lineno} calls {name}, and is pure"


def _outward(node: ast.Call) -> str | None:
    called = ast.unparse(node.func)
    tail = ".".join(called.split(".")[-2:])
    if called in OUTWARD_FUNCTIONS or tail in OUTWARD_METHODS or ("." in called and called.rpartition(".")[2] in PATH_METHODS):
        return called
    # A source of chance without a seed is the machine's, not the caller's.
    return called if tail.rpartition(".")[2] in {"Random", "default_rng"} and not node.args and not node.keywords else None
