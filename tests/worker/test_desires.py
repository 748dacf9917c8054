"""What is wanted is the folder with the overrides on top, and nothing is concluded from what cannot be read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.contracts.model_config_scheduling import All, Latest
from services.worker.desired_state import Observation
from services.worker.desires import Desires
from services.worker.overrides import Override
from services.worker.settling import Settling
from tests.worker.folders import put

LATER = 3600.0
"""Seconds after the files were written, at which they are quiet."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    put(tmp_path / "repository" / "m" / "1" / "model.onnx")
    put(tmp_path / "repository" / "m" / "2" / "model.onnx")
    return tmp_path / "repository"


@pytest.fixture
def desires(repository: Path, tmp_path: Path) -> Desires:
    return Desires(repository, tmp_path / "files", Settling(settle_seconds=0.5))


def observe(desires: Desires, *overrides: Override, now_time: float | None = None) -> Observation:
    by_model: Mapping[str, Override] = {one.model: one for one in overrides}
    return desires.observe(by_model, now=0.0, now_time=time.time() + LATER if now_time is None else now_time)


def test_every_version_of_the_folder_is_offered(desires: Desires):
    assert list(observe(desires).desires["m"].offers) == ["1", "2"]


def test_versions_that_are_still_being_copied_are_unsettled_and_ask_for_another_look_soon(desires: Desires):
    seen = observe(desires, now_time=time.time())

    assert (seen.desires["m"].unsettled, dict(seen.desires["m"].offers), seen.is_waiting) == ({"1", "2"}, {}, True)


def test_an_override_unloads_configures_and_gives_up(desires: Desires):
    wish = Override(
        model="m", revision=3, is_unloaded=True, config_json="{}", failed_versions={"2": "crashed"}, changed_time=time.time() + 1
    )

    seen = observe(desires, wish)

    desire = seen.desires["m"]
    assert (desire.is_unloaded, dict(desire.given_up), seen.revisions) == (True, {"2": "crashed"}, {"m": 3})
    assert (desire.offers["1"].config_json, desire.offers["1"].revision) == ("{}", 3)


def test_a_failed_mark_does_not_outlive_a_change_of_the_versions_files(desires: Desires, repository: Path):
    marked_time = (repository / "m" / "2" / "model.onnx").stat().st_ctime
    mark = Override(model="m", revision=3, failed_versions={"1": "crashed", "2": "crashed"}, changed_time=marked_time)
    while (repository / "m" / "2" / "model.onnx").stat().st_ctime <= marked_time:  # change times advance by the kernel's tick
        put(repository / "m" / "2" / "model.onnx", b"repaired")

    assert observe(desires, mark).desires["m"].given_up == {"1": "crashed"}


def test_files_of_an_override_replace_the_folders_versions(desires: Desires, tmp_path: Path):
    seen = observe(desires, Override(model="m", revision=1, files={"7/model.onnx": b"x"}))

    assert list(seen.desires["m"].offers) == ["7"]
    assert seen.desires["m"].offers["7"].artefact.folder.is_relative_to(tmp_path / "files")


def test_files_of_an_override_make_a_model_that_has_no_folder(desires: Desires):
    assert list(observe(desires, Override(model="new", revision=1, files={"1/model.onnx": b"x"})).desires["new"].offers) == ["1"]


def test_an_override_that_cannot_be_written_leaves_its_model_alone(desires: Desires):
    seen = observe(desires, Override(model="m", revision=1, files={"../escape": b"x"}))

    assert "m" not in seen.desires
    assert "not a path inside" in seen.unreadable["m"]


def test_the_version_policy_is_the_configurations(desires: Desires, repository: Path):
    put(repository / "m" / "config.pbtxt", "version_policy { all {} }")

    assert observe(desires).desires["m"].policy == All()


def test_a_policy_that_names_no_version_that_is_there_is_told_with_the_versions(desires: Desires, repository: Path):
    put(repository / "m" / "config.pbtxt", "version_policy { specific { versions: [7] } }")

    assert observe(desires).skipped == {str(repository / "m"): "version_policy chooses none of its versions: 1, 2"}


def test_an_invalid_configuration_keeps_the_last_valid_policy(desires: Desires, repository: Path):
    assert observe(desires).desires["m"].policy == Latest()
    put(repository / "m" / "config.pbtxt", "version_policy { all {} }")
    observe(desires)

    put(repository / "m" / "config.pbtxt", "version_policy { everything }")

    assert observe(desires).desires["m"].policy == All()


def test_a_repository_that_is_gone_is_an_error_and_no_empty_repository(desires: Desires, repository: Path):
    repository.rename(repository.with_name("elsewhere"))

    with pytest.raises(FileNotFoundError):
        observe(desires)
