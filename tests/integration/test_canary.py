"""A secret in a header, a body or a URL is found nowhere afterwards: a router and a controller run, and all they leave is searched."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from click.testing import CliRunner

from penstock.cli.main import program
from penstock.client.control import Control
from penstock.client.uploads import files_of, send
from penstock.client.writes import About, Run, SentFile, Write
from penstock.contracts.errors import ServingError
from penstock.v1 import controller_pb2 as pb
from tests.integration.processes import process, until
from tests.integration.test_traces import SAMPLED, Collector
from tests.worker import models

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

    def grpc(self) -> list[str]:
        return [f"127.0.0.1:{ports['grpc']}" for ports in self.addresses.values()]

    def metrics(self) -> str:
        return "".join(scraped(path) for path in (self.folder / "s" / "metrics").glob("*.sock"))


def scraped(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(path))
        link.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: link.recv(65536), b"")).decode()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What came back and what is left, after everything was sent."""

    answers: list[httpx2.Response]
    told: list[str]
    """What was said to refused changes."""
    audit: str
    places: list[str]
    """Where a secret stands on the disk."""
    emitted: str
    """Metrics and spans."""
    made: str
    """A key that the controller made."""


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    with tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as environment:
        with observed(Path(folder), environment) as running:
            told, audit = changes_refused(running)
            answers = [*sent_open(running)]
            made = closed(running)
            answers += sent_closed(running)
            with running.collector.lock:
                spans = "".join(str(span) for span in running.collector.spans)
            left = {str(path): path.read_bytes() for path in running.folder.rglob("*") if path.is_file()}
            places = [found for path, content in left.items() for found in lines_with(CANARY, made, path=path, content=content)]
            emitted = running.metrics() + spans
        yield Evidence(answers=answers, told=told, audit=audit, places=places, emitted=emitted, made=made)


@contextmanager
def observed(folder: Path, environment: pytest.MonkeyPatch) -> Iterator[Running]:
    collector, ready = Collector(), folder / "s" / "ready"
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    environment.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    environment.setenv("OTEL_TRACES_SAMPLER", "always_on")
    environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    settings: dict[str, Any] = {"grpc_port": 0, "http_port": 0, "log_level": "debug"}
    with process(folder, "controller", bus=NO_BUS, **settings) as log:
        until((ready / "controller-0").exists, log)
        ports = json.loads((ready / "controller-0").read_text())
        far = {face: f"127.0.0.1:{ports[face]}" for face in ("grpc", "http")}
        with process(folder, "router", controllers=[far], **settings) as router_log:
            until((ready / "router-0").exists, router_log)
            addresses = {"controller": ports, "router": json.loads((ready / "router-0").read_text())}
            yield Running(folder=folder, collector=collector, addresses=addresses)
    collector.server.stop(0).wait()


def test_a_secret_is_found_nowhere_afterwards(evidence: Evidence):
    assert {answer.status_code for answer in evidence.answers} >= {200, 400, 401}
    assert [answer.text for answer in evidence.answers if CANARY in answer.text or CANARY in str(answer.headers)] == []
    assert evidence.places == []
    assert [word for word in (CANARY, evidence.made) if word in evidence.emitted] == []


def test_a_secret_in_a_change_that_is_refused_is_in_no_audit_whatever_face_it_came_by(evidence: Evidence):
    assert [words for words in evidence.told if CANARY in words or "WRITES_FROZEN" not in words] == []
    assert evidence.audit.count("(WRITES_FROZEN)") == len(evidence.told)
    assert [face for face in ("grpc", "http", "command") if f"by {face}" not in evidence.audit] == []
    assert CANARY not in evidence.audit


def changes_refused(running: Running) -> tuple[list[str], str]:
    """Ask for changes while writes are frozen, by every face; return what was said, and the audit."""
    freeze, changes = (f"{running.http()[0]}/api/v1/{path}" for path in ("freeze", "changes?limit=1000"))
    with httpx2.Client(trust_env=False, timeout=60) as client:
        client.put(freeze, json={"frozen": True}).raise_for_status()
        told = [*refused_over_grpc(running), *refused_over_http(running, client), *refused_by_the_command(running)]
        client.put(freeze, json={"frozen": False}).raise_for_status()
        return told, client.get(changes).raise_for_status().text


def refused_over_grpc(running: Running) -> Iterator[str]:
    config = json.dumps({"parameters": {"hub": "main"}})
    about = About(description=f"api_key: {CANARY}", metadata={"hf_token": CANARY, "origin": f"https://u:{CANARY}@example.com/m"})
    write = Write(reason=f"by grpc, the password={CANARY}")
    for target in running.grpc():
        with Control(target) as control:
            calls: tuple[Callable[[], object], ...] = (
                partial(control.register, "m", "1", sent_files(control, running.folder / "version"), about, write),
                partial(control.deploy, "m", "1", Run(config_json=config), write),
                partial(control.pin, "m", KEY, KEY, write),
                partial(control.set_alias, "m", KEY, KEY, write),
                partial(control.create_key, "acme", 60.0, write),
            )
            yield from (words_of(call) for call in calls)


def sent_files(control: Control, folder: Path) -> list[SentFile]:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(models.identity())
    files = files_of(folder)
    for file in files:
        send(control, file)
    return [file.sent for file in files]


def refused_over_http(running: Running, client: httpx2.Client) -> Iterator[str]:
    reason = {"reason": f"by http, authorization: Bearer {CANARY}"}
    manifest = f"apiVersion: penstock/v1\nkind: Deployment\nmetadata: {{name: m}}\nspec: {{versions: [{{version: {KEY}, traffic: 100}}]}}"
    for base in running.http():
        for method, path, body in (
            ("PUT", "/tenants/acme", {"settings": {"models": [KEY]}}),
            ("PUT", f"/deployments/m/pins/{KEY}", {"version": "1"}),
            ("PUT", f"/models/m/aliases/{KEY}", {"version": "1"}),
            ("PATCH", "/deployments/m/route", {"routing_key": {"source": "parameter", "parameter": "p", "salt": f"secret={CANARY}"}}),
            ("POST", "/deployments", {"model_name": "m", "version": "1"}),
            ("POST", "/apply", {"manifest": manifest}),
        ):
            yield client.request(method, f"{base}/api/v1{path}", json=body | reason).text


def refused_by_the_command(running: Running) -> Iterator[str]:
    for target in running.grpc():
        for arguments in (
            ("traffic", "set", "m", f"{KEY}=100"),
            ("traffic", "pin", "m", "1", "--tenant", KEY),
            ("models", "alias", "set", "m", KEY, "1"),
            ("deploy", "m@1", "--no-wait"),
            ("tenants", "set", "acme", json.dumps({"models": [KEY]})),
            ("tenants", "create-key", "acme"),
        ):
            asked = [*arguments, "--reason", f"by command, cookie={CANARY}", "--grpc", target]
            yield CliRunner().invoke(program, asked, prog_name="penstock").output


def words_of(change: Callable[[], object]) -> str:
    """Return all that a refusal tells."""
    with pytest.raises(ServingError) as refused:
        change()
    return f"{refused.value.reason} {refused.value}"


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
