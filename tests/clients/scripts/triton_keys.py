"""Keys, rights and quotas as tritonclient sees them, over HTTP and gRPC.

    python triton_keys.py HOST:HTTP_PORT HOST:GRPC_PORT KEY LIMITED_KEY

KEY may call and change everything. LIMITED_KEY may call `embedder` twice a second, and change nothing.
"""

import sys
import time

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException


class ApiKey(httpclient.InferenceServerClientPlugin):
    """Adds a key to every request."""

    def __init__(self, key):
        self.key = key

    def __call__(self, request):
        request.headers["x-api-key"] = self.key


def without_a_key(client, kind):
    """Probes are answered, everything else is not."""
    assert client.is_server_live()
    assert client.is_server_ready()
    refused(("401", "UNAUTHENTICATED"), client.get_server_metadata)
    refused(("401", "UNAUTHENTICATED"), client.infer, "embedder", [text(kind)])
    refused(("401", "UNAUTHENTICATED"), client.get_server_metadata, headers={"x-api-key": "nobody's"})
    refused(("401", "UNAUTHENTICATED"), client.infer, "embedder", [text(kind)], headers={"authorization": "Bearer nobody's"})


def with_a_key(client, kind, key):
    """In either header, by hand or by a plugin."""
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
        answer = client.infer("embedder", [text(kind)], headers=headers)
        assert answer.as_numpy("embedding").tolist() == [[3.0, 4.0, 0.0, 12.0]]
        assert client.is_model_ready("my_model", headers=headers)
    client.register_plugin(ApiKey(key))
    assert client.get_server_metadata() is not None
    client.unload_model("my_model")
    client.load_model("my_model")
    client.unregister_plugin()


def with_few_rights(client, kind, key):
    """What is not one's own is refused; too much is, too, until it is not too much any more."""
    client.register_plugin(ApiKey(key))
    refused(("403", "PERMISSION_DENIED"), client.unload_model, "embedder")
    refused(("403", "PERMISSION_DENIED"), client.update_log_settings, {"log_verbose_level": 1})
    refused(("403", "404", "PERMISSION_DENIED", "NOT_FOUND"), client.infer, "my_model", [numbers(kind)])
    refused(("403", "404", "PERMISSION_DENIED", "NOT_FOUND"), client.get_model_metadata, "my_model")
    refused(("429", "RESOURCE_EXHAUSTED"), ten_times, client.infer, "embedder", [text(kind)])
    time.sleep(1.1)
    assert client.infer("embedder", [text(kind)]).as_numpy("embedding").shape == (1, 4)
    client.unregister_plugin()


def ten_times(call, *args):
    """Call in one go, more often than a second allows."""
    for _ in range(10):
        call(*args)


def text(kind):
    """One text, `red`."""
    return kind.InferInput("text", [1], "BYTES").set_data_from_numpy(np.array(["red"], dtype=object))


def numbers(kind):
    """One row of numbers."""
    return kind.InferInput("input_node", [1, 3], "FP32").set_data_from_numpy(np.ones((1, 3), dtype=np.float32))


def refused(statuses, call, *args, **kwargs):
    """Check that a call fails with one of these statuses."""
    caught = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"{call.__name__} {args} was not refused"
    assert caught.status().removeprefix("StatusCode.") in statuses, caught
    assert caught.message(), caught


def main(http_address, grpc_address, key, limited_key):
    """Do everything over both protocols."""
    for kind, address in ((httpclient, http_address), (grpcclient, grpc_address)):
        with kind.InferenceServerClient(address) as client:
            without_a_key(client, kind)
            with_a_key(client, kind, key)
            with_few_rights(client, kind, limited_key)


main(*sys.argv[1:])
