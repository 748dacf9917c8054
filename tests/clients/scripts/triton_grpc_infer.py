"""Inference by tritonclient.grpc: every data type, compression and option, callbacks, deadlines and cancelled calls.

python triton_grpc_infer.py HOST:PORT
"""

import queue
import sys
import time

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpcclient
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
    "fp32": np.array([[0.1, -2.0, np.inf], [0.0, 1e-40, np.nan]], np.float32),
    "fp64": np.array([[0.1, -2.0, 1.7e308], [0.0, 1e-300, 3.25]], np.float64),
    "bytes": np.array([["plain", "größer", ""], ["日本語", "two words", "line\nbreak"]], dtype=object),
}
ROW = np.array([[1.5, -2.0, 0.25]], dtype=np.float32)
MINUTES = np.array([[200_000_000]], dtype=np.int64)
"""Turns of the model `slow` that would take minutes."""


def every_data_type(client):
    """Each comes back as it was sent, plain and compressed."""
    for name, sent in SAMPLES.items():
        for algorithm in (None, "gzip"):
            got = echo(client, name, sent, compression_algorithm=algorithm)
            assert (got.dtype, got.shape) == (sent.dtype, sent.shape), (name, got.dtype, got.shape)
            np.testing.assert_array_equal(texts(got), sent, err_msg=name)


def deflated_messages(client):
    """A server need not know every encoding of gRPC, but then it has to say which one it does not know."""
    caught = None
    try:
        np.testing.assert_array_equal(echo(client, "fp32", ROW, compression_algorithm="deflate"), ROW)
    except InferenceServerException as error:
        caught = error
    assert caught is None or (caught.status() == "StatusCode.UNIMPLEMENTED" and "deflate" in caught.message()), caught


def empty_tensors(client):
    """No columns: nothing in, nothing out, of the right shape."""
    for name in ("fp32", "int8", "bytes", "bf16", "bool"):
        assert echo(client, name, np.empty((2, 0), dtype=SAMPLES[name].dtype)).shape == (2, 0), name


def large_messages(client):
    """Twenty megabytes there and back, beyond gRPC's own limit of four."""
    sent = np.random.default_rng(1).normal(size=(1, 5_000_000)).astype(np.float32)
    np.testing.assert_array_equal(echo(client, "fp32", sent), sent)


def outputs(client):
    """All outputs when none is named, else those that are; a missing input or a stranger is refused."""
    left, right = np.arange(16, dtype=np.int32)[None], np.full((1, 16), 3, dtype=np.int32)
    inputs = [tensor("INPUT0", left), tensor("INPUT1", right)]
    result = client.infer("simple", inputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)
    assert result.as_numpy("OUTPUT2") is None

    wanted = grpcclient.InferRequestedOutput("OUTPUT1")
    assert wanted.name() == "OUTPUT1"
    result = client.infer("simple", inputs, outputs=[wanted])
    assert [one.name for one in result.get_response().outputs] == ["OUTPUT1"]
    assert result.get_output("OUTPUT1").datatype == "INT32"
    assert result.get_output("OUTPUT0") is None
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)
    np.testing.assert_array_equal(client.infer("simple", inputs[::-1]).as_numpy("OUTPUT1"), left - right)

    refused("INVALID_ARGUMENT", client.infer, "simple", inputs, outputs=[grpcclient.InferRequestedOutput("OUTPUT2")])
    refused("INVALID_ARGUMENT", client.infer, "simple", inputs[:1])
    refused("INVALID_ARGUMENT", client.infer, "simple", [*inputs, inputs[0]])


def classification(client):
    """The best classes of a row with their labels, as text."""
    best = [grpcclient.InferRequestedOutput("output_node", class_count=2)]
    result = client.infer("my_model", [tensor("input_node", ROW)], outputs=best)
    assert texts(result.as_numpy("output_node")).tolist() == [["4.500000:0:ant", "0.750000:2:cat"]]


def options(client):
    """Version, request id, priority, timeout and parameters of one's own, headers."""
    inputs = [tensor("input_node", ROW)]
    for version, factor in (("1", 2), ("2", 3), ("", 3)):
        result = client.infer("my_model", inputs, model_version=version)
        np.testing.assert_allclose(result.as_numpy("output_node"), ROW * factor)
        response = result.get_response(as_json=True)
        assert (response["model_name"], response["model_version"]) == ("my_model", version or "2"), response

    result = client.infer(
        "my_model",
        inputs,
        request_id="order-66",
        priority=1,
        timeout=5_000_000,
        client_timeout=30,
        parameters={"customer": "ACME", "tier": 2, "share": 0.5, "beta": True},
        headers={"x-request-id": "abc"},
    )
    assert result.get_response().id == "order-66"
    np.testing.assert_allclose(result.as_numpy("output_node"), ROW * 3)
    assert not client.infer("my_model", inputs).get_response().id
    # No model here keeps sequences, and two priorities are all there are: promises that cannot be kept are not made.
    refused("INVALID_ARGUMENT", client.infer, "my_model", inputs, sequence_id="session-7", sequence_start=True)
    refused("INVALID_ARGUMENT", client.infer, "my_model", inputs, priority=3)


def callbacks(client):
    """Many calls under way together; each gets its own answer, or its own error."""
    rows = [np.full((1, 3), number, dtype=np.float32) for number in range(64)]
    ended = queue.Queue()
    for number, row in enumerate(rows):
        client.async_infer("my_model", [tensor("input_node", row)], ended_with(ended, number), request_id=f"r{number}", client_timeout=30)
    for _ in rows:
        number, result, error = ended.get(timeout=30)
        assert error is None, error
        assert result.get_response().id == f"r{number}"
        np.testing.assert_allclose(result.as_numpy("output_node"), rows[number] * 3)
    client.async_infer("nobody", [tensor("input_node", ROW)], ended_with(ended, "nobody"))
    name, result, error = ended.get(timeout=30)
    assert (name, result, error.status()) == ("nobody", None, "StatusCode.NOT_FOUND"), error


def deadlines(client):
    """What takes too long ends when it should, whoever set the limit, and the model is free again."""
    turns = [tensor("turns", MINUTES)]
    for limit in ({"client_timeout": 0.3}, {"timeout": 300_000}, {"client_timeout": 0.3, "timeout": 60_000_000}):
        started = time.monotonic()
        refused("DEADLINE_EXCEEDED", client.infer, "slow", turns, **limit)
        assert time.monotonic() - started < 20.0, limit
    is_free(client)


def cancelled_calls(client):
    """A call that is called off ends at once, and the model is free again."""
    ended = queue.Queue()
    call = client.async_infer("slow", [tensor("turns", MINUTES)], ended_with(ended, "slow"), client_timeout=30)
    time.sleep(0.2)
    call.cancel()
    _, result, error = ended.get(timeout=30)
    assert result is None
    assert error.status() == "StatusCode.CANCELLED", error
    is_free(client)


def mistakes(client):
    """Wrong names, types and shapes are told as such."""
    row = tensor("input_node", ROW)
    assert (row.name(), row.datatype(), list(row.shape())) == ("input_node", "FP32", [1, 3])
    refused("NOT_FOUND", client.infer, "nobody", [row])
    refused("NOT_FOUND", client.infer, "my_model", [row], model_version="7")
    refused("INVALID_ARGUMENT", client.infer, "my_model", [tensor("stranger", ROW)])
    refused("INVALID_ARGUMENT", client.infer, "my_model", [tensor("input_node", ROW.astype(np.float64))])
    refused("INVALID_ARGUMENT", client.infer, "my_model", [tensor("input_node", np.zeros((1, 4), np.float32))])
    refused("INVALID_ARGUMENT", client.infer, "my_model", [tensor("input_node", np.zeros((9, 3), np.float32))])  # max_batch_size is 8
    lying = tensor("input_node", ROW)
    lying.set_shape([2, 3])
    refused("INVALID_ARGUMENT", client.infer, "my_model", [lying])
    refused("INVALID_ARGUMENT", client.infer, "my_model", [grpcclient.InferInput("input_node", [1, 3], "FP32")])
    np.testing.assert_allclose(client.infer("my_model", [row]).as_numpy("output_node"), ROW * 3)


def no_rows(client):
    """No rows are a batch of none: nothing in, nothing out, of the right shape."""
    got = client.infer("my_model", [tensor("input_node", np.empty((0, 3), dtype=np.float32))]).as_numpy("output_node")
    assert (got.shape, got.dtype) == ((0, 3), np.float32), got
    np.testing.assert_allclose(client.infer("my_model", [tensor("input_node", ROW)]).as_numpy("output_node"), ROW * 3)


def is_free(client):
    """Whether the slow model answers a short request promptly, as it does when nothing of a long one is left."""
    started = time.monotonic()
    result = client.infer("slow", [tensor("turns", np.array([[3]], dtype=np.int64))], client_timeout=30)
    assert result.as_numpy("counted").tolist() == [[3.0]]
    assert time.monotonic() - started < 20.0


def ended_with(ended, name):
    """A callback that notes how the call of this name ended."""
    return lambda result, error: ended.put((name, result, error))


def echo(client, kind, sent, **options):
    """What an identity model makes of it."""
    return client.infer(f"identity_{kind}", [tensor("INPUT0", sent)], **options).as_numpy("OUTPUT0")


def tensor(name, array):
    """An input with its data."""
    return grpcclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)


def texts(array):
    """Bytes as text; other arrays as they are."""
    return np.array([one.decode() for one in array.ravel()], dtype=object).reshape(array.shape) if array.dtype == object else array


def refused(status, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    caught = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"{call.__name__} {args} was not refused"
    assert caught.status() == f"StatusCode.{status}", caught
    assert caught.message(), caught
    return caught


def main(address, *_):
    """Do everything over one channel."""
    with grpcclient.InferenceServerClient(address) as client:
        every_data_type(client)
        deflated_messages(client)
        empty_tensors(client)
        large_messages(client)
        outputs(client)
        classification(client)
        options(client)
        callbacks(client)
        deadlines(client)
        cancelled_calls(client)
        mistakes(client)
        no_rows(client)


main(*sys.argv[1:])
