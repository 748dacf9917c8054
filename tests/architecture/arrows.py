"""Which module may import which: arrows point up only, and inside a service downwards only.

    penstock.v1, penstock.oip          generated
          ▲
    penstock.contracts                 pure
          ▲                    ▲
    services.chassis      penstock.client, penstock.cli, …
          ▲
    services.mesh
          ▲
    services.{router,worker,controller,batch,embedded}      never one another

Every function returns one line a violation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.architecture.source import GENERATED, Module, is_under

ROOTS = ("penstock", "services")
CONTRACTS = ("penstock.contracts", *GENERATED)
SHARED_SERVICES = ("services.chassis", "services.mesh")

SCHEMA_PLACES = ("penstock.contracts", "penstock.client", *GENERATED)
"""Packages that may import generated modules wherever they like."""
SCHEMA_ROLES = ("front", "servicer", "link", "frames", "feed", "feeds", "client")
"""So may modules with such a word in their name, in any service: they stand where messages enter and leave."""
SCHEMA_MODULES = {
    # A request arrives at the router as OIP bytes from every front; these read them.
    "services.router.scan": "finds its way through a serialised request without parsing it; parses what it cannot scan",
    "services.router.templates": "learns from a parsed request how the next one of its kind begins",
    "services.router.typed_contents": "turns a request's typed contents into raw bytes",
    # An answer leaves the router as OIP bytes to every front; these write them.
    "services.router.answers": "appends outputs to ready-made heads of ModelInferResponse",
    "services.router.targets": "makes those heads, once a deployment",
    "services.router.graph_calls": "asks the steps of a graph in ModelInferRequest, and reads what they answered",
    "services.router.declared_answer": "repeats the ModelInferResponse that a route declares",
    "services.router.oip_answer": "translates ModelInferResponse for the HTTP face",
    # Everything but inference has one answer for both faces, and that answer is an OIP message.
    "services.router.control": "names the messages that it passes from its collaborators to the faces",
    "services.router.directory": "describes models as OIP messages",
    "services.router.statistics": "a client of WorkerControl that sums its answers into OIP messages",
    # Values that travel: protos meet them in `to_proto` and `from_proto`.
    "services.router.repository": "writes desired state as ModelOverride",
    "services.worker.overrides": "Override.from_proto reads it",
    "services.worker.statistics": "counters with `to_proto`",
}
"""And these, each with its reason."""

EDGE_ENDINGS = ("_front", "servicer", "_loop", "_feed", "_workflow", "_server")
"""Names of edges and loops: they call use cases, nothing but `app` calls them."""


def upward(modules: Iterable[Module]) -> Iterator[str]:
    """Yield imports against the arrows between packages."""
    for module in modules:
        allowed, refused = reach(module.name)
        for imported in module.imports:
            ours = is_under(imported.name, *ROOTS) and imported.name not in ROOTS
            if ours and (not is_under(imported.name, *allowed) or is_under(imported.name, *refused)):
                yield f"{module.name}:{imported.line} imports {imported.name}; it may import {', '.join(allowed)}"


def reach(importer: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the packages of ours that a module may import from, and those among them that it may not."""
    if is_under(importer, *GENERATED):
        return tuple(package for package in GENERATED if is_under(importer, package)), ()
    if is_under(importer, "penstock.contracts"):
        return CONTRACTS, ()
    if is_under(importer, "penstock"):
        return ("penstock",), () if is_under(importer, "penstock.cli") else ("penstock.cli",)
    if is_under(importer, "services.chassis"):
        return ("services.chassis", *CONTRACTS), ()
    shared = (*SHARED_SERVICES, *CONTRACTS)
    return (shared, ()) if is_under(importer, "services.mesh") else ((".".join(importer.split(".")[:2]), *shared), ())


def schemas_out_of_place(modules: Iterable[Module]) -> Iterator[str]:
    """Yield imports of generated modules from where messages neither enter nor leave."""
    for module in modules:
        if module.name not in SCHEMA_MODULES:
            yield from schema_imports(module)


def schema_imports(module: Module) -> Iterator[str]:
    """Yield the module's imports of generated modules, unless its place or its role allows them."""
    if is_under(module.name, *SCHEMA_PLACES) or set(module.leaf.split("_")) & set(SCHEMA_ROLES):
        return
    for imported in module.imports:
        if is_under(imported.name, *GENERATED):
            yield f"{module.name}:{imported.line} imports {imported.name}; generated code is for contracts, edges, links and clients"


def inward(modules: Iterable[Module]) -> Iterator[str]:
    """Yield imports inside one service that point upwards: `__main__` → `app` → edges and loops → everything else."""
    known = {module.name for module in modules}
    for module in modules:
        for imported in module.imports:
            target = imported.name if imported.name in known else imported.name.rpartition(".")[0]
            if not is_under(target, "services") or target not in known or target == module.name:
                continue
            if refusal := _refusal(module.name, target):
                yield f"{module.name}:{imported.line} imports {target}: {refusal}"


def _refusal(importer: str, target: str) -> str | None:
    leaf = target.rpartition(".")[2]
    if leaf == "__main__":
        return "nothing imports an entry point"
    if leaf == "app" and not importer.endswith(".__main__"):
        return "only __main__ and tests import the composition root"
    if importer.endswith((".__main__", ".app")):
        return None
    if _is_edge(target) and not _is_edge(importer) and importer.rpartition(".")[0] == target.rpartition(".")[0]:
        return "edges and loops call use cases, not the other way round"
    return None


def _is_edge(name: str) -> bool:
    return name.endswith(EDGE_ENDINGS)
