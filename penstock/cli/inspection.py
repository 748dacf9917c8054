"""Everything about one model: versions, signature, configuration, measured costs, memory, other names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.cli import terminal
from penstock.cli.model_views import Document, ModelDescription, VersionEntry, VersionStatistics, signature_document
from penstock.cli.server_client import description_of, statistics_of, versions_of
from penstock.cli.table import facts, table
from penstock.client import Client
from penstock.contracts.errors import NoReadyReplica
from penstock.contracts.names import version_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found; `description` is None while no version is ready."""

    model: str
    versions: Sequence[VersionEntry]
    description: ModelDescription | None
    statistics: Sequence[VersionStatistics]

    def document(self) -> Document:
        """Return it for printing."""
        described = self.description
        return {
            "model": self.model,
            "versions": [self._version_document(entry) for entry in self.versions],
            "platform": described.platform if described else None,
            "signature": signature_document(described.signature) if described else None,
            "aliases": described.aliases if described else {},
            "traffic_basis_points": {version: int(share) for version, share in described.traffic.items()} if described else {},
            "configuration": described.configuration if described else None,
        }

    def text(self) -> str:
        """Return it for people."""
        parts = [f"{self.model}", self._versions_text()]
        if self.description is not None:
            parts += [_signature_text(self.description), _configuration_text(self.description)]
        costs = self._costs_text()
        return "\n\n".join([*parts, costs] if costs else parts)

    def _version_document(self, entry: VersionEntry) -> Document:
        statistics = self._statistics(entry.version)
        return {
            "version": entry.version,
            "state": entry.state,
            "reason": entry.reason,
            "memory_bytes": statistics.memory_bytes if statistics else None,
            "costs": [cost.document() for cost in statistics.costs] if statistics else [],
        }

    def _versions_text(self) -> str:
        aliases = self.description.aliases if self.description else {}
        traffic = self.description.traffic if self.description else {}
        rows: list[tuple[Any, ...]] = []
        for entry in self.versions:
            names = ", ".join(name for name, version in aliases.items() if version == entry.version)
            statistics, share = self._statistics(entry.version), traffic.get(entry.version)
            memory = statistics.memory_bytes / 1e6 if statistics and statistics.memory_bytes else None
            rows.append((entry.version, entry.state, names, f"{int(share) / 100:g} %" if share else "", memory, entry.reason))
        heads = ("version", "state", "aliases", "traffic", "memory mb", "reason")
        kept = [index for index in range(len(heads)) if index < 2 or any(row[index] not in ("", None) for row in rows)]
        return table([heads[index] for index in kept], [[row[index] for index in kept] for row in rows], width=terminal.width())

    def _costs_text(self) -> str:
        rows = [(entry.version, cost.rows, cost.executions, cost.mean_ms) for entry in self.statistics for cost in entry.costs]
        return table(("version", "rows a run", "runs", "run ms"), rows, width=terminal.width()) if rows else ""

    def _statistics(self, version: str) -> VersionStatistics | None:
        return next((entry for entry in self.statistics if entry.version == version), None)


def inspect_model(client: Client, model: str, version: str = "") -> Inspection:
    """Ask for everything about a model, or about one version of it.

    Raises:
        ModelNotFound, VersionNotFound: nothing of this name.
    """
    try:
        description = description_of(client, model, version)
    except NoReadyReplica:
        # A model that is loading or has failed: its states and reasons are what is wanted then.
        description = None
    aliased = description.aliases.get(version, version) if description else version
    versions = [entry for entry in versions_of(client, model) if aliased in ("", "latest", entry.version)]
    statistics = [entry for entry in statistics_of(client, model) if aliased in ("", "latest", entry.version)] if versions else []
    return Inspection(
        model=model,
        versions=versions,
        description=description,
        statistics=sorted(statistics, key=lambda entry: version_order(entry.version)),
    )


def _signature_text(description: ModelDescription) -> str:
    signature = description.signature
    rows = [("input", spec.name, spec.datatype.value, _shape(spec.shape)) for spec in signature.inputs]
    rows += [("output", spec.name, spec.datatype.value, _shape(spec.shape)) for spec in signature.outputs]
    return table(("", "name", "type", "shape"), rows, width=terminal.width())


def _configuration_text(description: ModelDescription) -> str:
    configuration = description.configuration
    batching = configuration.get("dynamic_batching")
    pairs = [
        ("platform", description.platform),
        ("max_batch_size", configuration.get("max_batch_size", 0)),
        ("dynamic_batching", _inline(batching) if batching is not None else "off"),
        ("instances", "; ".join(_inline(group) for group in configuration.get("instance_group", [])) or None),
        ("version_policy", _inline(configuration["version_policy"]) if "version_policy" in configuration else None),
        ("response_cache", bool(configuration.get("response_cache", {}).get("enable"))),
    ]
    return facts([pair for pair in pairs if pair[1] is not None], width=terminal.width())


def _inline(value: Any) -> str:
    """Return a part of the configuration as one line of `name: value`."""
    if isinstance(value, dict):
        return ", ".join(name if one == {} else f"{name}: {_nested(one)}" for name, one in value.items()) or "on"
    return str(value)


def _nested(value: Any) -> str:
    return f"({_inline(value)})" if isinstance(value, dict) else ", ".join(map(_inline, value)) if isinstance(value, list) else str(value)


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join('any' if size == -1 else str(size) for size in shape)}]"
