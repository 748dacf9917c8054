"""A version is refused before it is opened when its files could make ONNX Runtime do what nobody asked for."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed, ServingError
from services.worker.digests import Digests
from services.worker.inspection import Inspected, inspect
from services.worker.reconciliation import Offer
from services.worker.repository_look import look_at_repository
from tests.worker import models
from tests.worker.folders import put


def inspected(repository: Path, *, config_json: str = "") -> Inspected:
    artefact = look_at_repository(repository).models["m"].versions["1"]
    return inspect(Offer(artefact=artefact, config_json=config_json), Digests())


def with_external(location: str) -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        weights.external_data.add(key=key, value=value)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], initializer=[weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def test_a_sound_version_passes_with_its_digest_and_an_estimate(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx", models.dense())

    found = inspected(tmp_path)

    assert (found.model_file.name, len(found.digest)) == ("model.onnx", 64)
    assert found.estimated_bytes > found.model_file.stat().st_size


def test_external_data_beside_the_model_passes_and_counts_for_the_estimate(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx", with_external("weights"))
    put(tmp_path / "m" / "1" / "weights", bytes(8))
    before = inspected(tmp_path).estimated_bytes

    put(tmp_path / "m" / "1" / "weights", bytes(1 << 20))

    assert inspected(tmp_path).estimated_bytes > before + (1 << 20)


@pytest.mark.parametrize("location", ["../weights", "/etc/passwd", "sub/weights", "..", "", "a\\b", "https://host/x", "C:\\x"])
def test_external_data_that_is_no_plain_name_is_refused(tmp_path: Path, location: str):
    put(tmp_path / "m" / "1" / "model.onnx", with_external(location))

    with pytest.raises(LoadFailed, match="is not a plain file name"):
        inspected(tmp_path)


@pytest.mark.parametrize("make", [os.link, os.symlink])
def test_external_data_behind_a_link_is_refused_even_inside_the_repository(tmp_path: Path, make: object):
    put(tmp_path / "m" / "1" / "model.onnx", with_external("weights"))
    target = put(tmp_path / "m" / "1" / "other", bytes(8))
    make(target, tmp_path / "m" / "1" / "weights")  # type: ignore[operator]

    with pytest.raises(LoadFailed, match="is a link or no regular file"):
        inspected(tmp_path)


@pytest.mark.parametrize("location", [".weights", "weights.part", "weights~"])
def test_external_data_that_looks_do_not_see_is_refused(tmp_path: Path, location: str):
    put(tmp_path / "m" / "1" / "model.onnx", with_external(location))
    put(tmp_path / "m" / "1" / location, bytes(8))

    with pytest.raises(LoadFailed, match=f"'{location}' has the name of a hidden or unfinished file"):
        inspected(tmp_path)


def test_missing_external_data_is_refused(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx", with_external("weights"))

    with pytest.raises(LoadFailed, match="'weights' is missing"):
        inspected(tmp_path)


def test_custom_operators_are_refused_by_name(tmp_path: Path):
    graph = helper.make_graph([helper.make_node("Evil", ["x"], ["y"], domain="com.evil")], "g", [], [])
    put(tmp_path / "m" / "1" / "model.onnx", onnx.ModelProto(graph=graph).SerializeToString())

    with pytest.raises(LoadFailed, match=r"custom operators \(com\.evil::Evil\)"):
        inspected(tmp_path)


def test_a_missing_model_names_what_was_found_instead(tmp_path: Path):
    put(tmp_path / "m" / "1" / "network.onnx", models.dense())

    with pytest.raises(LoadFailed, match=r"has no model\.onnx; found 1/network\.onnx: rename it, or set default_model_filename"):
        inspected(tmp_path)
    assert inspected(tmp_path, config_json='{"default_model_filename": "network.onnx"}').model_file.name == "network.onnx"


def test_a_refused_version_is_not_opened(tmp_path: Path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "m" / "1" / "model.onnx")

    with pytest.raises(LoadFailed, match=r"1/model\.onnx is not a regular file"):
        inspected(tmp_path)


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [("1/model.onnx", b"\xff\xff", ArtifactCorrupt), ("1/model.onnx", b"", ArtifactCorrupt), ("config.pbtxt", b"max_batch", InvalidInput)],
)
def test_unreadable_files_are_refused_by_kind(tmp_path: Path, path: str, content: bytes, kind: type[ServingError]):
    put(tmp_path / "m" / "1" / "model.onnx", models.dense())
    put(tmp_path / "m" / path, content)

    with pytest.raises(kind):
        inspected(tmp_path)
