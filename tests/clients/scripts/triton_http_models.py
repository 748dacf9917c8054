"""Everything but inference by tritonclient.http: health, metadata, configuration, repository, statistics, settings, shared memory.

    python triton_http_models.py HOST:PORT MODEL.onnx

MODEL.onnx multiplies `input_node` FP32[-1, 3] by a number into `output_node`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as httpclient
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

CONFIG = {
    "name": "uploaded_http",
    "backend": "onnxruntime",
    "max_batch_size": 4,
    "input": [{"name": "input_node", "data_type": "TYPE_FP32", "dims": [3]}],
    "output": [{"name": "output_node", "data_type": "TYPE_FP32", "dims": [3]}],
}


def health(client):
    """Liveness, readiness, of models and versions too."""
    assert client.is_server_live() is True
    assert client.is_server_ready() is True
    assert client.is_model_ready("my_model") is True
    assert client.is_model_ready("my_model", "1") is True
    assert client.is_model_ready("my_model", "7") is False
    assert client.is_model_ready("nobody") is False


def metadata(client):
    """What the server and its models say about themselves; arbitrary headers and query strings do no harm."""
    extras = {"headers": {"x-team": "vision"}, "query_params": {"trace": "on", "tag": ["a b", 2]}}
    server = client.get_server_metadata(**extras)
    assert server["name"], server
    assert server["version"], server
    assert {"binary_tensor_data", "model_repository", "model_configuration", "statistics"} <= set(server["extensions"]), server

    model = client.get_model_metadata("my_model", **extras)
    assert model["name"] == "my_model"
    assert sorted(model["versions"]) == ["1", "2"], model
    assert model["inputs"] == [{"name": "input_node", "datatype": "FP32", "shape": [-1, 3]}], model
    assert model["outputs"] == [{"name": "output_node", "datatype": "FP32", "shape": [-1, 3]}], model
    assert client.get_model_metadata("my_model", "1")["name"] == "my_model"

    config = client.get_model_config("my_model", **extras)
    assert config["name"] == "my_model"
    assert config["max_batch_size"] == 8, config
    assert config["input"][0]["name"] == "input_node"
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(size) for size in config["input"][0]["dims"]] == [3]
    assert config["dynamic_batching"]["preferred_batch_size"] == [4, 8], config
    assert client.get_model_config("simple", "1")["max_batch_size"] == 8

    refused(404, client.get_model_metadata, "nobody")
    refused(404, client.get_model_config, "my_model", "7")


def repository(client, onnx):
    """Index, unload and load; a model that comes with the request, and one that is refused."""
    assert state_of(client, "spare") == {"1": "READY"}
    client.unload_model("spare")
    assert not client.is_model_ready("spare")
    assert state_of(client, "spare") != {"1": "READY"}
    client.load_model("spare")
    assert client.is_model_ready("spare")
    assert state_of(client, "spare") == {"1": "READY"}

    client.load_model("uploaded_http", config=json.dumps(CONFIG), files={"file:1/model.onnx": onnx})
    assert client.is_model_ready("uploaded_http", "1")
    assert client.get_model_config("uploaded_http")["max_batch_size"] == 4
    np.testing.assert_allclose(multiplied(client, "uploaded_http"), [[5, 10, 15]])

    # A configuration beside the files of the repository.
    client.load_model("simple", config=json.dumps({"max_batch_size": 2}))
    assert client.get_model_config("simple")["max_batch_size"] == 2
    client.load_model("simple")
    assert client.get_model_config("simple")["max_batch_size"] == 8

    error = refused(None, client.load_model, "uploaded_http", config=json.dumps(CONFIG), files={"file:1/model.onnx": b"no model"})
    assert "uploaded_http" in error.message(), error
    np.testing.assert_allclose(multiplied(client, "uploaded_http"), [[5, 10, 15]])  # what served before goes on

    client.unload_model("uploaded_http", unload_dependents=True)
    assert not client.is_model_ready("uploaded_http")
    refused(404, client.load_model, "nobody")


def statistics(client):
    """Counts that grow by what was asked."""
    before = counts(client)
    for _ in range(5):
        multiplied(client, "my_model")
    after = counts(client)
    assert after["requests"] - before["requests"] == 5, (before, after)
    assert after["rows"] - before["rows"] == 5, (before, after)
    assert 1 <= after["executions"] - before["executions"] <= 5, (before, after)
    assert after["compute_ns"] > before["compute_ns"], (before, after)

    multiplied(client, "remembering")
    before = cache_of(client)
    for _ in range(4):
        np.testing.assert_allclose(multiplied(client, "remembering"), [[4, 8, 12]])
    after = cache_of(client)
    assert after["cache_hit"]["count"] - before["cache_hit"]["count"] == 4, (before, after)
    assert after["cache_miss"] == before["cache_miss"] != {"count": 0, "ns": 0}, (before, after)
    assert after["success"]["count"] - before["success"]["count"] == 4, (before, after)

    everything = client.get_inference_statistics()["model_stats"]
    assert {"my_model", "simple", "slow"} <= {one["name"] for one in everything}
    refused(404, client.get_inference_statistics, "nobody")


def settings(client):
    """Log and trace settings are read, changed and put back; what cannot be is refused."""
    assert client.get_log_settings()["log_info"] is True
    changed = client.update_log_settings({"log_verbose_level": 1})
    assert changed["log_verbose_level"] == 1, changed
    assert client.get_log_settings()["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
    refused(400, client.update_log_settings, {"log_colour": True})

    former = client.get_trace_settings()
    assert {"trace_level", "trace_rate"} <= set(former), former
    assert client.update_trace_settings(settings={"trace_rate": "50"})["trace_rate"] == "50"
    assert client.get_trace_settings(model_name="my_model")["trace_rate"] == "50"
    assert client.update_trace_settings(settings={"trace_rate": None, "trace_level": ["OFF"]}) == former
    refused(400, client.update_trace_settings, settings={"trace_rate": "often"})


def shared_memory(client):
    """There is none, and the server says so instead of pretending."""
    assert client.get_system_shared_memory_status() == []
    assert client.get_system_shared_memory_status("region") == []
    assert client.get_cuda_shared_memory_status() == []
    refused(501, client.register_system_shared_memory, "region", "/region", 64)
    refused(501, client.register_cuda_shared_memory, "region", b"aGFuZGxl".decode(), 0, 64)
    client.unregister_system_shared_memory()
    client.unregister_system_shared_memory("region")
    client.unregister_cuda_shared_memory()

    region = httpclient.InferInput("input_node", [1, 3], "FP32")
    region.set_shared_memory("region", 12)
    refused(501, client.infer, "my_model", [region])
    there = httpclient.InferRequestedOutput("output_node")
    there.set_shared_memory("region", 12)
    refused(501, client.infer, "my_model", [numbers()], outputs=[there])
    there.unset_shared_memory()
    assert client.infer("my_model", [numbers()], outputs=[there]).as_numpy("output_node").shape == (1, 3)


def plugins(client):
    """A plugin changes every request's headers; a server without keys takes no notice of them."""
    client.register_plugin(BasicAuth("somebody", "secret"))
    assert isinstance(client.plugin(), BasicAuth)
    assert client.is_server_live(headers={"x-team": "vision"})
    assert client.get_server_metadata(headers={"x-team": "vision"})["name"]
    client.unregister_plugin()
    assert client.plugin() is None


def numbers():
    """One row, 1 2 3."""
    given = httpclient.InferInput("input_node", [1, 3], "FP32")
    return given.set_data_from_numpy(np.array([[1, 2, 3]], dtype=np.float32))


def multiplied(client, model):
    """What a model makes of it."""
    return client.infer(model, [numbers()]).as_numpy("output_node")


def cache_of(client):
    """What the model that keeps its answers tells."""
    (stats,) = client.get_inference_statistics("remembering", "1")["model_stats"]
    return stats["inference_stats"]


def state_of(client, model):
    """State of each version in the index."""
    return {one["version"]: one["state"] for one in client.get_model_repository_index() if one["name"] == model}


def counts(client):
    """The figures of my_model's newest version."""
    (stats,) = client.get_inference_statistics("my_model", "2")["model_stats"]
    assert (stats["name"], stats["version"]) == ("my_model", "2")
    return {
        "rows": int(stats["inference_count"]),
        "executions": int(stats["execution_count"]),
        "requests": int(stats["inference_stats"]["success"]["count"]),
        "compute_ns": int(stats["inference_stats"]["compute_infer"]["ns"]),
    }


def refused(status, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    caught = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"{call.__name__} {args} was not refused"
    assert status is None or caught.status() == str(status), caught
    assert caught.message(), caught
    assert caught.debug_details() is None, caught  # the client could read what it was told
    return caught


def main(address, onnx_path):
    """Do everything over one connection."""
    onnx = Path(onnx_path).read_bytes()
    with httpclient.InferenceServerClient(address) as client:
        health(client)
        metadata(client)
        repository(client, onnx)
        statistics(client)
        settings(client)
        shared_memory(client)
        plugins(client)


main(*sys.argv[1:])
