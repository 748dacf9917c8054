"""Graphs are registered like models, and deployed when what they are made of is registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.errors import Conflict, InvalidInput
from penstock.contracts.version_layout import plan_versions
from services.controller.deployment_values import DeploymentSpec
from services.controller.model_values import Version, VersionState
from services.controller.registry import Description
from tests.controller.registering import GOOD, kit, tar
from tests.controller.stand import ANN, DIGEST, Stand

GRAPH = b"""
max_batch_size = 8
input = [{ name = "a", data_type = "FP32", dims = [2] }]
output = [{ name = "z", data_type = "FP32", dims = [2], from = "s.y" }]
step = [{ name = "s", model = "fraud", version = "1", inputs = { x = "a" } }]
"""


def test_a_folder_with_a_graph_is_a_version_however_it_is_laid_out():
    alone = plan_versions(["graph.toml"])
    several = plan_versions(["model.toml", "1/graph.toml", "2/model.onnx"])

    assert alone[0].files == {"version/graph.toml": "graph.toml"}
    assert [(one.name, dict(one.files)) for one in several] == [
        ("1", {"model.toml": "model.toml", "version/graph.toml": "1/graph.toml"}),
        ("2", {"model.toml": "model.toml", "version/model.onnx": "2/model.onnx"}),
    ]


async def test_a_graph_is_registered_with_its_signature_and_steps(tmp_path: Path):
    async with kit(tmp_path) as here:
        registered = await here.register(here.archive(tar({"graph.toml": GRAPH})))

    assert [file.path for file in registered.manifest.files] == ["version/graph.toml"]
    assert registered.report.signature["max_batch_size"] == 8
    assert registered.report.facts["steps"] == [{"step": "s", "model": "fraud", "version": "1"}]


ENSEMBLE = b"""
platform: "ensemble"
max_batch_size: 8
input [ { name: "a" data_type: TYPE_FP32 dims: [2] } ]
output [ { name: "z" data_type: TYPE_FP32 dims: [2] } ]
ensemble_scheduling { step [
  { model_name: "fraud" model_version: 1 input_map { key: "x" value: "a" } output_map { key: "y" value: "z" } }
] }
"""


@pytest.mark.parametrize("path", ["config.pbtxt", "chain/config.pbtxt"])
async def test_an_ensemble_of_triton_is_registered_from_its_configuration_alone(tmp_path: Path, path: str):
    async with kit(tmp_path) as here:
        registered = await here.register(here.archive(tar({path: ENSEMBLE})))

    assert [file.path for file in registered.manifest.files] == ["config.pbtxt"]
    assert registered.report.signature["max_batch_size"] == 8
    assert registered.report.facts["steps"] == [{"step": "fraud", "model": "fraud", "version": "1"}]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"graph.toml": GRAPH.replace(b"s.y", b"nobody.y")}, "there is no step 'nobody'"),
        ({"graph.toml": GRAPH} | GOOD, "a graph or a model"),
        ({"config.pbtxt": ENSEMBLE} | GOOD, "a graph or a model"),
        ({"config.pbtxt": ENSEMBLE.replace(b'value: "a"', b'value: "b"')}, r"step\[0\] \(fraud\).input_map\[x\]: reads tensor 'b'"),
        ({"a/config.pbtxt": ENSEMBLE, "b/config.pbtxt": ENSEMBLE}, "send one model at a time"),
        ({"config.pbtxt": b"max_batch_size: 8"}, "there is no ONNX model"),
    ],
)
async def test_a_graph_that_could_not_run_is_refused_and_leaves_nothing(tmp_path: Path, files: dict[str, bytes], told: str):
    async with kit(tmp_path) as here:
        with pytest.raises(InvalidInput, match=told):
            await here.register(here.archive(tar(files)))
        assert await here.leftovers() == []


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        ({"step": "s", "model": "fraud", "version": "1"}, ""),
        ({"step": "s", "model": "fraud", "version": ""}, ""),
        ({"step": "s", "model": "fraud", "version": "champion"}, ""),
        ({"step": "s", "model": "fraud", "version": "2"}, r"step 's' \(fraud@2\)"),
        ({"step": "s", "model": "fraud", "version": "failed"}, r"step 's' \(fraud@failed\)"),
        ({"step": "s", "model": "absent", "version": ""}, r"step 's' \(absent\)"),
    ],
)
async def test_a_graph_is_deployed_when_its_steps_are_registered(stand: Stand, step: dict[str, str], missing: str):
    await stand.registered("fraud", "1", "failed")
    await stand.registry.withdraw("fraud", "failed", VersionState.FAILED, ANN)
    await stand.registry.set_alias("fraud", "champion", "1", ANN)
    await stand.registry.register(Version(model="graph", version="1", digest=DIGEST, metadata={"steps": [step]}), Description(), ANN)
    wanted = DeploymentSpec(model="graph", version="1")

    if not missing:
        assert (await stand.deployments.create(wanted, ANN)).value.version == "1"
        return
    with pytest.raises(Conflict, match=missing) as refused:
        await stand.deployments.create(wanted, ANN)

    assert refused.value.reason == "STEP_NOT_REGISTERED"
