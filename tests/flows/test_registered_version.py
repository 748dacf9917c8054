"""A version from its owner's archive to an answer: registered, stored, fetched by digest, loaded by a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.chassis.artefact_cache import opened_cache
from services.chassis.artefact_store import ArtefactStore
from services.chassis.disk_threads import DiskThreads
from services.controller.model_sandbox import ModelSandbox, SandboxLimits
from services.worker.digests import Digests
from services.worker.fetched_versions import Assigned, FetchedVersions
from services.worker.inspection import inspect
from services.worker.opening import Device, open_version
from services.worker.reconciliation import Offer
from tests.controller.registering import kit, zipped
from tests.worker import models


async def test_what_its_owner_sends_is_what_a_worker_runs(tmp_path: Path):
    onnx, weights = models.with_external_data()
    sent = zipped({"churn/1/model.onnx": onnx, "churn/1/weights.bin": weights, "churn/config.pbtxt": b"max_batch_size: 8"})
    async with kit(tmp_path, examiner=ModelSandbox(SandboxLimits())) as here, DiskThreads("test") as threads:
        registered = await here.register(here.archive(sent))
        store = ArtefactStore(here.objects, threads)
        async with opened_cache(tmp_path / "cache", 1 << 20, store, lambda: {registered.digest}) as cache:
            assigned = Assigned(model="churn", version=registered.version, digest=registered.digest)
            artefact = await FetchedVersions(cache).fetch(assigned)
            inspected = inspect(Offer(artefact=artefact), Digests())
            opened = open_version(inspected, Device())
            (answer,) = opened.sessions[0].run({"x": np.zeros((1, 2), dtype=np.float32)}, ["y"])

    assert inspected.digest == registered.digest
    assert opened.completed.signature.max_batch_size == registered.report.signature["max_batch_size"] == 8
    assert answer.tolist() == [[0.0, 1.0]]
