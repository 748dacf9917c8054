"""A controller process on real Kafka: what a user does with the command's client, and what arrives on the topics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.client.uploads import files_of, send
from penstock.client.writes import Write
from penstock.contracts.errors import (
    AlreadyExists,
    InvalidInput,
)
from tests.integration.processes import process, until
from tests.integration.servers import ServerAddress, SessionServers
from tests.worker import models


@dataclass
class Standing:
    control: Control
    http: str
    kafka: str
    folder: Path

    def registered(self, model: str, version: str, content: bytes = b"", **write: Any) -> Any:
        folder = self.folder / f"{model}-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(content or models.identity())
        files = files_of(folder)
        for file in files:
            send(self.control, file)
        return self.control.register(model, version, [file.sent for file in files], write=Write(**write))


@contextmanager
def controller(folder: Path, kafka: str, **settings: Any) -> Iterator[Standing]:
    with process(folder, "controller", grpc_port=0, http_port=0, bus={"bootstrap_servers": kafka}, **settings) as log:
        ready = folder / "s" / "ready" / settings.get("controller_id", "controller-0")
        until(ready.exists, log)
        ports = json.loads(ready.read_text())
        options = ClientOptions(retries=RetryPolicy(attempts=5))
        with Control(f"127.0.0.1:{ports['grpc']}", options) as control:
            yield Standing(control=control, http=f"http://127.0.0.1:{ports['http']}", kafka=kafka, folder=folder)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, kafka: ServerAddress, servers: SessionServers) -> Iterator[Standing]:
    servers.make_topics()
    with controller(tmp_path_factory.mktemp("controller"), kafka.address) as standing:
        yield standing


def test_versions_are_registered_deployed_shared_and_rolled_back(standing: Standing):
    control, model = standing.control, f"m{time.monotonic_ns()}"
    first = standing.registered(model, "v1", reason="first")
    again = standing.registered(model, "v1")
    with pytest.raises(AlreadyExists):
        standing.registered(model, "v1", models.row_sum())

    assert (first.version.digest, again.version.digest) == (first.version.digest,) * 2
    assert [one.name for one in control.models(model)] == [model]
    assert control.set_alias(model, "champion", "v1").model.aliases == {"champion": "v1"}
    assert control.deploy(model, "v1").deployment.replicas == 1
    changes = control.changes(subject=f"model/{model}", verify=True)
    assert [one.kind for one in changes.changes][::-1][0] == "version.register"
    assert changes.broken == ""


def test_a_model_that_is_none_is_refused_and_leaves_nothing(standing: Standing):
    with pytest.raises(InvalidInput) as refused:
        standing.registered("junk", "v1", b"no model at all")

    assert refused.value.reason == "BAD_MODEL"
    assert standing.control.models("junk") == []


def test_a_dry_run_writes_nothing(standing: Standing):
    model = f"d{time.monotonic_ns()}"
    answer = standing.registered(model, "v1", dry_run=True)

    assert (answer.change.dry_run, standing.control.models(model)) == (True, [])


def test_both_faces_tell_the_same(standing: Standing):
    model = f"h{time.monotonic_ns()}"
    standing.registered(model, "v1")
    answer = httpx2.get(f"{standing.http}/api/v1/models/{model}", trust_env=False)

    assert answer.status_code == 200
    assert [one["version"] for one in answer.json()["versions"]] == ["v1"]
    assert answer.json()["versions"][0]["digest"] == standing.control.model(model).model.versions[0].digest
