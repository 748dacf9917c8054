"""Registrations in the real catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from penstock.contracts.errors import AlreadyExists
from services.controller.registration_book import CatalogueBook
from services.controller.registration_values import RegistrationRequest
from tests.controller.registering import GOOD, kit, tar
from tests.controller.stand import ANN, Stand
from tests.worker import models

FEATURES = b'[features]\ncolumns = [{ name = "a", data_type = "FP32" }, { name = "b", data_type = "FP32" }]\n'


async def test_a_registered_version_is_in_the_catalogue_with_all_that_is_known_of_it(stand: Stand, tmp_path: Path):
    book = CatalogueBook(stand.registry, replace(ANN, idempotency_key="k1"))
    async with kit(tmp_path) as here:
        request = RegistrationRequest(model="churn", source=here.archive(tar({**GOOD, "model.toml": FEATURES})), lineage={"run": "7"})
        (first,) = await here.registration.register(request, book)
        (again,) = await here.registration.register(request, book)

    async with stand.catalogue.reading() as unit:
        (held,) = await unit.versions.of("churn")
    assert (first.version, again.version) == ("1", "1")
    assert (held.digest, held.created_by, held.lineage) == (first.digest, "ann", {"run": "7"})
    provenance = held.metadata
    assert (provenance["onnx_version"], provenance["onnxruntime_version"]) == (onnx.__version__, ort.__version__)
    assert provenance["source"] == first.source != ""
    assert held.created_time > 0
    assert held.feature_schema_hash == first.report.feature_hash != ""
    assert held.memory_bytes > 0
    assert held.signature["max_batch_size"] == 64
    assert held.manifest["kind"] == "onnx"
    assert held.metadata["size_bytes"] == first.manifest.total_bytes


async def test_nameless_versions_get_the_next_number_and_a_taken_name_is_refused(stand: Stand, tmp_path: Path):
    book = CatalogueBook(stand.registry, ANN)
    async with kit(tmp_path) as here:
        for number, built in enumerate((models.identity(), models.row_sum(), models.no_batch()), start=1):
            request = RegistrationRequest(model="churn", source=here.archive(tar({"model.onnx": built})))
            (registered,) = await here.registration.register(request, book)
            assert registered.version == str(number)
        with pytest.raises(AlreadyExists):
            await here.registration.register(RegistrationRequest(model="churn", version="1", source=request.source), book)
