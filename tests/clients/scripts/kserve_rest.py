"""KServe's REST client in both of its protocols: health, readiness, inference as JSON and in binary, and what it is told when refused.

python kserve_rest.py HOST:PORT
"""

import asyncio
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.errors import UnsupportedProtocol

ROW = np.array([[0.5, 1.2, 3.4]], dtype=np.float32)


async def health(client, url):
    """V2 parses the bodies of health calls."""
    assert await client.is_server_live(url) is True
    assert await client.is_server_ready(url, headers={"x-team": "vision"}, timeout=5) is True
    assert await client.is_model_ready(url, "my_model") is True
    assert await client.is_model_ready(url, "nobody") is False


async def inference(client, url):
    """Numbers as JSON and in binary, texts, a named request, headers both ways, and the whole URL given."""
    for is_binary in (False, True):
        told = {}
        answer = await client.infer(url, request("my_model", ROW, binary=is_binary), "my_model", response_headers=told)
        (output,) = answer.outputs
        np.testing.assert_allclose(output.as_numpy(), ROW * 3, rtol=1e-6)
        # The client does not keep the version that a REST answer names.
        assert (answer.model_name, output.name, output.datatype) == ("my_model", "output_node", "FP32"), answer
        assert "content-type" in told, told

    named = request("my_model", ROW, binary=True)
    named.id = "mine"
    named.parameters = {"binary_data_output": True}
    answer = await client.infer(url, named, "my_model", headers={"x-team": "vision"}, timeout=10)
    assert answer.id == "mine"
    np.testing.assert_allclose(answer.get_output_by_name("output_node").as_numpy(), ROW * 3, rtol=1e-6)
    assert answer.get_output_by_name("nobody") is None

    texts = InferInput("INPUT0", [1, 2], "BYTES")
    texts.set_data_from_numpy(np.array([["one", "zwölf"]], dtype=object), binary_data=False)
    answer = await client.infer(url, InferRequest("identity_bytes", [texts]), "identity_bytes")
    assert answer.outputs[0].data == ["one", "zwölf"], answer

    plain = request("my_model", ROW, binary=False).to_dict()
    answer = await client.infer(f"{url}/v2/models/my_model/infer", plain, is_graph_endpoint=True)
    np.testing.assert_allclose(answer["outputs"][0]["data"], (ROW * 3).ravel(), rtol=1e-6)


async def refusals(client, url):
    """The server's words reach the caller."""
    error = await refused({404}, client.infer(url, request("nobody", ROW), "nobody"))
    assert "nobody" in str(error), error
    error = await refused({400}, client.infer(url, request("my_model", ROW[:, :2]), "my_model"))
    assert "input_node" in str(error), error


async def first_protocol(client, url):
    """V1: instances in, predictions out; liveness is what stands at the root."""
    assert await client.is_server_live(url) is True
    assert await client.is_model_ready(url, "my_model") is True
    await refused({404}, client.is_model_ready(url, "nobody"))
    answer = await client.infer(url, {"instances": ROW.tolist()}, "my_model", headers={"x-team": "vision"})
    np.testing.assert_allclose(answer["predictions"], ROW * 3, rtol=1e-6)
    await refused({404}, client.infer(url, {"instances": ROW.tolist()}, "nobody"))
    # Nothing here explains; the server says so instead of answering something.
    await refused({404, 501}, client.explain(url, "my_model", {"instances": ROW.tolist()}))
    try:
        await client.is_server_ready(url)
    except UnsupportedProtocol:
        return
    raise AssertionError("the first protocol has no readiness of the server")


def request(model, rows, *, binary=True):
    """A request of one input."""
    given = InferInput("input_node", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model, [given])


async def refused(statuses, call):
    """Return the error of a call that must fail with one of these statuses."""
    caught = None
    try:
        await call
    except httpx.HTTPStatusError as error:
        caught = error
    assert caught is not None, "it was not refused"
    assert caught.response.status_code in statuses, caught
    return caught


async def main(address):
    """Do everything by both protocols."""
    url = f"http://{address}"
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=20)) as client:
        await health(client, url)
        await inference(client, url)
        await refusals(client, url)
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0, timeout=20))
    await first_protocol(client, url)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
