"""Every method of tritonclient.grpc.aio.

    python triton_grpc_aio.py HOST:PORT MODEL.onnx

MODEL.onnx multiplies `input_node` FP32[-1, 3] by a number into `output_node`.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import tritonclient.grpc.aio as aioclient
from tritonclient.grpc.auth import BasicAuth
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

CONFIG = {"name": "uploaded_grpc_aio", "max_batch_size": 4}
ROW = np.array([[1.5, -2.0, 0.25]], dtype=np.float32)
SAMPLES = {
    "bool": np.array([[True, False]]),
    "int64": np.array([[2**63 - 1, -(2**63)]]),
    "fp16": np.array([[0.5, 65504.0]], np.float16),
    "bf16": np.array([[0.5, 3e38]], ml_dtypes.bfloat16),
    "bytes": np.array([["größer", ""]], dtype=object),
    "fp32": np.empty((2, 0), dtype=np.float32),
}
MINUTES = np.array([[200_000_000]], dtype=np.int64)
"""Turns of the model `slow` that would take minutes."""


async def health(client):
    """Liveness, readiness, of models and versions too."""
    assert await client.is_server_live(headers={"x-team": "vision"}, client_timeout=30) is True
    assert await client.is_server_ready() is True
    assert await client.is_model_ready("my_model", "1") is True
    assert await client.is_model_ready("nobody") is False


async def metadata(client):
    """What the server and its models say about themselves."""
    assert "binary_tensor_data" in (await client.get_server_metadata()).extensions
    model = await client.get_model_metadata("my_model", as_json=True)
    assert model["inputs"] == [{"name": "input_node", "datatype": "FP32", "shape": ["-1", "3"]}], model
    assert (await client.get_model_config("my_model")).config.max_batch_size == 8
    await refused("NOT_FOUND", client.get_model_metadata("nobody"))


async def repository(client, onnx):
    """Index, unload and load; a model that comes with the request."""
    await client.unload_model("spare")
    assert not await client.is_model_ready("spare")
    await client.load_model("spare")
    index = await client.get_model_repository_index(as_json=True)
    assert {"name": "spare", "version": "1", "state": "READY"} in index["models"], index

    await client.load_model("uploaded_grpc_aio", config=json.dumps(CONFIG), files={"file:1/model.onnx": onnx})
    result = await client.infer("uploaded_grpc_aio", [tensor("input_node", ROW)])
    np.testing.assert_allclose(result.as_numpy("output_node"), ROW * 5)
    await client.unload_model("uploaded_grpc_aio", unload_dependents=True)
    assert not await client.is_model_ready("uploaded_grpc_aio")
    await refused("NOT_FOUND", client.load_model("nobody"))


async def statistics_and_settings(client):
    """Figures, log and trace settings."""
    (stats,) = (await client.get_inference_statistics("my_model", "2")).model_stats
    assert stats.name == "my_model"
    assert len((await client.get_inference_statistics()).model_stats) > 10

    changed = await client.update_log_settings({"log_verbose_level": 1})
    assert changed.settings["log_verbose_level"].uint32_param == 1
    assert (await client.get_log_settings()).settings["log_verbose_level"].uint32_param == 1
    await client.update_log_settings({"log_verbose_level": 0})
    former = await client.get_trace_settings(as_json=True)
    changed = await client.update_trace_settings(settings={"trace_rate": "50"})
    assert list(changed.settings["trace_rate"].value) == ["50"]
    assert await client.update_trace_settings(settings={"trace_rate": None}, as_json=True) == former


async def shared_memory(client):
    """There is none, and the server says so instead of pretending."""
    assert not (await client.get_system_shared_memory_status()).regions
    assert not (await client.get_cuda_shared_memory_status("region")).regions
    await refused("UNIMPLEMENTED", client.register_system_shared_memory("region", "/region", 64))
    await refused("UNIMPLEMENTED", client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64))
    await client.unregister_system_shared_memory("region")
    await client.unregister_cuda_shared_memory()


async def inference(client):
    """Data types, compression, options, deadlines, and many requests at once."""
    for name, sent in SAMPLES.items():
        result = await client.infer(f"identity_{name}", [tensor("INPUT0", sent)], compression_algorithm="gzip")
        got = result.as_numpy("OUTPUT0")
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape), (name, got)
        assert texts(got).tolist() == sent.tolist(), (name, got)

    result = await client.infer(
        "my_model",
        [tensor("input_node", ROW)],
        model_version="1",
        request_id="order-66",
        priority=2,
        timeout=5_000_000,
        client_timeout=30,
        parameters={"customer": "ACME", "share": 0.5},
        headers={"x-request-id": "abc"},
        outputs=[aioclient.InferRequestedOutput("output_node", class_count=1)],
    )
    assert result.get_response().id == "order-66"
    assert result.as_numpy("output_node").tolist() == [[b"3.000000:0:ant"]]

    rows = [np.full((1, 3), number, dtype=np.float32) for number in range(64)]
    results = await asyncio.gather(*(client.infer("my_model", [tensor("input_node", row)]) for row in rows))
    for row, result in zip(rows, results, strict=True):
        np.testing.assert_allclose(result.as_numpy("output_node"), row * 3)

    await refused("INVALID_ARGUMENT", client.infer("my_model", [tensor("input_node", np.zeros((1, 4), np.float32))]))
    await refused("DEADLINE_EXCEEDED", client.infer("slow", [tensor("turns", MINUTES)], client_timeout=0.3))
    await is_free(client)


async def streams(client):
    """Answers in the order of the requests, an error in its place, the final marker; a stream that is called off."""
    sent = [ROW, ROW * 2, np.zeros((1, 4), np.float32), ROW * 3]

    async def requests():
        for number, row in enumerate(sent):
            yield {"model_name": "my_model", "inputs": [tensor("input_node", row)], "request_id": f"r{number}", "model_version": "1"}

    got = [answer async for answer in client.stream_infer(requests(), stream_timeout=30, compression_algorithm="deflate")]
    assert len(got) == 4, got
    for number in (0, 1, 3):
        result, error = got[number]
        assert error is None, error
        assert result.get_response().id == f"r{number}"
        np.testing.assert_allclose(result.as_numpy("output_node"), sent[number] * 2)
    assert got[2][0] is None
    assert "input_node" in got[2][1].message()

    async def endless():
        yield {"model_name": "slow", "inputs": [tensor("turns", MINUTES)], "timeout": 30_000_000}

    answers = client.stream_infer(endless())
    asyncio.get_running_loop().call_later(0.3, answers.cancel)
    try:
        await anext(answers)
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("the stream was not called off")
    await is_free(client)


async def plugins(client):
    """A plugin changes every request's headers."""
    client.register_plugin(BasicAuth("somebody", "secret"))
    assert isinstance(client.plugin(), BasicAuth)
    assert (await client.get_server_metadata(headers={})).name
    client.unregister_plugin()
    assert client.plugin() is None


async def is_free(client):
    """Whether the slow model answers a short request promptly, as it does when nothing of a long one is left."""
    started = time.monotonic()
    result = await client.infer("slow", [tensor("turns", np.array([[3]]))], client_timeout=30)
    assert result.as_numpy("counted").tolist() == [[3.0]]
    assert time.monotonic() - started < 20.0


def tensor(name, array):
    """An input with its data."""
    return aioclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)


def texts(array):
    """Bytes as text; other arrays as they are."""
    return np.array([one.decode() for one in array.ravel()], dtype=object).reshape(array.shape) if array.dtype == object else array


async def refused(status, call):
    """Check that a call fails with this status."""
    caught = None
    try:
        await call
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"not refused with {status}"
    assert caught.status() == f"StatusCode.{status}", caught
    assert caught.message(), caught


async def main(address, onnx_path):
    """Do everything over one channel."""
    onnx = Path(onnx_path).read_bytes()  # noqa: ASYNC240 - nothing else is going on yet
    async with aioclient.InferenceServerClient(address) as client:
        await health(client)
        await metadata(client)
        await repository(client, onnx)
        await statistics_and_settings(client)
        await shared_memory(client)
        await inference(client)
        await streams(client)
        await plugins(client)


asyncio.run(main(*sys.argv[1:]))
