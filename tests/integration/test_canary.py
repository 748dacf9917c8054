"""A secret in a header, a body or a URL is found nowhere afterwards: a router and a controller run, and all they leave is searched."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from penstock.v1 import controller_pb2 as pb
from tests.integration.processes import process, until
from tests.integration.test_traces import SAMPLED, Collector

pytestmark = pytest.mark.timeout(180)

CANARY = "Kanarienvogel7f3a"
KEY = f"penstock_{CANARY}_{CANARY}"
NO_BUS = {"bootstrap_servers": "127.0.0.1:1"}
"""What would go to the bus stands in the catalogue's outbox, which is searched with it."""

BODIES: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/api/v1/tenants/acme", {"api_key": CANARY}),
    ("PUT", "/api/v1/tenants/acme", {"settings": {"models": CANARY}}),
    ("PUT", "/api/v1/tenants/acme", {"settings": {"requests_per_second": CANARY}}),
    ("POST", "/api/v1/models/m/versions", {"version": "1", "source": f"https://user:{CANARY}@example.com/model.onnx"}),
    ("POST", "/api/v1/models/m/versions", {"version": "1", "source": f"s3://key:{CANARY}@bucket/m/"}),
    ("POST", "/api/v1/deployments", {"model_name": "m", "version": "1", "config": {"secret": CANARY}}),
    ("POST", "/api/v1/apply", {"manifest": f"kind: Deployment\npassword: {CANARY}\n"}),
    ("POST", "/api/v1/apply", {"manifest": f"kind: [\n{CANARY}"}),
    ("PUT", "/api/v1/deployments/m/traffic", {"1": CANARY}),
    ("POST", "/v2/models/m/infer", {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [CANARY]}]}),
)
HEADERS: tuple[dict[str, str], ...] = (
    {"x-api-key": KEY},
    {"authorization": f"Bearer {KEY}"},
    {"authorization": f"Basic {CANARY}"},
    {"cookie": f"session={CANARY}"},
)
URLS = (f"/api/v1/models?api_key={CANARY}", f"/api/v1/models?token={KEY}", f"/v2?api_key={CANARY}", f"/v2/models?key={CANARY}")


@dataclass(frozen=True, kw_only=True)
class Running:
    folder: Path
    collector: Collector
    addresses: Mapping[str, Mapping[str, int]]

    def http(self) -> list[str]:
        return [f"http://127.0.0.1:{ports['http']}" for ports in self.addresses.values()]

    def metrics(self) -> str:
        return "".join(scraped(path) for path in (self.folder / "s" / "metrics").glob("*.sock"))


def scraped(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(path))
        link.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: link.recv(65536), b"")).decode()


@pytest.fixture
def running(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    collector, ready = Collector(), short_dir / "s" / "ready"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    settings: dict[str, Any] = {"grpc_port": 0, "http_port": 0, "log_level": "debug"}
    with process(short_dir, "controller", bus=NO_BUS, **settings) as log:
        until((ready / "controller-0").exists, log)
        ports = json.loads((ready / "controller-0").read_text())
        far = {face: f"127.0.0.1:{ports[face]}" for face in ("grpc", "http")}
        with process(short_dir, "router", controllers=[far], **settings) as router_log:
            until((ready / "router-0").exists, router_log)
            addresses = {"controller": ports, "router": json.loads((ready / "router-0").read_text())}
            yield Running(folder=short_dir, collector=collector, addresses=addresses)
    collector.server.stop(0).wait()


def test_a_secret_is_found_nowhere_afterwards(running: Running):
    answers = [*sent_open(running)]
    made = closed(running)
    answers += sent_closed(running)
    with running.collector.lock:
        spans = "".join(str(span) for span in running.collector.spans)
    left = {str(path): path.read_bytes() for path in running.folder.rglob("*") if path.is_file()}

    assert {answer.status_code for answer in answers} >= {200, 400, 401}
    assert [answer.text for answer in answers if CANARY in answer.text or CANARY in str(answer.headers)] == []
    assert [found for path, content in left.items() for found in lines_with(CANARY, made, path=path, content=content)] == []
    assert [word for word in (CANARY, made) if word in running.metrics() or word in spans] == []


def lines_with(*secrets: str, path: str, content: bytes) -> list[str]:
    """Return where secrets stand, as far as lines tell."""
    return [f"{path}: {line[:300]!r}" for line in content.splitlines() if any(secret.encode() in line for secret in secrets)]


def sent_open(running: Running) -> Iterator[httpx2.Response]:
    """Send everything while both are open to everybody, so that it is looked at as far as it goes."""
    with httpx2.Client(trust_env=False, timeout=60, headers={"traceparent": SAMPLED}) as client:
        for base in running.http():
            for method, path, body in BODIES:
                yield client.request(method, base + path, json=body)
            for headers in HEADERS:
                yield client.get(base + "/api/v1/models", headers=headers)
            for url in URLS:
                yield client.get(base + url)


def closed(running: Running) -> str:
    """Make the first administrator's key, and return it: from then on nobody is let in without one."""
    with httpx2.Client(trust_env=False, timeout=60) as client:
        base = running.http()[0]
        client.put(base + "/api/v1/tenants/root", json={"settings": {"admin": True}}).raise_for_status()
        return client.post(base + "/api/v1/tenants/root/keys", json={}).raise_for_status().json()["key"]


def sent_closed(running: Running) -> Iterator[httpx2.Response]:
    """Send what opens nothing, by both protocols."""
    with httpx2.Client(trust_env=False, timeout=60) as client:
        for base in running.http():
            for headers in HEADERS:
                yield client.get(base + "/api/v1/models", headers=headers)
    for ports in running.addresses.values():
        with grpc.insecure_channel(f"127.0.0.1:{ports['grpc']}") as channel:
            call = channel.unary_unary("/penstock.v1.Controller/SetTenant")
            with pytest.raises(grpc.RpcError) as refused:
                call(pb.SetTenantRequest(tenant="acme").SerializeToString(), metadata=[("x-api-key", KEY)], timeout=60)
            told: Any = refused.value
            assert CANARY not in f"{told.details()}{told.trailing_metadata()}"
