"""Everything of OIP v2 over HTTP but inference."""

import base64
import json
from dataclasses import dataclass, field

import pytest

from penstock.contracts.errors import LoadFailed, ModelNotFound
from penstock.oip.v2 import inference_pb2 as pb
from services.router.load_order import LoadOrder
from services.router.tenants import Tenants
from tests.router.http_stand import on_uvloop, serving


@on_uvloop
async def test_server_and_models_are_described_as_triton_does():
    async with serving() as stand:
        server = await stand.get("/v2")
        metadata = await stand.get("/v2/models/pair")
        version = await stand.get("/v2/models/fraud/versions/v2")
        config = await stand.get("/v2/models/echo/config")
        listed = await stand.get("/v2/models")

    assert set(server.json) == {"name", "version", "extensions"}
    assert metadata.json == {
        "name": "pair",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1, 1]}, {"name": "b", "datatype": "INT64", "shape": [-1, 1]}],
        "outputs": [{"name": "sum", "datatype": "FP32", "shape": [-1, 1]}, {"name": "product", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert version.json["versions"] == ["v2"]
    assert (config.json["name"], config.json["max_batch_size"], config.json["input"], config.json["backend"]) == ("echo", 8, [], "")
    assert "echo" in listed.json["models"]
    assert len(listed.json["models"]) == len(set(listed.json["models"]))


@on_uvloop
async def test_health_answers_json_and_readiness_ends_with_the_drain():
    async with serving() as stand:
        ready = await stand.get("/v2/health/ready")
        stand.control.directory.begin_drain()
        draining = await stand.get("/v2/health/ready")
        live = await stand.get("/v2/health/live")
        model = await stand.get("/v2/models/echo/ready")

    assert (ready.status, ready.json) == (200, {"ready": True})
    assert (draining.status, draining.json) == (503, {"ready": False})
    assert (live.status, live.json) == (200, {"live": True})
    assert (model.status, model.json) == (503, {"name": "echo", "ready": False})


@on_uvloop
async def test_model_readiness_is_a_status():
    async with serving() as stand:
        ready = await stand.get("/v2/models/echo/versions/1/ready")
        unknown = await stand.get("/v2/models/nobody/ready")
        version = await stand.get("/v2/models/echo/versions/9/ready")

    assert (ready.status, ready.json) == (200, {"name": "echo", "ready": True})
    assert (unknown.status, version.status) == (404, 404)


@dataclass
class Shelf:
    """A repository that remembers what it was told."""

    orders: list[LoadOrder] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    failure: Exception | None = None

    async def load(self, order: LoadOrder, deadline: float) -> None:
        self.orders.append(order)
        if self.failure is not None:
            raise self.failure

    async def unload(self, model: str, deadline: float) -> None:
        self.unloaded.append(model)


@on_uvloop
async def test_models_are_loaded_with_configuration_and_files_and_unloaded():
    shelf = Shelf()
    parameters = {"config": '{"max_batch_size": 4}', "file:1/model.onnx": base64.b64encode(b"\x00onnx").decode()}
    async with serving(repository=shelf) as stand:
        loaded = await stand.ask("POST", "/v2/repository/models/echo/load", json.dumps({"parameters": parameters}))
        plain = await stand.ask("POST", "/v2/repository/models/echo/load")
        unloaded = await stand.ask("POST", "/v2/repository/models/echo/unload", '{"parameters":{"unload_dependents":true}}')
        shelf.failure = LoadFailed("it does not load")
        failed = await stand.ask("POST", "/v2/repository/models/echo/load")

    assert [reply.status for reply in (loaded, plain, unloaded, failed)] == [200, 200, 200, 409]
    assert shelf.orders[0] == LoadOrder(model="echo", config_json='{"max_batch_size": 4}', files={"1/model.onnx": b"\x00onnx"})
    assert shelf.unloaded == ["echo"]
    assert failed.json["error"] == "it does not load"


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"file:1/model.onnx": "***"}, 400), ({"file:1/model.onnx": 7}, 400), ({"file:" + "a" * 300: "AA=="}, 400), ({"config": "no"}, 400),
        ({"file:../../etc/x": "AA=="}, 400), ({"other": "x"}, 400), ({"config": {}}, 400), ([1], 400),
    ],
)  # fmt: skip
@on_uvloop
async def test_broken_load_parameters_are_refused(parameters, status):
    async with serving(repository=Shelf()) as stand:
        reply = await stand.ask("POST", "/v2/repository/models/echo/load", json.dumps({"parameters": parameters}))

    assert reply.status == status


@on_uvloop
async def test_changes_need_an_administrator_and_reading_a_key(short_dir):
    tenants = Tenants()
    path = short_dir / "tenants.toml"
    path.write_text(
        "[[tenants]]\nname='a'\nmodels=['echo']\nkeys=['sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683']\n"
    )
    tenants.load(path)
    mine = {"x-api-key": "key"}
    async with serving(tenants=tenants, repository=Shelf()) as stand:
        nobody = await stand.get("/v2")
        load = await stand.ask("POST", "/v2/repository/models/echo/load", headers=mine)
        seen = await stand.get("/v2/models", mine)
        hidden = await stand.get("/v2/models/pair", mine)
        probe = await stand.get("/v2/health/ready")
        native = await stand.post("/api/v1/models/pair/predict", {"inputs": [{"a": 1}]}, mine)

    assert (nobody.status, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="penstock"')
    assert (load.status, load.json["reason"]) == (403, "FORBIDDEN")
    assert seen.json == {"models": ["echo"]}
    assert (hidden.status, hidden.json["reason"], probe.status) == (404, "MODEL_NOT_FOUND", 200)
    assert native.status == 404


@on_uvloop
async def test_the_index_lists_versions_with_their_states():
    async with serving() as stand:
        index = await stand.ask("POST", "/v2/repository/index", '{"ready":true}')
        empty = await stand.ask("POST", "/v2/repository/index")
        wrong = await stand.ask("POST", "/v2/repository/index", '{"ready":1}')
        named = await stand.ask("POST", "/v2/repository/other/index")

    assert {"name": "fraud", "version": "v3", "state": "READY"} in index.json
    assert index.json == empty.json
    assert (wrong.status, named.status) == (400, 501)


@dataclass
class Counts:
    """Statistics that are always the same."""

    async def collect(self, model="", version="", *, may_see):
        if model == "nobody":
            raise ModelNotFound("no")
        step = pb.StatisticDuration(count=2**40, ns=5)
        one = pb.ModelStatistics(name=model or "all", version=version, inference_count=3, inference_stats=pb.InferStatistics(success=step))
        one.response_stats["a"].success.count = 1
        return pb.ModelStatisticsResponse(model_stats=[one])


@on_uvloop
async def test_statistics_have_tritons_keys_and_whole_numbers():
    async with serving(statistics=Counts()) as stand:
        everything = await stand.get("/v2/models/stats")
        one = await stand.get("/v2/models/echo/versions/1/stats")
        unknown = await stand.get("/v2/models/nobody/stats")

    told = everything.json["model_stats"][0]
    assert (told["name"], told["inference_count"], told["execution_count"]) == ("all", 3, 0)
    assert told["inference_stats"]["success"] == {"count": 2**40, "ns": 5}
    assert told["batch_stats"] == []
    assert told["response_stats"]["a"]["success"] == {"count": 1, "ns": 0}
    assert (one.json["model_stats"][0]["version"], unknown.status) == ("1", 404)


@on_uvloop
async def test_settings_are_read_and_changed_in_tritons_form():
    async with serving() as stand:
        logs = await stand.get("/v2/logging")
        louder = await stand.ask("POST", "/v2/logging", '{"log_verbose_level":1}')
        traces = await stand.ask("POST", "/v2/trace/setting", '{"trace_level":["TIMESTAMPS"],"trace_rate":"10"}')
        wrong = await stand.ask("POST", "/v2/logging", '{"log_info":"yes"}')
        worse = await stand.ask("POST", "/v2/trace/setting", '{"trace_level":[1]}')
        of_model = await stand.get("/v2/models/echo/trace/setting")

    assert (logs.json["log_info"], logs.json["log_verbose_level"]) == (True, 0)
    assert louder.json["log_verbose_level"] == 1
    assert (traces.json["trace_level"], traces.json["trace_rate"]) == (["TIMESTAMPS"], "10")
    assert (wrong.status, worse.status, of_model.json["trace_rate"]) == (400, 400, "10")


@pytest.mark.parametrize("kind", ["systemsharedmemory", "cudasharedmemory"])
@on_uvloop
async def test_there_is_no_shared_memory_and_forgetting_it_is_no_error(kind):
    async with serving() as stand:
        status = await stand.get(f"/v2/{kind}/status")
        region = await stand.get(f"/v2/{kind}/region/a/status")
        register = await stand.ask("POST", f"/v2/{kind}/region/a/register", "{}")
        unregister = await stand.ask("POST", f"/v2/{kind}/unregister")

    assert [reply.status for reply in (status, region, register, unregister)] == [200, 200, 501, 200]
    assert (status.json, region.json, register.json["reason"]) == ([], [], "SHARED_MEMORY")


@pytest.mark.parametrize("name", ["generate", "generate_stream", "infer_stream"])
@on_uvloop
async def test_what_is_not_there_yet_says_so(name):
    async with serving() as stand:
        reply = await stand.ask("POST", f"/v2/models/echo/{name}", "{}")

    assert (reply.status, reply.json["reason"]) == (501, "NOT_IMPLEMENTED")
