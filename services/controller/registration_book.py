"""Writes registered versions into the catalogue, in the name of whoever asks."""

from __future__ import annotations

import json
from dataclasses import replace

from penstock.contracts.errors import Internal
from penstock.contracts.graph_text import from_json
from services.controller.changes import Intent, Outcome
from services.controller.model_values import Version
from services.controller.registration_values import ModelReport, RegisteredVersion
from services.controller.registry import Description, Registry


class CatalogueBook:
    """A registration's book for one call: what it adds is written by that call's intent."""

    def __init__(self, registry: Registry, intent: Intent, description: Description | None = None) -> None:
        """Store the arguments; without a description the framework that the model names is the model's.

        The intent's idempotency key is not used: the digest is the better one. Two examinations of the same files differ in what they have
        measured, and would be taken for two requests under one key.
        """
        self._registry = registry
        self._intent = replace(intent, idempotency_key="")
        self._description = description
        self._outcome: Outcome[Version] | None = None

    @property
    def outcome(self) -> Outcome[Version]:
        """What became of the newest version.

        Raises:
            Internal: nothing was added.
        """
        if self._outcome is None:
            raise Internal("a registration ended without a version")
        return self._outcome

    async def check(self, model: str, report: ModelReport) -> None:
        """Refuse a graph whose steps are not registered, or do not fit what is.

        Raises:
            Conflict: a step names what is not registered (STEP_NOT_REGISTERED).
            InvalidInput: tensors do not fit (STEP_MISFIT).
        """
        if report.graph:
            await self._registry.check_graph(model, from_json(report.graph).graph)

    async def add(self, version: RegisteredVersion) -> RegisteredVersion:
        """Write a version down, and return it with its name.

        Raises:
            AlreadyExists: the name has other files, or is an alias.
            ServingError: the catalogue cannot be written.
        """
        framework = str(version.report.facts.get("framework", ""))
        description = self._description or Description(framework=framework or None)
        self._outcome = await self._registry.register(entry_of(version), description, self._intent)
        return replace(version, version=self._outcome.value.version)


def entry_of(version: RegisteredVersion) -> Version:
    """Pure: return a registered version as the catalogue keeps it."""
    report = version.report
    return Version(
        model=version.model,
        version=version.version,
        digest=version.digest,
        manifest=json.loads(version.manifest.to_bytes()),
        signature=report.signature,
        metadata={
            **report.facts,
            "source": version.source,
            "size_bytes": version.manifest.total_bytes,
            "features": report.features,
        },
        lineage=version.lineage,
        feature_schema_hash=report.feature_hash,
        memory_bytes=report.memory_bytes,
        created_by=version.created_by,
        created_time=version.created_time,
        version_signature=version.signature,
        signed_by=version.signed_by,
    )
