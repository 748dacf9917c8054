import pytest

from penstock.contracts.errors import InvalidInput
from services.router.load_order import check_unload, load_order


def test_without_parameters_the_folder_decides():
    order = load_order("digits", {})

    assert (order.model, order.config_json, dict(order.files), order.has_overrides) == ("digits", "", {}, False)


def test_configuration_and_files_are_taken():
    order = load_order("digits", {"config": '{"max_batch_size": 4}', "file:1/model.onnx": b"onnx", "file:v2.1/a/b.bin": b""})

    assert order.config_json == '{"max_batch_size": 4}'
    assert dict(order.files) == {"1/model.onnx": b"onnx", "v2.1/a/b.bin": b""}
    assert order.has_overrides


@pytest.mark.parametrize(
    "name",
    [
        "file:",
        "file:model.onnx",
        "file:/1/model.onnx",
        "file:1/",
        "file:1//model.onnx",
        "file:../model.onnx",
        "file:1/../../etc/passwd",
        "file:1/..",
        "file:1/a..b",
        "file:1/.hidden",
        "file:1/a\\b",
        "file:1/a\0b",
        "file:1/é.onnx",
        "file:-1/model.onnx",
        "file:1/a/b/c/d/e",
        "file:1/" + "x" * 255,
        "files:1/model.onnx",
        "unload_dependents",
        "",
    ],
)
def test_a_name_that_could_leave_the_models_folder_or_means_nothing_is_refused(name: str):
    with pytest.raises(InvalidInput):
        load_order("digits", {name: b"content"})


@pytest.mark.parametrize("value", [b"{}", True, 1, "", "no json", "[1]", "1", '{"a":' * 100_000])
def test_a_configuration_that_is_no_json_object_is_refused(value: str | bytes | bool | int):
    with pytest.raises(InvalidInput):
        load_order("digits", {"config": value})


@pytest.mark.parametrize("value", ["text", True, 1])
def test_a_file_that_is_no_bytes_is_refused(value: str | bool | int):
    with pytest.raises(InvalidInput):
        load_order("digits", {"file:1/model.onnx": value})


@pytest.mark.parametrize("model", ["", "../x", "a/b", "x" * 300, "a\0b"])
def test_a_name_that_no_model_can_have_is_refused(model: str):
    with pytest.raises(InvalidInput):
        load_order(model, {})
    with pytest.raises(InvalidInput):
        check_unload(model, {})


def test_an_unload_takes_dependents_and_nothing_else():
    check_unload("digits", {})
    check_unload("digits", {"unload_dependents": True})
    with pytest.raises(InvalidInput):
        check_unload("digits", {"unload_dependents": "yes"})
    with pytest.raises(InvalidInput):
        check_unload("digits", {"config": "{}"})
