"""Streams by tritonclient.grpc: many requests on one connection, answers in their order, errors on the way, and ways to end.

python triton_grpc_stream.py HOST:PORT
"""

import queue
import sys
import time

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

MINUTES = np.array([[200_000_000]], dtype=np.int64)
"""Turns of the model `slow` that would take minutes."""


class Answers:
    """What a stream brings."""

    def __init__(self):
        self.queue = queue.Queue()

    def __call__(self, result, error):
        self.queue.put((result, error))

    def next(self):
        """Return the next answer or error."""
        return self.queue.get(timeout=30)

    def result(self):
        """Return the next answer."""
        result, error = self.next()
        assert error is None, error
        return result


def answers_in_order(client):
    """A hundred requests sent at once come back one by one, each with its id and its own numbers."""
    for algorithm in (None, "gzip", "deflate"):
        answers = Answers()
        client.start_stream(answers, compression_algorithm=algorithm, headers={"x-team": "vision"})
        rows = [np.full((1, 3), number, dtype=np.float32) for number in range(100)]
        for number, row in enumerate(rows):
            client.async_stream_infer("my_model", [tensor("input_node", row)], request_id=f"r{number}", model_version="1")
        for number, row in enumerate(rows):
            result = answers.result()
            assert result.get_response().id == f"r{number}"
            np.testing.assert_allclose(result.as_numpy("output_node"), row * 2)
        client.stop_stream()
        assert answers.queue.empty()


def final_marker(client):
    """Who asks for it is told with which answer a request ends."""
    answers = Answers()
    client.start_stream(answers)
    row = tensor("input_node", np.ones((1, 3), dtype=np.float32))
    client.async_stream_infer("my_model", [row], request_id="marked", enable_empty_final_response=True)
    response = answers.result().get_response()
    assert response.id == "marked"
    assert response.parameters["triton_final_response"].bool_param is True

    wanted = [grpcclient.InferRequestedOutput("output_node", class_count=1)]
    client.async_stream_infer("my_model", [row], outputs=wanted, priority=1, timeout=5_000_000, parameters={"customer": "ACME"})
    result = answers.result()
    assert result.as_numpy("output_node").tolist() == [[b"3.000000:0:ant"]]
    client.stop_stream()


def errors_on_the_way(client):
    """A request that fails is told in its place, and the stream goes on."""
    answers = Answers()
    client.start_stream(answers)
    good, bad = np.ones((1, 3), dtype=np.float32), np.ones((1, 4), dtype=np.float32)
    for row in (good, bad, good):
        client.async_stream_infer("my_model", [tensor("input_node", row)])
    np.testing.assert_allclose(answers.result().as_numpy("output_node"), good * 3)
    result, error = answers.next()
    assert result is None
    assert "input_node" in error.message(), error
    np.testing.assert_allclose(answers.result().as_numpy("output_node"), good * 3)
    client.stop_stream()


def errors_that_end(client):
    """Who asks for statuses gets them, and the end of the stream with them."""
    answers = Answers()
    client.start_stream(answers, headers={"triton_grpc_error": "true"})
    client.async_stream_infer("my_model", [tensor("input_node", np.ones((1, 4), dtype=np.float32))])
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.INVALID_ARGUMENT", error
    client.stop_stream()


def time_is_up(client):
    """A stream ends when its time is up, whatever is under way."""
    answers = Answers()
    started = time.monotonic()
    client.start_stream(answers, stream_timeout=0.5)
    client.async_stream_infer("slow", [tensor("turns", MINUTES)])
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.DEADLINE_EXCEEDED", error
    assert 0.4 < time.monotonic() - started < 20.0
    client.stop_stream()
    is_free(client)


def called_off(client):
    """A stream that is called off takes its requests with it."""
    answers = Answers()
    client.start_stream(answers)
    client.async_stream_infer("slow", [tensor("turns", MINUTES)], timeout=30_000_000)
    time.sleep(0.2)
    client.stop_stream(cancel_requests=True)
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.CANCELLED", error
    is_free(client)


def one_at_a_time(client):
    """The client itself allows one stream and wants one to be there."""
    answers = Answers()
    row = [tensor("input_node", np.ones((1, 3), dtype=np.float32))]
    refused(client.async_stream_infer, "my_model", row)
    client.start_stream(answers)
    refused(client.start_stream, answers)
    client.async_stream_infer("my_model", row)
    # Other calls go on beside a stream.
    assert client.is_server_live()
    assert client.infer("my_model", row).as_numpy("output_node").tolist() == [[3.0, 3.0, 3.0]]
    answers.result()
    client.stop_stream()


def is_free(client):
    """Whether the slow model answers a short request promptly, as it does when nothing of a long one is left."""
    started = time.monotonic()
    result = client.infer("slow", [tensor("turns", np.array([[3]], dtype=np.int64))], client_timeout=30)
    assert result.as_numpy("counted").tolist() == [[3.0]]
    assert time.monotonic() - started < 20.0


def tensor(name, array):
    """An input with its data."""
    return grpcclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)


def refused(call, *args):
    """Check that a call fails in the client."""
    try:
        call(*args)
    except InferenceServerException:
        return
    raise AssertionError(f"{call.__name__} was not refused")


def main(address, *_):
    """Do everything over one channel."""
    with grpcclient.InferenceServerClient(address) as client:
        answers_in_order(client)
        final_marker(client)
        errors_on_the_way(client)
        errors_that_end(client)
        time_is_up(client)
        called_off(client)
        one_at_a_time(client)


main(*sys.argv[1:])
