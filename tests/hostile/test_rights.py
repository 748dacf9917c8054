"""What a tenant who may only call models is not told and cannot change, over both faces of a whole serve."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from tests.hostile.stand import GOOD, MESSAGE_LIMIT_BYTES, Target, attacked

Code = grpc.StatusCode
CALLER, ADMIN = "penstock_" + "c" * 32, "penstock_" + "a" * 32
OIP = "/inference.GRPCInferenceService/"
LOAD = "/v2/repository/models/echo/load"
MODEL = base64.b64encode(b"no model at all").decode()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    # All tests are one address, and wrong by turns: who is wrong too often is told something else, which is tested elsewhere.
    options = ("--tenants-file", str(_tenants(tmp_path_factory.mktemp("t"))), "--set", "router.wrong_keys_per_minute=0")
    with attacked(tmp_path_factory.mktemp("h"), *options, key=CALLER) as running:
        yield running


def _tenants(folder: Path) -> Path:
    digest = lambda key: hashlib.sha256(key.encode()).hexdigest()
    path = folder / "tenants.toml"
    path.write_text(
        f'[[tenants]]\nname = "caller"\nmodels = ["echo"]\nkeys = ["sha256:{digest(CALLER)}"]\n'
        f'[[tenants]]\nname = "operator"\nadmin = true\nkeys = ["sha256:{digest(ADMIN)}"]\n'
    )
    return path


def post(target: Target, path: str, document: Any, *, key: str | None = CALLER) -> tuple[int, str]:
    """Post a document; return status and reason."""
    headers = {"content-type": "application/json"} | ({} if key is None else {"x-api-key": key})
    asked = urllib.request.Request(target.served.http + path, data=json.dumps(document).encode(), headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())
        assert len(told["error"]) <= 512
        return error.code, told["reason"]


def with_key(key: str) -> Mapping[str, Any]:
    return {"metadata": [("x-api-key", key)]}


CONTROL = {
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="echo"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="echo"),
    "LogSettings": pb.LogSettingsRequest(settings={"log_info": pb.LogSettingsRequest.SettingValue(bool_param=False)}),
    "TraceSetting": pb.TraceSettingRequest(settings={"trace_level": pb.TraceSettingRequest.SettingValue(value=["TIMESTAMPS"])}),
}


@pytest.mark.parametrize("method", CONTROL)
def test_ig24_a_caller_changes_nothing_over_grpc(method: str, target: Target):
    payload = CONTROL[method].SerializeToString()

    assert target.call(payload, path=OIP + method, **with_key(CALLER)) == (Code.PERMISSION_DENIED, "FORBIDDEN")
    assert target.call(payload, path=OIP + method) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    target.assert_unharmed()


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
def test_ig24_reflection_is_for_administrators_and_health_for_everybody(version: str, target: Target):
    def reflect(key: str) -> Code:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        answers = target.channel.stream_stream(path)(iter([b"\x3a\x00"]), timeout=30, metadata=[("x-api-key", key)])
        try:
            return Code.OK if next(answers) else Code.UNKNOWN
        except grpc.RpcError as error:
            return error.code()

    assert (reflect(CALLER), reflect(ADMIN)) == (Code.PERMISSION_DENIED, Code.OK)
    assert target.call(b"", path="/grpc.health.v1.Health/Check")[0] is Code.OK
    assert target.call(b"", path=OIP + "ServerLive")[0] is Code.OK
    target.assert_unharmed()


def test_ig23_a_forged_tenant_is_nobody(target: Target):
    forged = [("x-tenant-id", "operator"), ("x-tenant", "operator"), ("x-api-key", "penstock_" + "x" * 32)]

    assert target.call(GOOD, metadata=forged) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert target.call(GOOD, metadata=forged[:2]) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    target.assert_unharmed()


@pytest.mark.parametrize(
    "parameters",
    [{}, {"config": "{}"}, {"file:1/model.onnx": MODEL}, {"config": "{}", "file:1/model.onnx": MODEL}],
    ids=["plain", "config", "file", "both"],
)
def test_ih37_a_caller_loads_nothing_over_http(parameters: Mapping[str, str], target: Target):
    before = sorted(target.served.state_dir.glob("overrides/*"))

    assert post(target, LOAD, {"parameters": parameters}) == (403, "FORBIDDEN")
    assert post(target, LOAD.replace("load", "unload"), {}) == (403, "FORBIDDEN")
    assert post(target, LOAD, {"parameters": parameters}, key=None) == (401, "UNAUTHENTICATED")
    assert sorted(target.served.state_dir.glob("overrides/*")) == before
    target.assert_unharmed()


@pytest.mark.parametrize(
    ("parameters", "status", "reason"),
    [
        ({"config": "{}", "file:1/model.onnx": "***"}, 400, "BAD_PARAMETER"),
        ({"config": "{}", "file:1/model.onnx": "QQ"}, 400, "BAD_PARAMETER"),
        ({"config": "{}", "file:1/" + "m" * 300: MODEL}, 400, "BAD_NAME"),
        ({"config": "{}", "file:../../escape": MODEL}, 400, "BAD_NAME"),
        ({"config": "{}", "file:/etc/cron.d/x": MODEL}, 400, "BAD_NAME"),
        ({"config": "not json", "file:1/model.onnx": MODEL}, 400, "BAD_PARAMETER"),
        ({"config": "{}", "file:1/model.onnx": "A" * (MESSAGE_LIMIT_BYTES + 4)}, 413, "REQUEST_TOO_LARGE"),
    ],
    ids=["no base64", "cut base64", "long path", "a path that leaves", "absolute path", "no config", "too large"],
)
def test_ih38_a_load_that_is_not_valid_is_refused_and_writes_nothing(
    parameters: Mapping[str, str], status: int, reason: str, target: Target
):
    assert post(target, LOAD, {"parameters": parameters}, key=ADMIN) == (status, reason)
    assert not list(target.served.state_dir.glob("overrides/echo*"))
    assert post(target, "/v2/models/pair/infer", {}, key=CALLER)[0] in (400, 404)
    target.assert_unharmed()


def test_ih38_bytes_that_are_no_model_fail_the_load_and_what_served_goes_on_serving(target: Target):
    status, reason = post(target, LOAD, {"parameters": {"config": "{}", "file:1/model.onnx": MODEL}}, key=ADMIN)

    assert (400 <= status < 500, reason != "INTERNAL") == (True, True)
    target.assert_unharmed()


def test_ih36_a_page_of_another_origin_is_told_nothing(target: Target):
    asked = urllib.request.Request(
        target.served.http + "/v2/models/echo/infer",
        method="OPTIONS",
        headers={"origin": "http://elsewhere", "access-control-request-method": "POST"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)

    assert refused.value.code == 405
    assert "access-control-allow-origin" not in refused.value.headers
    refused.value.close()
    target.assert_unharmed()


def test_a_thousand_wrong_keys_leave_memory_as_it_was(target: Target):
    def bombard(count: int) -> None:
        for number in range(count):
            assert target.call(GOOD, metadata=[("x-api-key", f"{number:07}" * 500)])[0] is Code.UNAUTHENTICATED

    bombard(200)
    memory = target.resident_bytes()
    bombard(1000)

    target.assert_memory_returns_to(memory)
    target.assert_unharmed()
