"""Inference by tritonclient.http: every data type, form, compression and option.

python triton_http_infer.py HOST:PORT
"""

import sys
import time

import ml_dtypes
import numpy as np
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

SAMPLES = {
    "bool": np.array([[True, False, True], [False, False, True]]),
    **{
        f"{kind}int{bits}": np.array(
            [[np.iinfo(f"{kind}int{bits}").min, 0, 1], [2, 3, np.iinfo(f"{kind}int{bits}").max]], f"{kind}int{bits}"
        )
        for kind in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "fp16": np.array([[0.5, -2.0, 65504.0], [0.0, 1e-3, 3.25]], np.float16),
    "bf16": np.array([[0.5, -2.0, 3e38], [0.0, 1e-3, 3.25]], ml_dtypes.bfloat16),
    "fp32": np.array([[0.1, -2.0, 3.4e38], [0.0, 1e-40, 3.25]], np.float32),
    "fp64": np.array([[0.1, -2.0, 1.7e308], [0.0, 1e-300, 3.25]], np.float64),
    "bytes": np.array([["plain", "größer", ""], ["日本語", "two words", "line\nbreak"]], dtype=object),
}
ROW = np.array([[1.5, -2.0, 0.25]], dtype=np.float32)


def every_data_type(client):
    """Each comes back as it was sent, as bytes and, where JSON can hold it, as JSON values; in all four combinations."""
    for name, sent in SAMPLES.items():
        for binary_in in (True, False):
            for binary_out in (True, False):
                if name == "bf16" and not binary_in:
                    continue  # the client refuses to write it as JSON
                got = echo(client, name, sent, binary_in, binary_out)
                assert (got.dtype, got.shape) == (sent.dtype, sent.shape), (name, got.dtype, got.shape)
                assert texts(got).tolist() == sent.tolist(), (name, binary_in, binary_out, got)


def empty_tensors(client):
    """No columns, as bytes and as JSON: nothing in, nothing out, of the right shape."""
    for name in ("fp32", "int8", "bytes", "bf16", "bool"):
        sent = np.empty((2, 0), dtype=SAMPLES[name].dtype)
        assert echo(client, name, sent, True, True).shape == (2, 0), name
    assert echo(client, "fp32", np.empty((2, 0), dtype=np.float32), False, False).shape == (2, 0)


def compression(client):
    """Bodies in gzip and deflate, in either direction; lengths count what was there before."""
    sent = np.arange(4096, dtype=np.float32).reshape(2, 2048)
    for there in (None, "gzip", "deflate"):
        for back in (None, "gzip", "deflate"):
            result = client.infer(
                "identity_fp32",
                [tensor("INPUT0", sent)],
                request_compression_algorithm=there,
                response_compression_algorithm=back,
            )
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sent)
    as_json = [tensor("INPUT0", sent, binary_data=False)]
    result = client.infer("identity_fp32", as_json, outputs=[output("OUTPUT0", binary_data=False)], request_compression_algorithm="gzip")
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sent)


def outputs(client):
    """All outputs when none is named; those that are named, in their forms; the same input twice or a stranger is refused."""
    left, right = np.arange(16, dtype=np.int32)[None], np.full((1, 16), 3, dtype=np.int32)
    inputs = [tensor("INPUT0", left), tensor("INPUT1", right, binary_data=False)]  # both forms in one request
    result = client.infer("simple", inputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)
    assert result.as_numpy("OUTPUT2") is None

    result = client.infer("simple", inputs, outputs=[output("OUTPUT1", binary_data=True)])
    assert [one["name"] for one in result.get_response()["outputs"]] == ["OUTPUT1"]
    assert result.get_output("OUTPUT1")["parameters"]["binary_data_size"] == 64
    assert result.get_output("OUTPUT0") is None
    result = client.infer("simple", inputs, outputs=[output("OUTPUT1", binary_data=False), output("OUTPUT0", binary_data=True)])
    assert result.get_output("OUTPUT1")["data"] == (left - right)[0].tolist()
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)

    refused(400, client.infer, "simple", inputs, outputs=[output("OUTPUT2")])
    refused(400, client.infer, "simple", inputs[:1])
    refused(400, client.infer, "simple", [*inputs, inputs[0]])


def classification(client):
    """The best classes of a row with their labels, as text."""
    result = client.infer("my_model", [tensor("input_node", ROW)], outputs=[output("output_node", class_count=2)])
    assert texts(result.as_numpy("output_node")).tolist() == [["4.500000:0:ant", "0.750000:2:cat"]]
    named = httpclient.InferRequestedOutput("output_node", binary_data=False, class_count=1)
    assert named.name() == "output_node"
    result = client.infer("my_model", [tensor("input_node", np.repeat(ROW, 2, axis=0))], outputs=[named])
    assert texts(result.as_numpy("output_node")).tolist() == [["4.500000:0:ant"]] * 2


def options(client):
    """Version, request id, priority, timeout and parameters of one's own, headers and query strings."""
    inputs = [tensor("input_node", ROW)]
    for version, factor in (("1", 2), ("2", 3), ("", 3)):
        result = client.infer("my_model", inputs, model_version=version)
        np.testing.assert_allclose(result.as_numpy("output_node"), ROW * factor)
        assert result.get_response()["model_version"] == (version or "2")
        assert result.get_response()["model_name"] == "my_model"

    result = client.infer(
        "my_model",
        inputs,
        request_id="order-66",
        priority=1,
        timeout=5_000_000,
        parameters={"customer": "ACME", "tier": 2, "share": 0.5, "beta": True},
        headers={"x-request-id": "abc"},
        query_params={"debug": "1", "tag": ["a&b", "c"]},
    )
    assert result.get_response()["id"] == "order-66"
    np.testing.assert_allclose(result.as_numpy("output_node"), ROW * 3)
    assert "id" not in client.infer("my_model", inputs).get_response()

    # No model here keeps sequences, and two priorities are all there are: promises that cannot be kept are not made.
    refused(400, client.infer, "my_model", inputs, sequence_id=7, sequence_start=True, sequence_end=True)
    refused(400, client.infer, "my_model", inputs, priority=3)

    # Far less than the model takes for that many turns.
    started = time.monotonic()
    turns = tensor("turns", np.array([[4_000_000]], dtype=np.int64))
    refused(504, client.infer, "slow", [turns], timeout=100_000)
    assert time.monotonic() - started < 20.0


def concurrency(client):
    """Requests that are under way together; each gets its own answer."""
    rows = [np.full((1, 3), number, dtype=np.float32) for number in range(32)]
    handles = [client.async_infer("my_model", [tensor("input_node", row)], request_id=f"r{n}") for n, row in enumerate(rows)]
    for number, handle in enumerate(handles):
        result = handle.get_result(timeout=10)
        assert result.get_response()["id"] == f"r{number}"
        np.testing.assert_allclose(result.as_numpy("output_node"), rows[number] * 3)
    failing = client.async_infer("nobody", [tensor("input_node", rows[0])], request_compression_algorithm="gzip")
    refused(404, failing.get_result)


def offline(client):
    """Bodies made and read apart from the client, as those do who send them in ways of their own."""
    body, json_size = httpclient.InferenceServerClient.generate_request_body([tensor("input_node", ROW)], request_id="apart")
    assert json_size == len(body) - 12
    head = b'{"model_name":"m","outputs":[{"name":"o","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]}'
    result = client.parse_response_body(head + ROW.tobytes(), header_length=len(head))
    np.testing.assert_array_equal(result.as_numpy("o"), ROW)
    result = httpclient.InferResult.from_response_body(head + ROW.tobytes(), header_length=len(head))
    np.testing.assert_array_equal(result.as_numpy("o"), ROW)


def mistakes(client):
    """Wrong names, types and shapes are told as such."""
    row = tensor("input_node", ROW)
    assert (row.name(), row.datatype(), list(row.shape())) == ("input_node", "FP32", [1, 3])
    refused(404, client.infer, "nobody", [row])
    refused(404, client.infer, "my_model", [row], model_version="7")
    refused(400, client.infer, "my_model", [tensor("stranger", ROW)])
    refused(400, client.infer, "my_model", [tensor("input_node", ROW.astype(np.float64))])
    refused(400, client.infer, "my_model", [tensor("input_node", np.zeros((1, 4), np.float32))])
    refused(400, client.infer, "my_model", [tensor("input_node", np.zeros((9, 3), np.float32))])  # max_batch_size is 8
    lying = tensor("input_node", ROW)
    lying.set_shape([2, 3])
    refused(400, client.infer, "my_model", [lying])
    refused(400, client.infer, "my_model", [httpclient.InferInput("input_node", [1, 3], "FP32")])
    np.testing.assert_allclose(client.infer("my_model", [row]).as_numpy("output_node"), ROW * 3)


def no_rows(client):
    """No rows are a batch of none: nothing in, nothing out, of the right shape."""
    got = client.infer("my_model", [tensor("input_node", np.empty((0, 3), dtype=np.float32))]).as_numpy("output_node")
    assert (got.shape, got.dtype) == ((0, 3), np.float32), got
    np.testing.assert_allclose(client.infer("my_model", [tensor("input_node", ROW)]).as_numpy("output_node"), ROW * 3)


def echo(client, kind, sent, binary_in, binary_out):
    """What an identity model makes of it."""
    given = tensor("INPUT0", sent, binary_data=binary_in)
    return client.infer(f"identity_{kind}", [given], outputs=[output("OUTPUT0", binary_data=binary_out)]).as_numpy("OUTPUT0")


def tensor(name, array, binary_data=True):
    """An input with its data."""
    given = httpclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array, binary_data=binary_data)


def output(name, **form):
    """An output that is asked for."""
    return httpclient.InferRequestedOutput(name, **form)


def texts(array):
    """Bytes as text; other arrays as they are."""
    if array.dtype != object:
        return array
    return np.array([one.decode() if isinstance(one, bytes) else one for one in array.ravel()], dtype=object).reshape(array.shape)


def refused(status, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    caught = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"{call.__name__} {args} was not refused"
    assert caught.status() == str(status), caught
    assert caught.message(), caught
    assert caught.debug_details() is None, caught  # the client could read what it was told
    return caught


def main(address, *_):
    """Do everything over a few connections."""
    with httpclient.InferenceServerClient(address, concurrency=4, connection_timeout=10, network_timeout=30) as client:
        every_data_type(client)
        empty_tensors(client)
        compression(client)
        outputs(client)
        classification(client)
        options(client)
        concurrency(client)
        offline(client)
        mistakes(client)
        no_rows(client)


main(*sys.argv[1:])
