"""A graph is held ready without a model, memory or a batcher, and says why it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.contracts.declared_graphs import declared_graph
from penstock.contracts.errors import InvalidInput, LoadFailed
from penstock.contracts.model_config import All
from penstock.contracts.worker_status import ReplicaState
from services.worker.graph_versions import ensemble_policy, is_graph, read_version
from services.worker.memory_budget import MemoryBudget
from services.worker.reconciliation import Offer
from services.worker.repository_look import look_at_repository
from tests.worker import models
from tests.worker.test_loading import Bench

GRAPH = """
max_batch_size = 8
input = [{ name = "a", data_type = "FP32", dims = [2] }]
output = [{ name = "z", data_type = "FP32", dims = [2], from = "s.y" }]
step = [{ name = "s", model = "other", inputs = { x = "a" } }]
"""


def offer(root: Path, text: str = GRAPH, **files: bytes) -> Offer:
    folder = root / "repository" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "graph.toml").write_text(text)
    for name, content in files.items():
        (folder / f"{name}.onnx").write_bytes(content)
    return Offer(artefact=look_at_repository(root / "repository").models["m"].versions["1"])


async def test_a_graph_becomes_ready_and_takes_nothing(tmp_path: Path):
    offer(tmp_path)
    bench = Bench(tmp_path, MemoryBudget(budget_bytes=1), [])

    replica = await bench.load(bench.add())
    status = replica.to_status()

    assert bench.states == ["WARMING", "READY", "end"]
    assert (status.state, status.memory_bytes, bench.budget.used_bytes) == (ReplicaState.READY, 0, 0)
    assert replica.batcher is None
    assert status.signature.max_batch_size == 8
    graph = declared_graph(status.model_config)
    assert graph is not None
    assert graph.models == {("other", "")}


async def test_a_graph_that_is_not_valid_fails_with_its_reason(tmp_path: Path):
    offer(tmp_path, GRAPH.replace("s.y", "t.y"))
    bench = Bench(tmp_path, MemoryBudget(), [])

    replica = await bench.load(bench.add())

    assert replica.life.state is ReplicaState.FAILED
    assert "there is no step 't'" in replica.life.reason


def test_a_model_beside_the_graph_is_refused(tmp_path: Path):
    both = offer(tmp_path, model=models.row_sum())

    assert is_graph(both.artefact)
    with pytest.raises(LoadFailed, match="a graph or a model"):
        read_version(both)


@pytest.mark.parametrize("change", [{"config_json": "{}"}, {"settings_json": '{"max_batch_size": 4}'}])
def test_a_graph_is_not_configured_from_outside(tmp_path: Path, change: dict[str, str]):
    with pytest.raises(InvalidInput, match=r"by its graph\.toml alone"):
        read_version(replace(offer(tmp_path), **change))


def test_a_graph_for_another_model_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="is for 'n'"):
        read_version(offer(tmp_path, 'name = "n"\n' + GRAPH))


ENSEMBLE = """
platform: "ensemble"
input [ { name: "a" data_type: TYPE_FP32 dims: [2] } ]
output [ { name: "z" data_type: TYPE_FP32 dims: [2] } ]
version_policy { all {} }
ensemble_scheduling { step [
  { model_name: "other" model_version: -1 input_map { key: "x" value: "a" } output_map { key: "y" value: "z" } }
] }
"""


def ensemble(root: Path, text: str = ENSEMBLE, **files: str) -> Offer:
    folder = root / "repository" / "m" / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(text)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return Offer(artefact=look_at_repository(root / "repository").models["m"].versions["1"])


async def test_an_ensemble_of_triton_becomes_ready_from_an_empty_version_folder(tmp_path: Path):
    offered = ensemble(tmp_path)
    bench = Bench(tmp_path, MemoryBudget(budget_bytes=1), [])

    replica = await bench.load(bench.add())

    assert is_graph(offered.artefact)
    assert ensemble_policy(offered.artefact) == All()
    assert replica.to_status().state is ReplicaState.READY
    graph = declared_graph(replica.to_status().model_config)
    assert graph is not None
    assert graph.models == {("other", "")}


@pytest.mark.parametrize(
    ("text", "files", "told"),
    [
        (ENSEMBLE, {"model_onnx": "x"}, "has both config.pbtxt and 1/model.onnx"),
        (ENSEMBLE, {"graph_toml": GRAPH}, "described by both graph.toml and config.pbtxt"),
        (ENSEMBLE + 'name: "n"', {}, "config.pbtxt is for 'n'"),
        (ENSEMBLE.replace("step [", "stop ["), {}, "stop"),
    ],
)
def test_an_ensemble_that_is_not_clear_is_refused(tmp_path: Path, text: str, files: dict[str, str], told: str):
    offered = ensemble(tmp_path, text, **files)

    assert is_graph(offered.artefact)
    with pytest.raises((InvalidInput, LoadFailed), match=told):
        read_version(offered)


def test_a_model_with_a_configuration_of_its_own_is_no_ensemble(tmp_path: Path):
    offered = ensemble(tmp_path, "max_batch_size: 4", model_onnx="x")

    assert not is_graph(offered.artefact)
    assert ensemble_policy(offered.artefact) is None
