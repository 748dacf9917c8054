"""Versions assigned by digest, loaded with what loads versions from folders."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed, NotFound, Unavailable
from penstock.contracts.status import GrpcCode
from services.chassis.artefact_cache import ArtefactCache, opened_cache
from services.worker.digests import Digests
from services.worker.fetched_versions import Assigned, FetchedVersions
from services.worker.inspection import inspect
from services.worker.opening import Device, open_version
from services.worker.reconciliation import Offer
from services.worker.trial import Trial
from services.worker.try_out import try_out
from tests.chassis.stored_versions import FakeSource
from tests.worker import models

LABELS = b"""[[output]]
name = "y"
label_filename = "labels.txt"

[[model_warmup]]
name = "file"
batch_size = 1
inputs = { x = { data_type = "FP32", dims = [2], input_data_file = "row.raw" } }
"""
WHOLE = {
    "version/model.onnx": models.identity(),
    "model.toml": LABELS,
    "labels.txt": b"no\nyes\n",
    "warmup/row.raw": np.ones(2, dtype=np.float32).tobytes(),
}


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
async def cache(tmp_path: Path, source: FakeSource) -> AsyncIterator[ArtefactCache]:
    async with opened_cache(tmp_path / "cache", 1 << 30, source, tuple) as opened:
        yield opened


def assigned(digest: str, version: str = "7") -> Assigned:
    return Assigned(model="churn", version=version, digest=digest)


async def test_an_assigned_version_is_opened_warmed_and_answers(cache: ArtefactCache, source: FakeSource):
    digest = source.add(WHOLE)

    artefact = await FetchedVersions(cache).fetch(assigned(digest))
    inspected = inspect(Offer(artefact=artefact), Digests())
    opened = open_version(inspected, Device())
    tried = try_out(Trial(opened.sessions[0], opened.completed.signature), opened)

    assert inspected.digest == digest
    assert opened.completed.signature.outputs[0].labels == ("no", "yes")
    assert tried.costs
    assert str(artefact) == "churn@7"


async def test_external_data_is_read_from_the_cache(cache: ArtefactCache, source: FakeSource, tmp_path: Path):
    onnx, weights = models.with_external_data()
    artefact = await FetchedVersions(cache).fetch(assigned(source.add({"version/model.onnx": onnx, "version/weights.bin": weights})))

    opened = open_version(inspect(Offer(artefact=artefact), Digests()), Device())

    assert opened.completed.signature.inputs[0].name == "x"


async def test_one_digest_serves_under_two_names(cache: ArtefactCache, source: FakeSource):
    digest = source.add(WHOLE)
    versions = FetchedVersions(cache)

    first, second = await versions.fetch(assigned(digest, "7")), await versions.fetch(assigned(digest, "8"))

    assert first.model_folder == second.model_folder
    assert inspect(Offer(artefact=second), Digests()).digest == digest
    assert len(source.fetched) == len(WHOLE)


async def test_m8_files_spoilt_between_fetch_and_load_are_never_opened_and_fetched_anew(cache: ArtefactCache, source: FakeSource):
    digest = source.add(WHOLE)
    versions = FetchedVersions(cache)
    artefact = await versions.fetch(assigned(digest))
    model = artefact.folder / "model.onnx"
    before = model.stat()
    model.write_bytes(models.no_batch()[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ArtifactCorrupt) as refused:
        inspect(Offer(artefact=artefact), Digests())
    again = await versions.fetch(assigned(digest))

    assert refused.value.status.grpc is GrpcCode.DATA_LOSS
    assert source.fetched.count("version/model.onnx") == 2
    assert inspect(Offer(artefact=again), Digests()).digest == digest


async def test_other_files_than_those_asked_for_are_corrupt_even_when_they_are_a_good_version(cache: ArtefactCache, source: FakeSource):
    digest = source.add(WHOLE)
    artefact = await FetchedVersions(cache).fetch(assigned(digest))
    other = await FetchedVersions(cache).fetch(assigned(source.add(WHOLE | {"labels.txt": b"ja\nnein\n"})))
    mixed = type(artefact)(
        model="churn", version="7", model_folder=other.model_folder, files=other.files, folder_name="version", manifest_digest=digest
    )

    with pytest.raises(ArtifactCorrupt, match="not of"):
        inspect(Offer(artefact=mixed), Digests())


async def test_a_configuration_sent_along_has_a_digest_of_its_own(cache: ArtefactCache, source: FakeSource):
    digest = source.add(WHOLE)
    artefact = await FetchedVersions(cache).fetch(assigned(digest))

    sent = inspect(Offer(artefact=artefact, config_json='{"max_batch_size": 4}'), Digests())

    assert sent.digest != digest
    assert sent.config.max_batch_size == 4


async def test_what_is_not_there_or_cannot_be_fetched_is_said_so(cache: ArtefactCache, source: FakeSource):
    versions = FetchedVersions(cache)
    with pytest.raises(NotFound):
        await versions.fetch(assigned("ab" * 32))
    digest = source.add(WHOLE)
    source.is_away = True
    with pytest.raises(Unavailable):
        await versions.fetch(assigned(digest))
    with pytest.raises(InvalidInput):
        assigned("latest")


async def test_a_version_without_a_model_is_refused_by_name(cache: ArtefactCache, source: FakeSource):
    artefact = await FetchedVersions(cache).fetch(assigned(source.add({"version/other.onnx": models.identity()})))

    with pytest.raises(LoadFailed, match=r"no model\.onnx"):
        inspect(Offer(artefact=artefact), Digests())
