"""KServe's gRPC client, with the retry policy that it sets by itself.

python kserve_grpc.py HOST:PORT
"""

import asyncio
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.errors import InvalidInput

ROW = np.array([[0.5, 1.2, 3.4]], dtype=np.float32)


async def health(client):
    """Liveness and readiness, with and without a deadline."""
    assert await client.is_server_live() is True
    assert await client.is_server_ready(timeout=5, headers=(("x-team", "vision"),)) is True
    assert await client.is_model_ready("my_model", timeout=5) is True
    assert await client.is_model_ready("nobody") is False


async def inference(client):
    """Raw tensors, typed contents, texts, parameters and an id."""
    raw = InferInput("input_node", [1, 3], "FP32")
    raw.set_data_from_numpy(ROW, binary_data=True)
    answer = await client.infer(InferRequest("my_model", [raw], request_id="mine"))
    np.testing.assert_allclose(answer.outputs[0].as_numpy(), ROW * 3, rtol=1e-6)
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", "my_model", "2")

    typed = InferInput("input_node", [1, 3], "FP32", data=ROW.ravel().tolist())
    answer = await client.infer(InferRequest("my_model", [typed], parameters={"priority": 1}), timeout=5, headers=(("x-team", "vision"),))
    np.testing.assert_allclose(answer.get_output_by_name("output_node").as_numpy(), ROW * 3, rtol=1e-6)

    texts = InferInput("INPUT0", [1, 2], "BYTES")
    texts.set_data_from_numpy(np.array([["one", "zwölf"]], dtype=object), binary_data=True)
    answer = await client.infer(InferRequest("identity_bytes", [texts]))
    assert [bytes(text) for text in answer.outputs[0].as_numpy().ravel()] == [b"one", "zwölf".encode()]


async def refusals(client):
    """Statuses, and what the client itself refuses."""
    given = InferInput("input_node", [1, 3], "FP32")
    given.set_data_from_numpy(ROW)
    await refused(grpc.StatusCode.NOT_FOUND, client.infer(InferRequest("nobody", [given])))
    short = InferInput("input_node", [1, 2], "FP32")
    short.set_data_from_numpy(ROW[:, :2].copy())
    await refused(grpc.StatusCode.INVALID_ARGUMENT, client.infer(InferRequest("my_model", [short])))
    try:
        await client.infer({"model_name": "my_model"})
    except InvalidInput:
        return
    raise AssertionError("the client sends requests only")


async def refused(code, call):
    """Check the status of a call that must fail."""
    caught = None
    try:
        await call
    except grpc.RpcError as error:
        caught = error
    assert caught is not None, "it was not refused"
    assert caught.code() is code, caught
    assert caught.details(), caught


async def main(address):
    """Do everything over one channel, then over one with options of one's own."""
    async with InferenceGRPCClient(address) as client:
        await health(client)
        await inference(client)
        await refusals(client)
    client = InferenceGRPCClient(address, channel_args=[("grpc.enable_retries", 0)], retries=0, timeout=10)
    await inference(client)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
