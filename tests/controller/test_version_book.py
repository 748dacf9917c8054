from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import AlreadyExists
from services.controller.registration_values import ModelReport, RegisteredVersion
from services.controller.version_book import CatalogueBook
from tests.controller.stand import Stand


def registered(version: str, content: str = "a") -> RegisteredVersion:
    return RegisteredVersion(
        model="fraud",
        version=version,
        manifest=Manifest.of([ManifestFile(path="version/model.onnx", size=1, sha256=content * 64)]),
        report=ModelReport(signature={"inputs": []}, facts={"framework": "sklearn"}, known_files=(), memory_bytes=7, feature_hash="f" * 64),
        lineage={"run": "7"},
        created_by="ann",
        created_time=1.0,
        source="s3://bucket/fraud",
    )


async def test_a_registered_version_is_in_the_catalogue_with_all_that_is_known_of_it(stand: Stand):
    version = registered("3")
    assert await CatalogueBook(stand.registry).add(version) == version

    async with stand.catalogue.reading() as unit:
        held = await unit.versions.get("fraud", "3")
    assert held is not None
    assert (held.digest, held.memory_bytes, held.feature_schema_hash) == (version.digest, 7, "f" * 64)
    assert (held.metadata["framework"], held.metadata["source"], held.lineage) == ("sklearn", "s3://bucket/fraud", {"run": "7"})
    assert held.manifest["files"] == [{"path": "version/model.onnx", "sha256": "a" * 64, "size": 1}]
    assert held.created_by == "ann"


async def test_versions_without_a_name_are_numbered_and_the_same_files_keep_their_number(stand: Stand):
    book = CatalogueBook(stand.registry)
    named = [(await book.add(registered(version, content))).version for version, content in (("", "a"), ("7", "b"), ("", "c"), ("", "a"))]

    assert named == ["1", "7", "8", "1"]


async def test_a_name_with_other_files_is_refused(stand: Stand):
    book = CatalogueBook(stand.registry)
    await book.add(registered("1"))

    with pytest.raises(AlreadyExists):
        await book.add(replace(registered("1", "b"), created_by="bob"))
