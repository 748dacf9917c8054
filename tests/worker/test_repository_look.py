"""A look at a repository finds what is meant and skips or refuses what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.worker.repository_look import MAX_DEPTH, is_unchanged, look_at_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refusal_of(repository: Path, model: str = "m", version: str = "1") -> str:
    return look_at_repository(repository).models[model].versions[version].refusal


def test_versions_are_ordered_as_numbers_and_semantic_versions(repository: Path):
    for version in ("10", "9", "v1.10", "v1.9"):
        put(repository / "m" / version / "model.onnx")

    assert list(look_at_repository(repository).models["m"].versions) == ["v1.9", "v1.10", "9", "10"]


def test_a_version_consists_of_its_files_and_those_beside_the_versions(repository: Path):
    for path in ("config.pbtxt", "labels.txt", "warmup/x", "README.md", "1/model.onnx", "1/deep/weights", "2/model.onnx"):
        put(repository / "m" / path)

    artefact = look_at_repository(repository).models["m"].versions["1"]

    assert [mark.path for mark in artefact.files] == ["1/deep/weights", "1/model.onnx", "config.pbtxt", "labels.txt", "warmup/x"]
    assert artefact.folder == repository / "m" / "1"
    assert artefact.refusal == ""


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("stray.onnx", "not a folder"),
        (".hidden/1/model.onnx", "hidden"),
        ("m.tmp/1/model.onnx", "temporary"),
        ("bad name/1/model.onnx", "not valid"),
        ("m/bad version/model.onnx", "not valid"),
        ("m/3.part/model.onnx", "temporary"),
        ("m/latest/model.onnx", "'latest' always means the newest version"),
        ("nothing/config.pbtxt", "no version folder"),
    ],
)
def test_unusual_entries_are_skipped_with_their_reason(repository: Path, path: str, reason: str):
    put(repository / path)
    put(repository / "good" / "1" / "model.onnx")

    look = look_at_repository(repository)

    assert list(look.models) == ["good"]
    assert any(reason in why for why in look.skipped.values())


def test_an_empty_version_folder_is_skipped_as_a_copy_that_has_just_begun(repository: Path):
    put(repository / "m" / "1" / "model.onnx")
    (repository / "m" / "2").mkdir()

    look = look_at_repository(repository)

    assert list(look.models["m"].versions) == ["1"]
    assert "copied" in look.skipped[str(repository / "m" / "2")]


def test_an_empty_version_folder_of_an_ensemble_is_a_version(tmp_path: Path):
    for name, text in {"chain": 'platform: "ensemble"', "net": 'name: "net"'}.items():
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(text)

    look = look_at_repository(tmp_path)

    assert [mark.path for mark in look.models["chain"].versions["1"].files] == ["config.pbtxt"]
    assert look.skipped[str(tmp_path / "net" / "1")] == "empty, as if it were still being copied"


def test_a_link_inside_the_repository_is_followed(repository: Path):
    put(repository / "store" / ".objects" / "a", b"model")
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "1" / "model.onnx").symlink_to(repository / "store" / ".objects" / "a")

    artefact = look_at_repository(repository).models["m"].versions["1"]

    assert (artefact.refusal, artefact.files[0].size) == ("", 5)


@pytest.mark.parametrize("target", ["outside", "missing", "model.onnx"])
def test_a_link_that_leads_outside_or_nowhere_is_refused(repository: Path, tmp_path: Path, target: str):
    put(tmp_path / "outside")
    (repository / "m" / "1").mkdir(parents=True)
    link = repository / "m" / "1" / "model.onnx"
    link.symlink_to(link if target == "model.onnx" else tmp_path / target)

    assert "model.onnx" in refusal_of(repository)


@pytest.mark.parametrize("place", ["m", "m/1"])
def test_a_folder_that_links_outside_is_skipped(repository: Path, tmp_path: Path, place: str):
    put(tmp_path / "outside" / "1" / "model.onnx")
    put(repository / "m" / "2" / "model.onnx") if place == "m/1" else None
    (repository / place).symlink_to(tmp_path / "outside" / ("1" if place == "m/1" else ""))

    look = look_at_repository(repository)

    assert look.skipped[str(repository / place)] == "links out of the repository"


def test_a_hard_link_with_a_name_outside_is_refused_even_behind_a_symbolic_link_inside(repository: Path, tmp_path: Path):
    (repository / "m" / "1").mkdir(parents=True)
    os.link(put(tmp_path / "secret"), repository / "m" / "1" / "model.onnx")
    (repository / "m" / "1" / "again").symlink_to(repository / "m" / "1" / "model.onnx")

    assert "hard link" in refusal_of(repository)


def test_hard_links_among_versions_of_one_repository_are_accepted(repository: Path):
    one = put(repository / "m" / "1" / "model.onnx")
    (repository / "m" / "2").mkdir()
    os.link(one, repository / "m" / "2" / "model.onnx")

    assert refusal_of(repository) == refusal_of(repository, version="2") == ""


def test_a_pipe_is_refused_and_never_opened(repository: Path):
    (repository / "m" / "1").mkdir(parents=True)
    os.mkfifo(repository / "m" / "1" / "model.onnx")

    assert "not a regular file" in refusal_of(repository)


def test_folders_nested_without_end_are_refused(repository: Path):
    put(repository.joinpath("m", "1", *("d" for _ in range(MAX_DEPTH + 2)), "file"))

    assert "nested deeper" in refusal_of(repository)


def test_a_repository_that_cannot_be_listed_is_an_error_and_not_an_empty_one(repository: Path):
    with pytest.raises(FileNotFoundError):
        look_at_repository(repository / "gone")


def test_equal_files_make_equal_artefacts_and_a_rewrite_makes_another(repository: Path):
    path = put(repository / "m" / "1" / "model.onnx")
    first = look_at_repository(repository).models["m"].versions["1"]
    second = look_at_repository(repository).models["m"].versions["1"]
    was_unchanged = is_unchanged(first)

    path.write_bytes(b"longer")

    assert first == second
    assert was_unchanged
    assert not is_unchanged(first)
    assert look_at_repository(repository).models["m"].versions["1"] != first
