"""ONNX Runtime behind the session port."""

from __future__ import annotations

import threading
import warnings
from time import monotonic

import numpy as np
import pytest
from onnx import TensorProto, helper

from penstock.contracts.errors import ExecutionFailed, LoadFailed
from penstock.contracts.tensors import DataType, bf16_to_fp32, fp32_to_bf16
from services.worker.onnx_session import open_session, session_options
from services.worker.providers import PROBE_MODEL, capable_providers, passes_probe, provider_list
from services.worker.session import Provider, SessionConfig, Terminated
from tests.worker import models

CONFIG = SessionConfig()

TYPES = {
    DataType.BOOL: TensorProto.BOOL,
    DataType.UINT8: TensorProto.UINT8,
    DataType.UINT16: TensorProto.UINT16,
    DataType.UINT32: TensorProto.UINT32,
    DataType.UINT64: TensorProto.UINT64,
    DataType.INT8: TensorProto.INT8,
    DataType.INT16: TensorProto.INT16,
    DataType.INT32: TensorProto.INT32,
    DataType.INT64: TensorProto.INT64,
    DataType.FP16: TensorProto.FLOAT16,
    DataType.BF16: TensorProto.BFLOAT16,
    DataType.FP32: TensorProto.FLOAT,
    DataType.FP64: TensorProto.DOUBLE,
}


@pytest.mark.parametrize("datatype", TYPES)
def test_every_number_type_goes_in_and_comes_out(datatype):
    session = open_session(models.identity(TYPES[datatype]), CONFIG)
    values = np.array([[1, 0], [0, 1], [1, 1]]).astype(datatype.dtype)

    (output,) = session.run({"x": values}, ["y"])

    assert output.dtype == datatype.dtype
    assert (output == values).all()


def test_a_scalar_of_bfloat16_stays_one():
    session = open_session(models.scalar(TensorProto.BFLOAT16), CONFIG)

    (output,) = session.run({"x": fp32_to_bf16(np.array(1.5, np.float32))}, ["y"])

    assert output.shape == ()
    assert bf16_to_fp32(output).tolist() == 1.5


def test_bfloat16_keeps_its_bits_next_to_other_types():
    bits = fp32_to_bf16(np.float32([[1.5, -2.0]]))
    session = open_session(models.identity(TensorProto.BFLOAT16), CONFIG)

    (output,) = session.run({"x": bits}, ["y"], session.new_handle())
    (nothing,) = session.run({"x": bits[:0]}, ["y"])

    assert bf16_to_fp32(output).tolist() == [[1.5, -2.0]]
    assert nothing.shape == (0, 2)


def test_strings_go_in_and_come_out():
    session = open_session(models.echo_bytes(), CONFIG)

    (output,) = session.run({"x": np.array([["häuser"], [""], ["a\0b"]], dtype=object)}, ["y"])

    assert output.tolist() == [["häuser"], [""], ["a\0b"]]


def test_outputs_come_in_the_order_asked_for():
    session = open_session(models.two_inputs(), CONFIG)
    feeds = {"left": np.float32([[5, 5]]), "right": np.float32([[1, 2]])}

    difference, total = session.run(feeds, ["difference", "total"])

    assert difference.tolist() == [[4, 3]]
    assert total.tolist() == [[6, 7]]


def test_a_failing_execution_says_nothing_of_the_runtime_s_text():
    session = open_session(models.poisonable(), CONFIG)

    with pytest.raises(ExecutionFailed) as caught:
        session.run({"index": np.int64([[99]])}, ["y"])

    assert "ONNXRuntimeError" not in caught.value.message
    assert "idx" in str(caught.value.__cause__)


def test_an_endless_loop_stops_at_its_brake_and_the_session_goes_on():
    session = open_session(models.looping(), CONFIG)
    handle = session.new_handle()
    timer = threading.Timer(0.05, handle.terminate)
    timer.start()
    begun = monotonic()

    with pytest.raises(Terminated):
        session.run({"x": np.float32([[-1]])}, ["y"], handle)

    timer.join()
    assert monotonic() - begun < 20.0
    assert handle.is_terminated
    assert session.run({"x": np.float32([[3]])}, ["y"], session.new_handle())[0].tolist() == [[3]]


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nonsense")

    with pytest.raises(LoadFailed) as caught:
        open_session(path, CONFIG)
    assert str(tmp_path) not in caught.value.message

    with pytest.raises(LoadFailed):
        open_session(tmp_path / "missing.onnx", CONFIG)


def test_a_model_is_opened_from_its_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.row_sum())

    assert open_session(path, CONFIG).run({"x": np.ones((1, 3), np.float32)}, ["sum"])[0].tolist() == [[3]]


def test_settings_reach_the_runtime():
    options = session_options(SessionConfig(intra_op_threads=3, inter_op_threads=2, allow_spinning=True, use_memory_arena=False))
    default = session_options(SessionConfig())

    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.enable_cpu_mem_arena) == (3, 2, False)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert default.intra_op_num_threads == 1
    assert default.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# Providers.


def test_the_probe_is_the_model_that_its_docstring_says():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "probe", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    model.producer_name = ""

    assert model.SerializeToString() == PROBE_MODEL


def test_the_cpu_is_always_capable_and_comes_last():
    assert capable_providers()[-1] is Provider.CPU
    assert passes_probe(Provider.CPU)


def test_a_provider_that_leaves_the_probe_to_another_one_is_not_capable():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime warns that it falls back

        assert not passes_probe(Provider.TENSORRT)


def test_a_provider_that_is_not_there_means_the_cpu_and_no_crash():
    session = open_session(models.row_sum(), CONFIG, [Provider.TENSORRT, Provider.CUDA])

    assert session.provider == "CPUExecutionProvider"
    assert session.run({"x": np.ones((1, 3), np.float32)}, ["sum"])[0].tolist() == [[3]]


def test_options_go_to_their_provider_with_the_cpu_behind_it():
    config = SessionConfig(device_id=1, provider_options={"CUDAExecutionProvider": {"gpu_mem_limit": 5}})

    assert provider_list(Provider.CUDA, config) == [
        ("CUDAExecutionProvider", {"device_id": 1, "gpu_mem_limit": 5}),
        ("CPUExecutionProvider", {}),
    ]
