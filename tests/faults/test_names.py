"""Names cannot be looked up any more, or lookups never end, while workers that are known by name come and go."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.killable import Killable, free_ports, service
from bench.mesh import until
from penstock import Client, ClientOptions, ServingError
from penstock.client.retry import RetryPolicy
from tests.faults.figures import record
from tests.worker import models

pytestmark = pytest.mark.timeout(180)

NAME = "worker-0.mesh.test"
ROW = {"x": np.ones((1, 3), np.float32)}


class Resolver:
    """What processes look names up by, and what it does: `ok`, `fail` or `hang`."""

    def __init__(self, folder: Path) -> None:
        self._word, self._library = folder / "word", folder / "resolver.so"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        assert compiler, "this row needs a C compiler (cc), and this machine has none: install one to run it"
        source = Path(__file__).with_name("resolver.c")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        self.does("ok")

    @property
    def variables(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "PENSTOCK_RESOLVER": str(self._word)}

    def does(self, word: str) -> None:
        beside = self._word.with_suffix(".new")
        beside.write_text(word)
        beside.replace(self._word)


@pytest.fixture
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(tmp_path)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    yield made
    made.does("ok")  # a lookup that hangs holds its process up at the end


@contextmanager
def started(one: Killable) -> Iterator[Killable]:
    one.start()
    try:
        yield one
    finally:
        one.end(signal.SIGTERM)


def answers(client: Client) -> bool:
    try:
        return client.predict("m", ROW).version == "1"
    except ServingError:
        return False


def test_n11_a_worker_is_found_where_it_was_when_its_name_cannot_be_looked_up_any_more(resolver: Resolver, short_dir: Path):
    repository = short_dir / "models" / "m" / "1"
    repository.mkdir(parents=True)
    (repository / "model.onnx").write_bytes(models.row_sum())
    ports = free_ports(short_dir, "link", "grpc", "http")
    worker_settings = {"repository": str(short_dir / "models"), "link_host": "127.0.0.1", "link_advertised_host": NAME}
    worker = service(short_dir, "worker", "worker-0", {"worker_id": "worker-0", "link_port": ports["link"], **worker_settings})
    router = service(short_dir, "router", "router-0", {"grpc_port": ports["grpc"], "http_port": ports["http"]})
    options = ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=10)
    told: list[bool] = []
    with started(worker), started(router), Client(f"127.0.0.1:{ports['grpc']}", options) as client:
        router.wait()
        until(lambda: answers(client), 60)
        for word in ("fail", "hang"):
            resolver.does(word)
            told.append(answers(client))  # what is connected stays so
            worker.kill()
            until(lambda: not answers(client), 60)
            worker.start()
            until(lambda: answers(client), 60)
        said = router.log_tail()

    assert told == [True, True]
    assert '"name_not_looked_up"' in said
    record("N11", lookups_failed=2)
