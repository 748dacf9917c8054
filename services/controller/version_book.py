"""The catalogue as registrations see it."""

from __future__ import annotations

from dataclasses import replace

from services.controller.changes import Intent
from services.controller.documents import to_document
from services.controller.model_values import Version
from services.controller.registration_values import RegisteredVersion
from services.controller.registry import Description, Registry


class CatalogueBook:
    """Writes registered versions down; a version without a name gets the next number."""

    def __init__(self, registry: Registry, *, description: Description | None = None, intent: Intent | None = None) -> None:
        """Keep the registry, what is said of the model, and who asks; without an intent whoever is named by the version does."""
        self._registry = registry
        self._description = description or Description()
        self._intent = intent

    async def add(self, version: RegisteredVersion) -> RegisteredVersion:
        """Write a version down, and return it with its name; the same digest under the same name changes nothing.

        Raises:
            AlreadyExists: the name has another digest.
        """
        intent = self._intent or Intent(actor=version.created_by)
        outcome = await self._registry.register(catalogued(version), self._description, intent)
        return replace(version, version=outcome.value.version)


def catalogued(version: RegisteredVersion) -> Version:
    """Return a registered version as the catalogue keeps it."""
    return Version(
        model=version.model,
        version=version.version,
        digest=version.digest,
        manifest=to_document(version.manifest),
        signature=version.report.signature,
        metadata={**version.report.facts, "source": version.source, "signed_by": version.signed_by, "features": version.report.features},
        lineage=version.lineage,
        feature_schema_hash=version.report.feature_hash,
        memory_bytes=version.report.memory_bytes,
        created_by=version.created_by,
    )
