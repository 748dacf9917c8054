"""Names cannot be looked up any more, or lookups never end, while what is known by name comes and goes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.killable import Killable, RealServer, free_ports, service
from bench.mesh import MODEL, ONCE, Mesh, Shape, confirmed, mesh, until
from penstock import Client, ClientOptions, ServingError
from penstock.client.retry import RetryPolicy
from penstock.contracts.routes import RoutingKey
from tests.faults.figures import record
from tests.faults.proxy import Proxy, Toxic
from tests.worker import models

pytestmark = pytest.mark.timeout(420)

NAME = "worker-0.mesh.test"
ROW = {"x": np.ones((1, 3), np.float32)}


class Resolver:
    """What processes look names up by, and what it does: `ok`, `fail` or `hang`."""

    def __init__(self, folder: Path) -> None:
        self._word, self._library = folder / "word", folder / "resolver.so"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        assert compiler, "this row needs a C compiler (cc), and this machine has none: install one to run it"
        source = Path(__file__).with_name("resolver.c")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        self.does("ok")

    @property
    def variables(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "PENSTOCK_RESOLVER": str(self._word)}

    def does(self, word: str) -> None:
        beside = self._word.with_suffix(".new")
        beside.write_text(word)
        beside.replace(self._word)


@pytest.fixture
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver(tmp_path)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    return made


@contextmanager
def started(one: Killable) -> Iterator[Killable]:
    one.start()
    try:
        yield one
    finally:
        one.end(signal.SIGTERM)


def answers(client: Client) -> bool:
    try:
        return client.predict("m", ROW).version == "1"
    except ServingError:
        return False


def test_n11_a_worker_is_found_where_it_was_when_its_name_cannot_be_looked_up_any_more(resolver: Resolver, short_dir: Path):
    repository = short_dir / "models" / "m" / "1"
    repository.mkdir(parents=True)
    (repository / "model.onnx").write_bytes(models.row_sum())
    ports = free_ports(short_dir, "link", "grpc", "http")
    worker_settings = {"repository": str(short_dir / "models"), "link_host": "127.0.0.1", "link_advertised_host": NAME}
    worker = service(short_dir, "worker", "worker-0", {"worker_id": "worker-0", "link_port": ports["link"], **worker_settings})
    router = service(short_dir, "router", "router-0", {"grpc_port": ports["grpc"], "http_port": ports["http"]})
    options = ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=10)
    told: list[bool] = []
    with started(worker), started(router), Client(f"127.0.0.1:{ports['grpc']}", options) as client:
        router.wait()
        until(lambda: answers(client), 60)
        for word in ("fail", "hang"):
            resolver.does(word)
            told.append(answers(client))  # what is connected stays so
            worker.kill()
            until(lambda: not answers(client), 60)
            worker.start()
            until(lambda: answers(client), 60)
        said = router.log_tail()

    assert told == [True, True]
    assert '"name_not_looked_up"' in said
    record("N11", lookups_failed=2)


class Wires:
    """A proxy in front of each server, which the mesh knows by name."""

    def __init__(self, stack: ExitStack, free_port: int) -> None:
        self._stack = stack
        self._named_port = free_port
        self.proxies: dict[str, Proxy] = {}

    def place(self, server: RealServer) -> str:
        """Return the name and port of a server's proxy; Kafka gives them out to its clients, too."""
        host, _, own = server.address.rpartition(":")
        port = self._named_port if server.name == "kafka" else int(own)
        proxy = self._stack.enter_context(Proxy(server.name, lambda: (host, port)))
        self.proxies[server.name] = proxy
        named = f"{server.name}.mesh.test:{proxy.port}"
        if server.name == "kafka":
            _advertise(server.folder / "server.properties", f"127.0.0.1:{port}", named)
        return named

    def cut(self) -> None:
        """End every connection; return when each server was reached again."""
        before = {name: proxy.connections for name, proxy in self.proxies.items()}
        for proxy in self.proxies.values():
            proxy.poison(Toxic(reset=True))
            proxy.heal()
        for name, proxy in self.proxies.items():
            until(lambda name=name, proxy=proxy: proxy.connections > before[name], 60)


def _advertise(settings: Path, own: str, named: str) -> None:
    """Add a listener to a broker that its clients are told to reach by name."""
    lines = []
    for line in settings.read_text().splitlines():
        name, _, _value = line.partition("=")
        added = {"listeners": f",NAMED://{own}", "advertised.listeners": f",NAMED://{named}"}.get(name, "")
        lines.append(line + added)
        assert name != "listener.security.protocol.map"
    protocols = ",".join(f"{one}:PLAINTEXT" for one in ("PLAINTEXT", "CONTROLLER", "NAMED"))
    settings.write_text("\n".join([*lines, f"listener.security.protocol.map={protocols}"]) + "\n")


@pytest.fixture
def named(
    resolver: Resolver, tmp_path: Path, free_ports: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Mesh, Wires]]:
    broker_port, collector_port = free_ports(2)
    # Nobody listens there: what cannot even be looked up must not hold up more than what cannot be reached.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://collector.mesh.test:{collector_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    shape = Shape(routers=1, workers=1, controllers=1, has_postgres=True, has_redis=True)
    with ExitStack() as stack:
        wires = Wires(stack, broker_port)
        folder = tmp_path / "mesh"
        folder.mkdir()
        yield stack.enter_context(mesh(folder, shape, wires.place)), wires


def test_n11_servers_are_reached_where_they_were_when_their_names_cannot_be_looked_up_any_more(
    named: tuple[Mesh, Wires], resolver: Resolver
):
    running, wires = named
    served: list[bool] = []
    changed: list[str] = []
    with running.control() as control, Client(running.router_addresses[0], ONCE) as client:
        for word in ("fail", "hang"):
            resolver.does(word)
            served.append(multiplies(client))  # what is connected stays so
            wires.cut()
            # Through the database, the bus, a router, and the bus again.
            answer = confirmed(lambda word=word: control.stick(MODEL, RoutingKey(salt=word)), len(running.routers))
            changed.append(answer.route.routing_key.salt)
            served.append(multiplies(client))
    processes = [*running.routers, *running.controllers, *running.workers]
    said = [one.log_text() for one in processes]
    ended = {one.name: one.end() for one in processes}  # nor does a lookup that hangs keep anybody from ending

    assert (served, changed) == ([True] * 4, ["fail", "hang"])
    assert ["name_not_looked_up" in text for text in said] == [True] * 3
    assert ended == dict.fromkeys(ended, 0)
    record("N11 servers", lookups_failed=2, servers=len(wires.proxies))


def multiplies(client: Client) -> bool:
    return bool(client.predict(MODEL, {"x": np.ones((1, 1), np.float32)}).version)
