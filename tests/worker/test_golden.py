"""A version answers its golden examples, or is refused with the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import TensorProto

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, LoadFailed
from penstock.contracts.model_config import GoldenExample
from services.worker.golden import check_golden
from tests.worker import models
from tests.worker.folders import put
from tests.worker.trials import trial_of

ROWS = [[1, 2, 3], [4, 5, 6]]


def example(folder: Path, content: object, name: str = "golden.json") -> None:
    put(folder / name, json.dumps(content))


def test_a_version_that_answers_as_expected_passes(tmp_path: Path):
    example(tmp_path, {"inputs": {"x": ROWS}, "outputs": {"sum": [[6], [15]]}})

    assert check_golden(trial_of(models.row_sum()), (), tmp_path) == 1


def test_without_examples_there_is_nothing_to_check(tmp_path: Path):
    assert check_golden(trial_of(models.row_sum()), (), tmp_path) == 0


def test_a_difference_is_refused_with_its_place_and_both_numbers(tmp_path: Path):
    example(tmp_path, {"inputs": {"x": ROWS}, "outputs": {"sum": [[6], [15.5]]}})

    with pytest.raises(LoadFailed, match=r"'golden.json': output 'sum': 1 of 2 numbers differ; worst at \[1, 0\]: 15 instead of 15\.5"):
        check_golden(trial_of(models.row_sum()), (), tmp_path)


def test_tolerances_of_the_file_count_before_those_of_the_configuration(tmp_path: Path):
    example(tmp_path, {"inputs": {"x": ROWS}, "outputs": {"sum": [[6], [15.5]]}, "absolute_tolerance": 1}, "named.json")
    named = GoldenExample(file="named.json", absolute_tolerance=0, relative_tolerance=0)

    assert check_golden(trial_of(models.row_sum()), (named,), tmp_path) == 1


def test_infinity_and_not_a_number_are_expected_where_they_are_said(tmp_path: Path):
    put(tmp_path / "golden.json", '{"inputs": {"x": [[0], [2]]}, "outputs": {"y": [[Infinity], [0.5]]}}')

    assert check_golden(trial_of(models.reciprocal()), (), tmp_path) == 1


def test_texts_are_compared_as_they_are(tmp_path: Path):
    trial = trial_of(models.identity(TensorProto.STRING, 1))
    example(tmp_path, {"inputs": {"x": [["é"], ["b"]]}, "outputs": {"y": [["é"], ["c"]]}})

    with pytest.raises(LoadFailed, match="1 of 2 texts differ; at 1: 'b' instead of 'c'"):
        check_golden(trial, (), tmp_path)


def test_brain_floats_are_compared_as_numbers(tmp_path: Path):
    trial = trial_of(models.identity(TensorProto.BFLOAT16, 1))
    example(tmp_path, {"inputs": {"x": [[1.5]]}, "outputs": {"y": [[1.5]]}})
    assert check_golden(trial, (), tmp_path) == 1
    example(tmp_path, {"inputs": {"x": [[1.5]]}, "outputs": {"y": [[2.5]]}})

    with pytest.raises(LoadFailed, match=r"1\.5 instead of 2\.5"):
        check_golden(trial, (), tmp_path)


def test_a_failing_execution_names_the_example(tmp_path: Path):
    example(tmp_path, {"inputs": {"index": [[99]]}, "outputs": {"y": [[0]]}})

    with pytest.raises(LoadFailed, match=r"golden example 'golden.json' failed: the model's execution failed"):
        check_golden(trial_of(models.poisonable()), (), tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1], "no JSON object"),
        ({"inputs": {"x": ROWS}}, "golden example 'golden.json' needs an object 'outputs'"),
        ({"inputs": {"z": ROWS}, "outputs": {"sum": [[1]]}}, "golden example 'golden.json': it names 'z'; the model has x"),
        ({"inputs": {"x": ROWS}, "outputs": {"z": [[1]]}}, "golden example 'golden.json': unknown output 'z'; the model gives: sum"),
        ({"inputs": {"x": [[1, 2]]}, "outputs": {"sum": [[1]]}}, "golden example 'golden.json': input 'x' expects shape"),
        ({"inputs": {"x": [[1, 2], [3]]}, "outputs": {"sum": [[1]]}}, "golden example 'golden.json': 'x' is no FP32 array"),
        (
            {"inputs": {"x": ROWS}, "outputs": {"sum": [[1]]}, "absolute_tolerance": "wide"},
            "absolute_tolerance must be a number of 0 or more",
        ),
        (
            {"inputs": {"x": ROWS}, "outputs": {"sum": [[1]]}, "relative_tolerance": None},
            "relative_tolerance must be a number of 0 or more",
        ),
        ({"inputs": {"x": ROWS}, "outputs": {"sum": [[1]]}, "relative_tolerance": -1}, "relative_tolerance must be a number of 0 or more"),
    ],
)
def test_an_example_that_does_not_fit_the_model_is_refused_as_what_it_is(tmp_path: Path, content: object, reason: str):
    example(tmp_path, content)

    with pytest.raises(InvalidInput, match=reason):
        check_golden(trial_of(models.row_sum()), (), tmp_path)


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactCorrupt, match=r"'gone\.json' cannot be read"):
        check_golden(trial_of(models.row_sum()), (GoldenExample(file="gone.json"),), tmp_path)
