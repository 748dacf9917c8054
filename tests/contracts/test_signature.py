"""Requests against signatures."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import GivenInput, Signature, TensorSpec, check_inputs, check_outputs
from penstock.contracts.tensors import DataType

TWO = Signature(
    inputs=(
        TensorSpec(name="a", datatype=DataType.FP32, shape=(-1, 3)),
        TensorSpec(name="b", datatype=DataType.INT64, shape=(-1, -1), symbols=("", "n")),
        TensorSpec(name="c", datatype=DataType.INT64, shape=(-1, -1), symbols=("", "n"), optional=True),
    ),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1,)), TensorSpec(name="z", datatype=DataType.FP32, shape=(-1,))),
    max_batch_size=4,
)
A = GivenInput(name="a", datatype="FP32", shape=(2, 3))
B = GivenInput(name="b", datatype="INT64", shape=(2, 5))


def test_inputs_may_come_in_any_order_and_optional_ones_may_stay_away():
    assert check_inputs(TWO, [B, A]) == ((1, 0), 2)


def test_a_model_without_a_batch_dimension_has_one_row():
    scalar = Signature(inputs=(TensorSpec(name="a", datatype=DataType.FP32, shape=()),), outputs=())

    assert check_inputs(scalar, [GivenInput(name="a", datatype="FP32", shape=())]) == ((0,), 1)


def test_zero_rows_are_valid():
    given = [GivenInput(name="a", datatype="FP32", shape=(0, 3)), GivenInput(name="b", datatype="INT64", shape=(0, 5))]

    assert check_inputs(TWO, given) == ((0, 1), 0)


@pytest.mark.parametrize(
    ("given", "reason", "says"),
    [
        ([], "MISSING_INPUT", "'a', 'b'"),
        ([A], "MISSING_INPUT", "'b'"),
        ([A, B, GivenInput(name="d", datatype="FP32", shape=(2, 3))], "UNKNOWN_INPUT", "'d'"),
        ([A, A, B], "DUPLICATE_INPUT", "'a'"),
        ([GivenInput(name="", datatype="FP32", shape=(2, 3)), B], "UNKNOWN_INPUT", "Expected: a FP32[-1,3]"),
        ([GivenInput(name="x" * 10_000, datatype="FP32", shape=(2, 3)), B], "UNKNOWN_INPUT", "…"),
        ([GivenInput(name="a", datatype="INT64", shape=(2, 3)), B], "DTYPE_MISMATCH", "expects FP32"),
        ([GivenInput(name="a", datatype="fp32", shape=(2, 3)), B], "DTYPE_MISMATCH", "expects FP32"),
        ([GivenInput(name="a", datatype="FP32", shape=(2, 3, 1)), B], "SHAPE_MISMATCH", "[2, 3, 1]"),
        ([GivenInput(name="a", datatype="FP32", shape=(3,)), B], "SHAPE_MISMATCH", "[-1, 3]"),
        ([GivenInput(name="a", datatype="FP32", shape=(1,) * 1000), B], "SHAPE_MISMATCH", "…"),
        ([GivenInput(name="a", datatype="FP32", shape=(2, 4)), B], "SHAPE_MISMATCH", "[2, 4]"),
        ([GivenInput(name="a", datatype="FP32", shape=(2, 0)), B], "SHAPE_MISMATCH", "[2, 0]"),
        ([GivenInput(name="a", datatype="FP32", shape=(-2, 3)), B], "SHAPE_MISMATCH", "negative"),
        ([A, GivenInput(name="b", datatype="INT64", shape=(2, -5))], "SHAPE_MISMATCH", "negative"),
        ([A, GivenInput(name="b", datatype="INT64", shape=(1, 5))], "SHAPE_MISMATCH", "2 rows"),
        ([A, B, GivenInput(name="c", datatype="INT64", shape=(2, 6))], "SHAPE_MISMATCH", "'n' is 5"),
        (
            [GivenInput(name="a", datatype="FP32", shape=(5, 3)), GivenInput(name="b", datatype="INT64", shape=(5, 5))],
            "BATCH_TOO_LARGE",
            "max_batch_size 4",
        ),
    ],
)
def test_what_breaks_the_signature_is_named(given: list[GivenInput], reason: str, says: str):
    with pytest.raises(InvalidInput) as refused:
        check_inputs(TWO, given)

    assert refused.value.reason == reason
    assert says in refused.value.message
    assert len(refused.value.message) <= 512


def test_no_requested_output_means_all():
    assert check_outputs(TWO, []) == (0, 1)
    assert check_outputs(TWO, ["z"]) == (1,)


@pytest.mark.parametrize(
    ("names", "reason"), [(["q"], "UNKNOWN_OUTPUT"), (["y", "y"], "DUPLICATE_OUTPUT"), (["y"] * 10_000, "UNKNOWN_OUTPUT")]
)
def test_requested_outputs_must_exist_once(names: list[str], reason: str):
    with pytest.raises(InvalidInput) as refused:
        check_outputs(TWO, names)

    assert refused.value.reason == reason


def test_names_of_a_signature_are_unique():
    with pytest.raises(InvalidInput):
        Signature(inputs=(TWO.inputs[0], TWO.inputs[0]), outputs=())
