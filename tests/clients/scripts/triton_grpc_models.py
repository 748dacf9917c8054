"""Everything but inference by tritonclient.grpc: health, metadata, configuration, repository, statistics, settings, shared memory.

    python triton_grpc_models.py HOST:PORT MODEL.onnx

MODEL.onnx multiplies `input_node` FP32[-1, 3] by a number into `output_node`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc.auth import BasicAuth
from tritonclient.utils import InferenceServerException

CONFIG = {
    "name": "uploaded_grpc",
    "backend": "onnxruntime",
    "max_batch_size": 4,
    "input": [{"name": "input_node", "data_type": "TYPE_FP32", "dims": [3]}],
    "output": [{"name": "output_node", "data_type": "TYPE_FP32", "dims": [3]}],
}


def health(client):
    """Liveness, readiness, of models and versions too."""
    assert client.is_server_live(client_timeout=5) is True
    assert client.is_server_ready(client_timeout=5) is True
    assert client.is_model_ready("my_model") is True
    assert client.is_model_ready("my_model", "1", client_timeout=5) is True
    assert client.is_model_ready("my_model", "7") is False
    assert client.is_model_ready("nobody") is False


def metadata(client):
    """What the server and its models say about themselves, as messages and as JSON."""
    extras = {"headers": {"x-team": "vision"}, "client_timeout": 5}
    server = client.get_server_metadata(**extras)
    assert server.name, server
    assert server.version, server
    assert {"binary_tensor_data", "model_repository", "model_configuration", "statistics"} <= set(server.extensions), server
    assert client.get_server_metadata(as_json=True)["name"] == server.name

    model = client.get_model_metadata("my_model", **extras)
    assert (model.name, sorted(model.versions)) == ("my_model", ["1", "2"]), model
    (given,), (told,) = model.inputs, model.outputs
    assert (given.name, given.datatype, list(given.shape)) == ("input_node", "FP32", [-1, 3]), model
    assert (told.name, told.datatype, list(told.shape)) == ("output_node", "FP32", [-1, 3]), model
    assert client.get_model_metadata("my_model", "1", as_json=True)["inputs"][0]["shape"] == ["-1", "3"]

    config = client.get_model_config("my_model", **extras).config
    assert (config.name, config.max_batch_size) == ("my_model", 8)
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32
    assert list(config.input[0].dims) == [3]
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.output[0].label_filename == "labels.txt"
    assert config.version_policy.HasField("all")
    assert client.get_model_config("simple", "1", as_json=True)["config"]["max_batch_size"] == 8

    refused("NOT_FOUND", client.get_model_metadata, "nobody")
    refused("NOT_FOUND", client.get_model_config, "my_model", "7")


def repository(client, onnx):
    """Index, unload and load; a model that comes with the request, and one that is refused."""
    assert state_of(client, "spare") == {"1": "READY"}
    client.unload_model("spare", client_timeout=20)
    assert not client.is_model_ready("spare")
    assert state_of(client, "spare") != {"1": "READY"}
    client.load_model("spare", client_timeout=20)
    assert client.is_model_ready("spare")
    as_json = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "spare", "version": "1", "state": "READY"} in as_json, as_json

    client.load_model("uploaded_grpc", config=json.dumps(CONFIG), files={"file:1/model.onnx": onnx})
    assert client.is_model_ready("uploaded_grpc", "1")
    assert client.get_model_config("uploaded_grpc").config.max_batch_size == 4
    np.testing.assert_allclose(multiplied(client, "uploaded_grpc"), [[5, 10, 15]])

    error = refused(None, client.load_model, "uploaded_grpc", config=json.dumps(CONFIG), files={"file:1/model.onnx": b"no model"})
    assert "uploaded_grpc" in error.message(), error
    np.testing.assert_allclose(multiplied(client, "uploaded_grpc"), [[5, 10, 15]])  # what served before goes on

    client.unload_model("uploaded_grpc", unload_dependents=True)
    assert not client.is_model_ready("uploaded_grpc")
    refused("NOT_FOUND", client.load_model, "nobody")


def statistics(client):
    """Counts that grow by what was asked."""
    before = stats_of(client)
    for _ in range(5):
        multiplied(client, "my_model")
    after = stats_of(client)
    assert after.inference_count - before.inference_count == 5, (before, after)
    assert after.inference_stats.success.count - before.inference_stats.success.count == 5, (before, after)
    assert 1 <= after.execution_count - before.execution_count <= 5, (before, after)
    assert after.inference_stats.queue.count > before.inference_stats.queue.count, (before, after)
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns, (before, after)
    assert after.last_inference > 1_600_000_000_000, after  # milliseconds since the epoch
    assert any(one.batch_size == 1 and one.compute_infer.count for one in after.batch_stats), after

    multiplied(client, "remembering")
    before = cache_of(client)
    for _ in range(4):
        np.testing.assert_allclose(multiplied(client, "remembering"), [[4, 8, 12]])
    after = cache_of(client)
    assert after.cache_hit.count - before.cache_hit.count == 4, (before, after)
    assert after.cache_hit.ns > before.cache_hit.ns, (before, after)
    assert (after.cache_miss.count, after.cache_miss.ns) == (before.cache_miss.count, before.cache_miss.ns) != (0, 0), (before, after)
    assert after.success.count - before.success.count == 4, (before, after)

    everything = client.get_inference_statistics(as_json=True, client_timeout=5)["model_stats"]
    assert {"my_model", "simple", "slow"} <= {one["name"] for one in everything}
    refused("NOT_FOUND", client.get_inference_statistics, "nobody")


def settings(client):
    """Log and trace settings are read, changed and put back; what cannot be is refused."""
    assert client.get_log_settings().settings["log_info"].bool_param is True
    changed = client.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]
    assert changed["log_verbose_level"] == {"uint32_param": 1}, changed
    assert client.get_log_settings().settings["log_verbose_level"].uint32_param == 1
    assert client.update_log_settings({"log_verbose_level": 0}).settings["log_verbose_level"].uint32_param == 0
    refused("INVALID_ARGUMENT", client.update_log_settings, {"log_colour": True})

    former = client.get_trace_settings(as_json=True)["settings"]
    assert {"trace_level", "trace_rate"} <= set(former), former
    assert list(client.update_trace_settings(settings={"trace_rate": "50"}).settings["trace_rate"].value) == ["50"]
    assert list(client.get_trace_settings(model_name="my_model").settings["trace_rate"].value) == ["50"]
    assert client.update_trace_settings(settings={"trace_rate": None, "trace_level": ["OFF"]}, as_json=True)["settings"] == former
    refused("INVALID_ARGUMENT", client.update_trace_settings, settings={"trace_rate": "often"})


def shared_memory(client):
    """There is none, and the server says so instead of pretending."""
    assert not client.get_system_shared_memory_status().regions
    assert not client.get_system_shared_memory_status("region", as_json=True).get("regions")
    assert not client.get_cuda_shared_memory_status().regions
    refused("UNIMPLEMENTED", client.register_system_shared_memory, "region", "/region", 64)
    refused("UNIMPLEMENTED", client.register_cuda_shared_memory, "region", b"aGFuZGxl", 0, 64)
    client.unregister_system_shared_memory()
    client.unregister_system_shared_memory("region")
    client.unregister_cuda_shared_memory()

    region = grpcclient.InferInput("input_node", [1, 3], "FP32")
    region.set_shared_memory("region", 12)
    refused("UNIMPLEMENTED", client.infer, "my_model", [region])
    there = grpcclient.InferRequestedOutput("output_node")
    there.set_shared_memory("region", 12)
    refused("UNIMPLEMENTED", client.infer, "my_model", [numbers()], outputs=[there])
    there.unset_shared_memory()
    assert client.infer("my_model", [numbers()], outputs=[there]).as_numpy("output_node").shape == (1, 3)


def plugins(client):
    """A plugin changes every request's headers; a server without keys takes no notice of them."""
    client.register_plugin(BasicAuth("somebody", "secret"))
    assert isinstance(client.plugin(), BasicAuth)
    assert client.is_server_live(headers={"x-team": "vision"})
    assert client.get_server_metadata(headers={"x-team": "vision"}).name
    client.unregister_plugin()
    assert client.plugin() is None


def numbers():
    """One row, 1 2 3."""
    given = grpcclient.InferInput("input_node", [1, 3], "FP32")
    return given.set_data_from_numpy(np.array([[1, 2, 3]], dtype=np.float32))


def multiplied(client, model):
    """What a model makes of it."""
    return client.infer(model, [numbers()]).as_numpy("output_node")


def state_of(client, model):
    """State of each version in the index."""
    return {one.version: one.state for one in client.get_model_repository_index().models if one.name == model}


def stats_of(client):
    """The figures of my_model's newest version."""
    (stats,) = client.get_inference_statistics("my_model", "2").model_stats
    assert (stats.name, stats.version) == ("my_model", "2")
    return stats


def cache_of(client):
    """What the model that keeps its answers tells."""
    (stats,) = client.get_inference_statistics("remembering", "1", client_timeout=5).model_stats
    return stats.inference_stats


def refused(status, call, *args, **kwargs):
    """Return the error of a call that must fail."""
    caught = None
    try:
        call(*args, **kwargs)
    except InferenceServerException as error:
        caught = error
    assert caught is not None, f"{call.__name__} {args} was not refused"
    assert status is None or caught.status() == f"StatusCode.{status}", caught
    assert caught.message(), caught
    assert caught.debug_details(), caught
    return caught


def main(address, onnx_path):
    """Do everything over one channel."""
    onnx = Path(onnx_path).read_bytes()
    patience = grpcclient.KeepAliveOptions(keepalive_time_ms=20_000, keepalive_permit_without_calls=True)
    with grpcclient.InferenceServerClient(address, keepalive_options=patience) as client:
        health(client)
        metadata(client)
        repository(client, onnx)
        statistics(client)
        settings(client)
        shared_memory(client)
        plugins(client)


main(*sys.argv[1:])
