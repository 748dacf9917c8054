"""A real controller under attack: a process with a catalogue that holds something, asked by both of its faces.

A row of the matrix is a request in both forms and how it is refused. After each, the catalogue is what it was but for the record of a
refused change, the process is the one that it was, and the next good change is made.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx2

from penstock.contracts.topics import ASSIGNMENTS
from penstock.v1 import controller_pb2 as pb
from services.controller.model_values import Version, VersionState
from services.controller.registry import Description
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.stand import ANN, DIGEST, Stand, standing
from tests.integration.processes import process

API = "/api/v1"
START_SECONDS = 150.0
"""Longest wait for the controller, on a machine that has much else to do."""
FLAT_BYTES = 8 << 20
"""How much memory a thousand refusals may leave behind."""
SIGNATURE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]}
OTHER = {"inputs": [*SIGNATURE["inputs"], {"name": "z", "datatype": "FP32", "shape": [-1]}], "outputs": SIGNATURE["outputs"]}
FIXED = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4, 3]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [4]}]}
KEPT = {
    "models": "*",
    "versions": "*",
    "aliases": "*",
    "deployments": "id, model, version, revision, replicas, config, resources",
    "routes": "*",
    "tenants": "*",
    "keys": "key_id, tenant, hash, created_by, created_time, expires_time, revoked_time",
    "settings": "*",
    "kept_answers": "*",
    "outbox": "sequence, topic, key",
    "audit": "*",
}
"""What a refused change must leave as it was; how far deployments have come, who holds them and when a key was used changes by itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: a request in the words of each face, and how it is refused."""

    claim: str
    reason: str
    status: int
    code: str = "INVALID_ARGUMENT"
    says: str = ""
    """Stands in the message: what is wrong, where, the limit or the next step."""
    place: str | None = None
    """Where, as HTTP tells it."""
    pointer: str | None = None
    """One of the problems that HTTP lists, by its JSON pointer."""
    http: tuple[str, str, Any] | None = None
    """Method, path below the API, and body: bytes as they are, anything else as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    rpc: Any = None
    is_noted: bool = False
    """The refusal is a record of the audit."""


@dataclass
class Controller:
    """A controller process, and a client of good will."""

    http: str
    grpc: str
    key: str
    database: Path
    process_id: int
    log: Path
    channel: grpc.Channel
    client: httpx2.Client
    turn: int = 0

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """Send an HTTP request; bytes as they are, anything else as JSON."""
        fields = {"x-api-key": self.key, "content-type": "application/json"} | {
            name.replace("_", "-"): one for name, one in headers.items()
        }
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.request(method, self.http + API + path, content=content, headers=fields)

    def call(self, request: Any, method: str = "", key: str | None = None) -> Any:
        """Call the method of a request; raises what it is refused for."""
        name = method or type(request).__name__.removesuffix("Request")
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        read = getattr(pb, f"{name}Response").FromString
        call = self.channel.unary_unary(f"/penstock.v1.Controller/{name}", response_deserializer=read)
        return call(payload, metadata=[("x-api-key", key or self.key)], timeout=60)

    def kept(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return what is written down."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as opened:
            held = {table: opened.execute(f"SELECT {columns} FROM {table}").fetchall() for table, columns in KEPT.items()}
        held["outbox"] = [row for row in held["outbox"] if row[1] != ASSIGNMENTS.name]
        return held

    def assert_unharmed(self) -> None:
        """Check that it is the same process, and that the next good change is made by each face."""
        os.kill(self.process_id, 0)
        self.turn += 1
        version = ("v1", "v2")[self.turn % 2]
        changed = self.call(pb.SetAliasRequest(model="fraud", alias="champion", version=version))
        assert dict(changed.model.aliases)["champion"] == version
        assert self.send("GET", "/models/fraud").json()["aliases"]["champion"] == version

    def resident_bytes(self) -> int:
        """Return its memory."""
        return int(Path(f"/proc/{self.process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def mistakes(self) -> list[str]:
        """Return the lines of the log that tell of a mistake of ours."""
        return [line for line in self.log.read_text().splitlines() if '"level":"error"' in line or "Traceback" in line]


def refused_by_http(row: Row, running: Controller) -> None:
    """Send a row over HTTP and check how it is refused."""
    assert row.http is not None
    answer = running.send(*row.http, **{name.replace("-", "_"): value for name, value in row.headers.items()})
    told = answer.json()

    assert (answer.status_code, told["reason"]) == (row.status, row.reason), answer.text
    assert (answer.headers["penstock-reason"], answer.headers["content-type"]) == (row.reason, "application/problem+json")
    assert row.says in told["detail"], told["detail"]
    assert row.place is None or told["field"] == row.place, told
    assert row.pointer is None or row.pointer in [one["pointer"] for one in told["problems"]], told
    assert len(told["detail"]) <= 512
    assert told["detail"].isprintable()


def refused_by_grpc(row: Row, running: Controller) -> None:
    """Send a row over gRPC and check how it is refused."""
    try:
        answer = running.call(row.rpc)
    except grpc.RpcError as error:
        told: Any = error
    else:
        raise AssertionError(f"it was answered: {answer}")
    reason = dict(told.trailing_metadata() or ()).get("penstock-reason")

    assert (told.code().name, reason) == (row.code, row.reason), told.details()
    assert row.says in told.details(), told.details()
    assert len(told.details()) <= 512


def is_refused(row: Row, running: Controller) -> None:
    """Check a row by every face that can say it, and that nothing comes of it."""
    for face, form in ((refused_by_http, row.http), (refused_by_grpc, row.rpc)):
        if form is None:
            continue
        before = running.kept()
        face(row, running)
        after = running.kept()

        noted = after.pop("audit")[len(before.pop("audit")) :]
        assert after == before
        assert len(noted) == row.is_noted, noted
        assert all(row.reason in record for record in noted), noted
    running.assert_unharmed()


@contextmanager
def attacked_controller(folder: Path, nobodys_port: int) -> Iterator[Controller]:
    """Run a controller while the block lasts; its log must not tell of any mistake of ours.

    Nothing is told to anybody here: a broker would only hold up the start, so that the bus is away, and what is to go out stays in the
    outbox.
    """
    (folder / "s").mkdir()
    database = folder / "s" / "catalogue.db"
    key = asyncio.run(_furnished(f"sqlite+aiosqlite:///{database}"))
    bus = {"bootstrap_servers": f"127.0.0.1:{nobodys_port}"}
    with process(folder, "controller", controller_id="attacked", grpc_port=0, http_port=0, bus=bus) as log:
        ready = folder / "s" / "ready" / "attacked"
        _until(ready.exists, log)
        found = json.loads(ready.read_text())
        target = f"127.0.0.1:{found['grpc']}"
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(target, options=options) as channel, httpx2.Client(timeout=60, trust_env=False) as client:
            running = Controller(
                http=f"http://127.0.0.1:{found['http']}",
                grpc=target,
                key=key,
                database=database,
                process_id=found["pid"],
                log=log,
                channel=channel,
                client=client,
            )
            _until(lambda: running.send("PUT", "/models/fraud/aliases/champion", {"version": "v1"}).status_code == 200, log)
            yield running
            mistakes = running.mistakes()
            assert not mistakes, "\n".join(mistakes)[:3000]


def _until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)


async def _furnished(url: str) -> str:
    """Put into an empty catalogue what the rows need, and return an administrator's key."""
    engine = open_engine(url)
    await migrate(engine)
    await engine.dispose()
    async with standing(url) as stand:
        await _models(stand)
        tenancy = Tenancy(stand.changes)
        settings: Sequence[tuple[str, dict[str, object]]] = (("operator", {"admin": True}), ("acme", {"models": ["fraud"]}))
        for tenant, said in settings:
            await tenancy.set_tenant(tenant, TenantUpdate(settings=said), ANN)
        key, _ = await tenancy.create_key("operator", None, ANN)
        await stand.sql("UPDATE lease SET expires_time = 0")
    return key


async def _models(stand: Stand) -> None:
    for version, signature in (("v1", SIGNATURE), ("v2", SIGNATURE), ("odd", OTHER), ("idle", SIGNATURE), ("fixed", FIXED)):
        registered = Version(model="fraud", version=version, digest=DIGEST, signature=signature)
        await stand.registry.register(registered, Description(), ANN)
    await stand.active("fraud", "v1", "v2", "odd")
    await stand.registered("fraud", "failed", "deleted")
    await stand.registry.withdraw("fraud", "failed", VersionState.FAILED, ANN)
    await stand.registry.withdraw("fraud", "deleted", VersionState.DELETED, ANN)
    await stand.traffic.set_weights("fraud", {"v1": 10_000}, ANN)
    await stand.active("lone", "v1")
    await stand.traffic.set_weights("lone", {"v1": 10_000}, ANN)
