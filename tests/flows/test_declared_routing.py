"""What a model's own configuration decides at the router: aliases, weights, the result cache, refused numbers."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from penstock import Client, ServingError
from penstock.contracts.errors import VersionNotFound
from tests.flows.serving import Served, serving

CONFIG = """
version_policy = { all = {} }
response_cache = { enable = true, ttl_seconds = 60.0 }

[aliases]
champion = "1"

[traffic]
1 = 7000
2 = 3000
"""


def write_versions(folder: Path) -> Path:
    """Two versions of `scaled`, which multiply by their number."""
    for version in (1, 2):
        graph = helper.make_graph(
            [helper.make_node("Mul", ["x", "k"], ["y"])],
            "scaled",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", 1))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", 1))],
            [helper.make_tensor("k", TensorProto.FLOAT, [1], [float(version)])],
        )
        path = folder / "scaled" / str(version) / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    (folder / "scaled" / "model.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "routing"
    folder.mkdir()
    with serving(folder, write_versions(tmp_path_factory.mktemp("models"))) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.grpc) as opened:
        yield opened


def test_statistics_tell_what_the_caches_of_all_routers_did(tmp_path: Path, short_dir: Path):
    with serving(short_dir, write_versions(tmp_path / "models"), "--routers", "2") as served:
        # A new connection each time: both routers accept at one port, and each keeps a cache of its own.
        for _ in range(24):
            with Client(served.grpc) as client:
                asked(client, 3.0, version="1")
        with urllib.request.urlopen(f"http://{served.record['metrics']}/metrics", timeout=10) as response:
            hits = _counted(response.read().decode(), "nv_cache_num_hits_per_model")
        told = [json.loads(served.get("/v2/models/scaled/versions/1/stats")[1])["model_stats"][0]["inference_stats"] for _ in range(6)]

    assert 0 < hits < 24
    assert {(stats["cache_hit"]["count"], stats["cache_hit"]["count"] + stats["cache_miss"]["count"]) for stats in told} == {(hits, 24)}
    assert {stats["success"]["count"] for stats in told} == {24}


def _counted(shown: str, name: str) -> int:
    return sum(int(float(line.rpartition(" ")[2])) for line in shown.splitlines() if line.startswith(f'{name}{{model="scaled",version="1"'))


def asked(client: Client, value: float, **options: str) -> tuple[str, float]:
    prediction = client.predict("scaled", {"x": np.array([[value]], np.float32)}, **options)  # type: ignore[arg-type]
    return prediction.version, float(prediction["y"][0, 0])


def test_callers_are_shared_by_weight_and_stay_where_they_are(client: Client):
    first = [asked(client, 3.0, routing_key=f"user-{number}") for number in range(300)]
    again = [asked(client, 5.0, routing_key=f"user-{number}") for number in range(300)]

    assert [version for version, _ in first] == [version for version, _ in again]
    assert 50 <= sum(version == "2" for version, _ in first) <= 130
    assert all(value == 3.0 * int(version) for version, value in first)


def version_over_http(served: Served, **parameters: str) -> str:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [3.0]}
    body = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    asked = urllib.request.Request(f"{served.http}/v2/models/scaled/infer", body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as response:
        return str(json.loads(response.read())["model_version"])


def test_id34_a_key_sticks_over_both_faces_and_who_sends_none_is_drawn_and_not_refused(served: Served, client: Client):
    users = [f"user-{number}" for number in range(40)]

    assert [version_over_http(served, routing_key=user) for user in users] == [asked(client, 3.0, routing_key=user)[0] for user in users]
    assert {version_over_http(served) for _ in range(60)} == {"1", "2"}
    assert {asked(client, 3.0)[0] for _ in range(60)} == {"1", "2"}


def test_a_version_or_an_alias_of_it_can_be_addressed(client: Client):
    assert asked(client, 2.0, version="2") == ("2", 4.0)
    assert asked(client, 2.0, version="champion") == ("1", 2.0)
    assert asked(client, 2.0, version="latest") == ("2", 4.0)
    with pytest.raises(VersionNotFound):
        asked(client, 2.0, version="loser")


def test_the_same_question_is_computed_once(served: Served, client: Client):
    def executed() -> int:
        (statistics,) = client.statistics("scaled", "2").model_stats
        return int(statistics.inference_count)

    before = executed()
    answers = {asked(client, 77.0, version="2") for _ in range(20)}

    assert answers == {("2", 154.0)}
    assert executed() - before == 1


def test_an_answer_of_one_version_is_never_given_for_another(client: Client):
    assert [asked(client, 11.0, version=version)[1] for version in ("1", "2", "1", "2")] == [11.0, 22.0, 11.0, 22.0]


def test_errors_of_the_product_are_one_tree(client: Client):
    with pytest.raises(ServingError):
        client.predict("nobody", [[1.0]])
