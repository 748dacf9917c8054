"""Feature columns: compared in their order when a version is deployed."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import Conflict, InvalidInput
from penstock.contracts.feature_schema import FeatureColumn, FeatureSchema, check_offered, check_signature
from penstock.contracts.model_config import from_toml
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.status import GrpcCode
from penstock.contracts.tensors import DataType


def column(name: str, datatype: DataType = DataType.FP32, unit: str = "") -> FeatureColumn:
    return FeatureColumn(name=name, datatype=datatype, unit=unit)


def schema(*columns: FeatureColumn, view: str = "") -> FeatureSchema:
    return FeatureSchema(columns=columns, view=view)


AGE, INCOME = column("age", DataType.INT64, "year"), column("income", unit="EUR")
EXPECTED = schema(AGE, INCOME, view="customers")


def test_the_same_columns_are_taken_from_wherever_they_come():
    check_offered(EXPECTED, schema(AGE, INCOME, view="elsewhere"))

    assert EXPECTED.hash == schema(AGE, INCOME).hash


@pytest.mark.parametrize(
    ("offered", "says"),
    [
        (schema(INCOME, AGE), "column 0 .* it is column 1 there"),
        (schema(AGE, column("income", unit="USD")), "income FP32 USD"),
        (schema(column("age", DataType.INT32, "year"), INCOME), "age INT32"),
        (schema(AGE, column("wage", unit="EUR")), "it is not there"),
        (schema(AGE), "2 columns are expected, 1 are offered"),
        (schema(AGE, INCOME, column("more")), "3 are offered"),
    ],
    ids=["order", "unit", "type", "name", "fewer", "more"],
)
def test_other_columns_are_a_failed_precondition_that_names_the_difference(offered: FeatureSchema, says: str):
    with pytest.raises(Conflict, match=says) as caught:
        check_offered(EXPECTED, offered)

    assert caught.value.reason == "FEATURE_SCHEMA_MISMATCH"
    assert (caught.value.status.grpc, caught.value.status.http) == (GrpcCode.FAILED_PRECONDITION, 409)
    assert offered.hash != EXPECTED.hash


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs=inputs, outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 1)),), max_batch_size=4)


def spec(name: str, datatype: DataType = DataType.FP32, width: int = 1) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1, width))


@pytest.mark.parametrize("inputs", [[spec("x", width=2)], [spec("x", width=-1)], [spec("income"), spec("age", DataType.INT64)]])
def test_columns_fit_one_row_or_an_input_each(inputs: list[TensorSpec]):
    check_signature(EXPECTED, signature(*inputs))


@pytest.mark.parametrize(
    "inputs",
    [[spec("x", width=3)], [spec("x", DataType.BYTES, 2)], [spec("income"), spec("age")], [spec("a"), spec("b")], [spec("age"), spec("x")]],
    ids=["width", "texts", "type", "names", "one name"],
)
def test_columns_that_the_inputs_contradict_are_refused(inputs: list[TensorSpec]):
    with pytest.raises(Conflict) as caught:
        check_signature(EXPECTED, signature(*inputs))

    assert caught.value.reason == "FEATURE_SCHEMA_MISMATCH"


@pytest.mark.parametrize(
    "text",
    [
        "[features]",
        "[features]\ncolumns = []",
        '[features]\ncolumns = [{ name = "a" }]',
        '[features]\ncolumns = [{ name = "a", data_type = "float" }]',
        '[features]\ncolumns = [{ name = "", data_type = "FP32" }]',
        '[features]\ncolumns = [{ name = "a", data_type = "FP32" }, { name = "a", data_type = "FP32" }]',
        '[features]\ncolumns = [{ name = "a", data_type = "FP32", units = "m" }]',
        '[features]\ncolumns = [{ name = "a\\n", data_type = "FP32" }]',
        "features = 1",
    ],
)
def test_a_table_that_names_no_columns_is_refused(text: str):
    with pytest.raises(InvalidInput) as caught:
        from_toml(text)

    assert (caught.value.field or "").startswith("features")


def test_a_table_is_read():
    text = '[features]\nview = "customers"\ncolumns = [{ name = "age", data_type = "INT64", unit = "year" }, { name = "income", '
    read = from_toml(text + 'data_type = "FP32", unit = "EUR" }]').features

    assert read == EXPECTED
