"""What takes part in the race: how each server is asked, checked and counted, and how our own and the bare one are started."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench import bodies
from bench.bodies import Body
from bench.model import Floats
from bench.trees import GENERATOR_CORE, Start, Tree, own_folder, running
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2 import inference_pb2_grpc as stubs

KEY = "penstock_benchbenchbenchbenchbenchbench01"
TENANTS = """\
[[tenants]]
name = "bench"
requests_per_second = 10000000
rows_per_second = 100000000
max_rows_in_flight = 1000000
keys = ["sha256:{digest}"]
"""
ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server tree and how it is spoken to."""

    name: str
    tree: Tree
    grpc_port: int | None = None
    http_port: int | None = None
    http_body: Callable[[Floats], Body] | None = None
    """The body of its default HTTP encoding."""
    count_url: str | None = None
    counts: str = "nv_inference_request_success{"
    """How the lines of answered requests begin in what `count_url` gives."""
    state: Path | None = None
    """Run folder of our own server."""
    answers_truly: bool = True
    """False for the bare server, which runs no model."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-api-key": KEY})

    def check(self, rows: Floats, expected: Floats) -> None:
        """Ask once in every encoding and compare the answers.

        Raises:
            WrongAnswer: one differs.
        """
        if self.answers_truly:
            for encoding, answer in self._answers(rows):
                bodies.check(f"{self.name} ({encoding})", answer, expected)

    def is_right(self, rows: Floats) -> bool:
        """Whether it answers at all."""
        try:
            return all(answer.size > 0 for _, answer in self._answers(rows))
        except (grpc.RpcError, OSError, http.client.HTTPException, ValueError, LookupError):
            return False

    def answered(self) -> int | None:
        """Return how many requests the server says it answered; None when it does not say."""
        if self.count_url is None:
            return None
        with urllib.request.urlopen(self.count_url, timeout=ASK_SECONDS) as response:
            lines = response.read().decode().splitlines()
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(self.counts)))

    def ask_http(self, body: Body) -> Floats:
        """Post one body and return the values of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=ASK_SECONDS)
        try:
            connection.request("POST", body.path, body.content, {**body.headers, **self.headers})
            answer = connection.getresponse()
            return bodies.http_answer(answer.read(), answer.getheader(bodies.LENGTH_HEADER))
        finally:
            connection.close()

    def _answers(self, rows: Floats) -> Generator[tuple[str, Floats]]:
        if self.grpc_port is not None:
            with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
                call: Callable[..., pb.ModelInferResponse] = stubs.GRPCInferenceServiceStub(channel).ModelInfer
                yield (
                    "gRPC",
                    bodies.grpc_answer(call(bodies.infer_request(rows), timeout=ASK_SECONDS, metadata=tuple(self.headers.items()))),
                )
        if self.http_port is not None and self.http_body is not None:
            yield "HTTP", self.ask_http(self.http_body(rows))


@contextmanager
def penstock_server(work: Path, *, models: Path | None = None, is_plain: bool = False, more_tenants: str = "") -> Generator[Server]:
    """Run `penstock serve` with everything on: keys, quotas, deadlines, validation, metrics, 1 % of the requests traced.

    A plain one has neither keys nor traces. When it ends, traces must have arrived at the collector.

    Args:
        work: folder to work in.
        models: the repository; without one, `work / "models"`.
        is_plain: leave out keys and traces.
        more_tenants: TOML of tenants beside the bench's own.
    """
    repository = models or work / "models"
    if is_plain:
        with _serving(work, repository, [], None) as server:
            yield server
        return
    tenants = work / "tenants.toml"
    tenants.write_text(TENANTS.format(digest=hashlib.sha256(KEY.encode()).hexdigest()) + more_tenants)
    with _trace_sink(work) as (environment, exports), _serving(work, repository, ["--tenants-file", str(tenants)], environment) as server:
        yield server
        if (server.answered() or 0) > 10_000 and not exports():
            raise SystemExit("penstock sent no traces")


@contextmanager
def echo_server(work: Path) -> Generator[Server]:
    """Run a bare grpc.aio server that answers every call with the same bytes: what Python pays for gRPC alone."""
    folder = own_folder(work, "grpc_aio")
    ready = folder / "ready.json"
    start = Start(name="grpc_aio", command=[sys.executable, "-m", "bench.grpc_aio_echo", str(ready)], log=folder / "log")
    with running(start) as tree:
        tree.wait_until(ready.exists)
        yield Server(name="grpc_aio", tree=tree, grpc_port=json.loads(ready.read_text())["grpc"], answers_truly=False)


@contextmanager
def _serving(work: Path, repository: Path, options: list[str], environment: Mapping[str, str] | None) -> Generator[Server]:
    folder = own_folder(work, "penstock")
    state = folder / "state"
    serve = [str(Path(sys.executable).with_name("penstock")), "serve", str(repository), "--state-dir", str(state)]
    command = [*serve, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *options]
    with running(Start(name="penstock", command=command, log=folder / "log", environment=environment)) as tree:
        record = state / "serve.json"
        tree.wait_until(record.exists)
        ports = {place: int(str(told).rpartition(":")[2]) for place, told in json.loads(record.read_text()).items() if place in PORTS}
        yield Server(
            name="penstock",
            tree=tree,
            grpc_port=ports["grpc"],
            http_port=ports["http"],
            http_body=bodies.json_body,
            state=state,
            count_url=f"http://127.0.0.1:{ports['metrics']}/metrics",
        )


PORTS = ("grpc", "http", "metrics")


@contextmanager
def _trace_sink(work: Path) -> Generator[tuple[Mapping[str, str], Callable[[], int]]]:
    """Run a collector on the generator's core; give the environment that sends it 1 % and how many exports it took."""
    folder = own_folder(work, "sink")
    place = folder / "sink.json"
    command = [sys.executable, "-m", "bench.trace_sink", str(place)]
    with running(Start(name="trace_sink", command=command, log=folder / "log", core=GENERATOR_CORE)) as tree:
        tree.wait_until(place.exists)
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{json.loads(place.read_text())['port']}",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        yield environment, lambda: int(json.loads(place.read_text())["exports"])
