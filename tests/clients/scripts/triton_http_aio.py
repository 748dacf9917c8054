"""Every method of tritonclient.http.aio.

    python triton_http_aio.py HOST:PORT MODEL.onnx

MODEL.onnx multiplies `input_node` FP32[-1, 3] by a number into `output_node`.
"""

import asyncio
import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import tritonclient.http.aio as aioclient
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

CONFIG = {"name": "uploaded_http_aio", "max_batch_size": 4}
ROW = np.array([[1.5, -2.0, 0.25]], dtype=np.float32)
SAMPLES = {
    "bool": np.array([[True, False]]),
    "int64": np.array([[2**63 - 1, -(2**63)]]),
    "fp16": np.array([[0.5, 65504.0]], np.float16),
    "bf16": np.array([[0.5, 3e38]], ml_dtypes.bfloat16),
    "bytes": np.array([["größer", ""]], dtype=object),
    "fp32": np.empty((2, 0), dtype=np.float32),
}


async def health(client):
    """Liveness, readiness, of models and versions too."""
    assert await client.is_server_live(headers={"x-team": "vision"}, query_params={"a": "b c"}) is True
    assert await client.is_server_ready() is True
    assert await client.is_model_ready("my_model", "1") is True
    assert await client.is_model_ready("nobody") is False


async def metadata(client):
    """What the server and its models say about themselves."""
    assert "binary_tensor_data" in (await client.get_server_metadata())["extensions"]
    model = await client.get_model_metadata("my_model", query_params={"tag": ["x", "y"]})
    assert model["inputs"] == [{"name": "input_node", "datatype": "FP32", "shape": [-1, 3]}], model
    assert (await client.get_model_config("my_model"))["max_batch_size"] == 8
    await refused(404, client.get_model_metadata("nobody"))


async def repository(client, onnx):
    """Index, unload and load; a model that comes with the request."""
    await client.unload_model("spare")
    assert not await client.is_model_ready("spare")
    await client.load_model("spare")
    index = await client.get_model_repository_index()
    assert {"name": "spare", "version": "1", "state": "READY"} in index, index

    await client.load_model("uploaded_http_aio", config=json.dumps(CONFIG), files={"file:1/model.onnx": onnx})
    result = await client.infer("uploaded_http_aio", [tensor("input_node", ROW)])
    np.testing.assert_allclose(result.as_numpy("output_node"), ROW * 5)
    await client.unload_model("uploaded_http_aio", unload_dependents=True)
    assert not await client.is_model_ready("uploaded_http_aio")
    await refused(404, client.load_model("nobody"))


async def statistics_and_settings(client):
    """Figures, log and trace settings."""
    (stats,) = (await client.get_inference_statistics("my_model", "2"))["model_stats"]
    assert stats["name"] == "my_model"
    assert len((await client.get_inference_statistics())["model_stats"]) > 10

    assert (await client.update_log_settings({"log_verbose_level": 1}))["log_verbose_level"] == 1
    assert (await client.get_log_settings())["log_verbose_level"] == 1
    await client.update_log_settings({"log_verbose_level": 0})
    former = await client.get_trace_settings()
    assert (await client.update_trace_settings(settings={"trace_rate": "50"}))["trace_rate"] == "50"
    assert await client.update_trace_settings(settings={"trace_rate": None}) == former


async def shared_memory(client):
    """There is none, and the server says so instead of pretending."""
    assert await client.get_system_shared_memory_status() == []
    assert await client.get_cuda_shared_memory_status("region") == []
    await refused(501, client.register_system_shared_memory("region", "/region", 64))
    await refused(501, client.register_cuda_shared_memory("region", "aGFuZGxl", 0, 64))
    await client.unregister_system_shared_memory("region")
    await client.unregister_cuda_shared_memory()


async def inference(client):
    """Data types, forms, compression, options, and many requests at once."""
    for name, sent in SAMPLES.items():
        for binary in (True, False):
            if name == "bf16" and not binary:
                continue  # the client refuses to write it as JSON
            wanted = [aioclient.InferRequestedOutput("OUTPUT0", binary_data=binary)]
            got = (await client.infer(f"identity_{name}", [tensor("INPUT0", sent, binary)], outputs=wanted)).as_numpy("OUTPUT0")
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape), (name, got)
            assert texts(got).tolist() == sent.tolist(), (name, got)

    wide = np.arange(4096, dtype=np.float32).reshape(1, 4096)
    for algorithm in ("gzip", "deflate"):
        result = await client.infer(
            "identity_fp32",
            [tensor("INPUT0", wide)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), wide)

    result = await client.infer(
        "my_model",
        [tensor("input_node", ROW)],
        model_version="1",
        request_id="order-66",
        priority=2,
        timeout=5_000_000,
        parameters={"customer": "ACME"},
        headers={"x-request-id": "abc"},
        outputs=[aioclient.InferRequestedOutput("output_node", class_count=1)],
    )
    assert result.get_response()["id"] == "order-66"
    assert result.as_numpy("output_node").tolist() == [[b"3.000000:0:ant"]]

    rows = [np.full((1, 3), number, dtype=np.float32) for number in range(64)]
    results = await asyncio.gather(*(client.infer("my_model", [tensor("input_node", row)]) for row in rows))
    for row, result in zip(rows, results, strict=True):
        np.testing.assert_allclose(result.as_numpy("output_node"), row * 3)

    await refused(400, client.infer("my_model", [tensor("input_node", np.zeros((1, 4), np.float32))]))
    await refused(504, client.infer("slow", [tensor("turns", np.array([[4_000_000]]))], timeout=100_000))


async def walking_away(client):
    """A caller who stops waiting leaves nothing behind that keeps others waiting."""
    endless = client.infer("slow", [tensor("turns", np.array([[200_000_000]]))])
    try:
        await asyncio.wait_for(endless, 0.3)
    except TimeoutError:
        pass
    else:
        raise AssertionError("the slow model was too quick for this test")
    short = client.infer("slow", [tensor("turns", np.array([[3]]))])
    assert (await asyncio.wait_for(short, 5)).as_numpy("counted").tolist() == [[3.0]]


async def offline(client):
    """Bodies made and read apart from the client."""
    body, json_size = client.generate_request_body([tensor("input_node", ROW)], request_id="apart")
    assert json_size == len(body) - 12
    head = b'{"model_name":"m","outputs":[{"name":"o","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]}'
    result = client.parse_response_body(head + ROW.tobytes(), header_length=len(head))
    np.testing.assert_array_equal(result.as_numpy("o"), ROW)


async def plugins(client):
    """A plugin changes every request's headers."""
    client.register_plugin(BasicAuth("somebody", "secret"))
    assert isinstance(client.plugin(), BasicAuth)
    assert (await client.get_server_metadata())["name"]
    client.unregister_plugin()
    assert client.plugin() is None


def tensor(name, array, binary_data=True):
    """An input with its data."""
    given = aioclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array, binary_data=binary_data)


def texts(array):
    """Bytes as text; other arrays as they are."""
    if array.dtype != object:
        return array
    return np.array([one.decode() if isinstance(one, bytes) else one for one in array.ravel()], dtype=object).reshape(array.shape)


async def refused(status, call):
    """Check that a call fails with this status."""
    caught = None
    try:
        await call
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"not refused with {status}"
    assert caught.status() == str(status), caught
    assert caught.message(), caught
    assert caught.debug_details() is None, caught  # the client could read what it was told


async def main(address, onnx_path):
    """Do everything over one session."""
    onnx = Path(onnx_path).read_bytes()  # noqa: ASYNC240 - nothing else is going on yet
    async with aioclient.InferenceServerClient(address, conn_timeout=30) as client:
        await health(client)
        await metadata(client)
        await repository(client, onnx)
        await statistics_and_settings(client)
        await shared_memory(client)
        await inference(client)
        await walking_away(client)
        await offline(client)
        await plugins(client)


asyncio.run(main(*sys.argv[1:]))
