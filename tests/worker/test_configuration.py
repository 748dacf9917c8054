"""The most specific configuration counts, and a wrong one names its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.errors import InvalidInput
from services.worker.artefacts import Artefact
from services.worker.configuration import configuration_of, model_configuration_of, shared_marks
from services.worker.repository_look import look_at_repository
from tests.worker.folders import put


def artefact_of(repository: Path) -> Artefact:
    return look_at_repository(repository).models["m"].versions["1"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    put(tmp_path / "m" / "1" / "model.onnx")
    return tmp_path


def test_without_any_file_nothing_is_said(repository: Path):
    config = configuration_of(artefact_of(repository))

    assert (config.name, config.max_batch_size, config.inputs) == ("m", None, ())


def test_tritons_file_is_read_as_it_is(repository: Path):
    put(repository / "m" / "config.pbtxt", 'name: "m" max_batch_size: 4 version_policy { all {} }')

    assert configuration_of(artefact_of(repository)).max_batch_size == 4


def test_a_versions_own_file_counts_before_the_models_and_json_before_both(repository: Path):
    put(repository / "m" / "model.toml", "max_batch_size = 4")
    put(repository / "m" / "1" / "model.toml", "max_batch_size = 8")
    artefact = artefact_of(repository)

    assert configuration_of(artefact).max_batch_size == 8
    assert configuration_of(artefact, '{"max_batch_size": 16}').max_batch_size == 16
    assert model_configuration_of(artefact).max_batch_size == 4


def test_two_configurations_beside_the_versions_are_refused(repository: Path):
    put(repository / "m" / "model.toml", "max_batch_size = 4")
    put(repository / "m" / "config.pbtxt", "max_batch_size: 4")

    with pytest.raises(InvalidInput, match=r"m has both config\.pbtxt and model\.toml"):
        configuration_of(artefact_of(repository))


def test_a_configuration_for_another_model_is_refused(repository: Path):
    put(repository / "m" / "config.pbtxt", 'name: "other"')

    with pytest.raises(InvalidInput, match="named 'other', but the folder is 'm'"):
        configuration_of(artefact_of(repository))


@pytest.mark.parametrize(("name", "text"), [("config.pbtxt", 'name: "m" max_batch_size: 3'), ("model.toml", "max_batch_size = 3")])
def test_a_byte_order_mark_before_a_configuration_is_read_over(repository: Path, name: str, text: str):
    put(repository / "m" / name, b"\xef\xbb\xbf" + text.encode())

    assert configuration_of(artefact_of(repository)).max_batch_size == 3


def test_bytes_that_are_no_text_are_refused_with_their_place(repository: Path):
    put(repository / "m" / "model.toml", b"max\xff")

    with pytest.raises(InvalidInput, match=r"model\.toml is not UTF-8 text \(byte 3\)"):
        configuration_of(artefact_of(repository))


def test_only_the_shared_configuration_decides_about_the_policy(repository: Path):
    put(repository / "m" / "model.toml", "max_batch_size = 4")
    put(repository / "m" / "1" / "model.toml", "max_batch_size = 8")

    assert [mark.path for mark in shared_marks(artefact_of(repository))] == ["model.toml"]
