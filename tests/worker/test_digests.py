"""The digest of a version is that of its content, whatever it is called, and each content is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.errors import ArtifactCorrupt
from services.worker.artefacts import Artefact
from services.worker.digests import Digests
from services.worker.repository_look import look_at_repository


def put(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def artefact_of(repository: Path, version: str = "1") -> Artefact:
    return look_at_repository(repository).models["m"].versions[version]


def test_equal_files_under_two_version_names_have_one_digest(tmp_path: Path):
    for version in ("1", "2"):
        put(tmp_path / "m" / version / "model.onnx", b"same")

    assert Digests().digest(artefact_of(tmp_path)) == Digests().digest(artefact_of(tmp_path, "2"))


@pytest.mark.parametrize("path", ["1/model.onnx", "1/tokenizer.json", "config.pbtxt"])
def test_every_file_that_belongs_to_a_version_changes_its_digest(tmp_path: Path, path: str):
    put(tmp_path / "m" / "1" / "model.onnx")
    before = Digests().digest(artefact_of(tmp_path))

    put(tmp_path / "m" / path, b"other")

    assert Digests().digest(artefact_of(tmp_path)) != before


def test_another_versions_files_change_nothing(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx")
    before = Digests().digest(artefact_of(tmp_path))

    put(tmp_path / "m" / "2" / "model.onnx")

    assert Digests().digest(artefact_of(tmp_path)) == before


def test_a_configuration_that_replaces_the_folders_is_part_of_the_digest(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx")
    digests = Digests()

    assert len({digests.digest(artefact_of(tmp_path), text) for text in ("", "{}", '{"name": "m"}')}) == 3


def test_a_content_is_read_once_however_often_it_is_asked_for(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx")
    digests, artefact = Digests(), artefact_of(tmp_path)
    first = digests.digest(artefact)

    (tmp_path / "m" / "1" / "model.onnx").unlink()

    assert digests.digest(artefact) == first


def test_a_file_that_changed_since_it_was_looked_at_is_refused(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx")
    artefact = artefact_of(tmp_path)

    put(tmp_path / "m" / "1" / "model.onnx", b"longer")

    with pytest.raises(ArtifactCorrupt, match=r"m@1: 1/model\.onnx changed while it was read"):
        Digests().digest(artefact)


def test_a_file_that_is_gone_is_refused(tmp_path: Path):
    put(tmp_path / "m" / "1" / "model.onnx")
    artefact = artefact_of(tmp_path)

    (tmp_path / "m" / "1" / "model.onnx").unlink()

    with pytest.raises(ArtifactCorrupt, match="cannot be read: No such file"):
        Digests().digest(artefact)
