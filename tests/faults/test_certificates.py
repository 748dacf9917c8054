"""Who is at the other end of a link: another process at a worker's address, and certificates that are renewed, wrong or over."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from penstock.v1 import link_pb2 as pb
from services.mesh import frames
from tests.authority import write_key
from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Ledger
from tests.faults.load import UNDISTURBED, Plan, asking
from tests.faults.proxy import Toxic
from tests.faults.truths import held_true
from tests.faults.world import World, world

pytestmark = pytest.mark.timeout(240)

PLAN = Plan(rate=200.0, models=("alpha",), deadline_seconds=20.0)
HOPELESS = {"NO_READY_REPLICA", "WORKER_LOST", "DEADLINE_EXCEEDED"}


async def until(running: World, condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(lambda: running.served.until(condition, seconds=60.0))


async def connected_again(running: World, names: tuple[str, ...]) -> None:
    """Cut links one after the other; each has to be up again before the next goes."""
    for name in names:
        ups = len(running.served.events("link_up"))
        running.links[name].poison(Toxic(reset=True))
        await until(running, lambda: running.links_up() < len(running.links))
        running.links[name].heal()
        await until(running, lambda ups=ups: len(running.served.events("link_up")) > ups and running.links_up() == len(running.links))


def all_answered(ledger: Ledger) -> None:
    assert [entry.outcomes for entry in ledger.entries() if not entry.is_ok] == []


@contextmanager
def stranger(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """Listen as somebody who answers each block with something; give out the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while block := connection.recv(65_536):
                connection.sendall(answer(block))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()


def echo(block: bytes) -> bytes:
    return block


def welcome(_: bytes) -> bytes:
    """Greet as a worker that does not look whom the router means."""
    greeting = pb.Welcome(worker_instance_id="somebody-else", protocol_version=frames.PROTOCOL_VERSION, credit_rows=100)
    return frames.framed(pb.WorkerFrame(welcome=greeting))


async def test_n12_whoever_else_listens_at_a_workers_address_is_never_talked_to(running: World, ledger: Ledger):
    link, other = running.links["worker-0"], running.links["worker-1"]
    before = {event: len(running.served.events(event)) for event in ("link_refused", "link_broken")}

    def events(event: str, field: str, text: str) -> int:
        return sum(text in line[field] for line in running.served.events(event)[before[event] :])

    with stranger(echo) as echoing, stranger(welcome) as welcoming:
        # Another worker cuts off whoever means somebody else; an echo is told apart by its version, who does not look by its name.
        impostors: dict[int, Callable[[], int]] = {
            other.port: lambda: events("link_broken", "error", "means 'worker-0-"),
            echoing: lambda: events("link_refused", "met", "worker-0-"),
            welcoming: lambda: events("link_refused", "met", "somebody-else"),
        }
        async with asking(running.target, ledger, PLAN):
            for port, turned_away in impostors.items():
                with link.leading_to(("127.0.0.1", port)):
                    link.poison(Toxic(reset=True))
                    await until(running, lambda: running.links_up() == 1)
                    link.heal()
                    # Somebody answers there, again and again, and no link comes of it.
                    await until(running, lambda turned_away=turned_away: turned_away() >= 3)
                    assert running.links_up() == 1
                link.poison(Toxic(reset=True))
                link.heal()
                await until(running, lambda: running.links_up() == 2)

    held_true(running, ledger)
    all_answered(ledger)
    record("N12", calls=len(ledger.entries()), refused=0, handshakes_refused=sum(turned_away() for turned_away in impostors.values()))


class Certificates:
    """The files that router and workers share; each is replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def issue(self, authority: trustme.CA, days: float = 100.0) -> None:
        leaf = authority.issue_cert("worker", not_after=datetime.now(UTC) + timedelta(days=days))
        self._put("chain.pem", leaf.cert_chain_pems[0].bytes())
        self._put("key.pem", leaf.private_key_pem.bytes())

    def trust(self, *authorities: trustme.CA) -> None:
        self._put("ca.pem", b"".join(one.cert_pem.bytes() for one in authorities))

    @property
    def options(self) -> list[str]:
        files = {"link_certificate": "chain.pem", "link_key": "key.pem", "link_authorities": "ca.pem"}
        sets = [f'{who}.{name}="{self.folder / file}"' for who in ("router", "worker") for name, file in files.items()]
        return [word for one in sets for word in ("--set", one)]

    def _put(self, name: str, content: bytes) -> None:
        write_key(self.folder / name, content)


async def refusals(running: World) -> set[str]:
    """Cut every link; return what callers are told while nobody can be met."""
    async with Caller(running.target, Ledger(), options=UNDISTURBED) as caller:
        for link in running.links.values():
            link.poison(Toxic(reset=True))
        await until(running, lambda: running.links_up() == 0)
        connections = {name: link.connections for name, link in running.links.items()}
        for link in running.links.values():
            link.heal()
        await until(running, lambda: all(link.connections > connections[name] + 1 for name, link in running.links.items()))
        outcomes = [await caller.ask("alpha", nonce, deadline_seconds=0.5) for nonce in range(5)]
        assert running.links_up() == 0
        return {outcome.reason for outcome in outcomes}


async def test_n13_certificates_are_renewed_under_load_and_a_strangers_or_old_ones_open_nothing(
    tmp_path: Path, short_dir: Path, ledger: Ledger
):
    first, second, other = trustme.CA(), trustme.CA(), trustme.CA()
    files = Certificates(tmp_path / "tls")
    files.issue(first)
    files.trust(first)
    models = oracle.write_models(tmp_path / "models", ("alpha",))
    with world(short_dir, models, *files.options) as running:
        running.settle({"alpha": "1"})
        children = {name: running.served.child(name) for name in (*running.workers, "router-0")}
        async with asking(running.target, ledger, PLAN):
            files.issue(first)
            await connected_again(running, running.workers)
            files.trust(first, second)
            await connected_again(running, running.workers)
            files.issue(second)
            await connected_again(running, running.workers)
            files.trust(second)
            await connected_again(running, running.workers)
        all_answered(ledger)
        held_true(running, ledger)

        files.trust(other)
        by_strangers = await refusals(running)
        files.trust(second)
        await until(running, running.is_settled)
        files.issue(second, days=-1.0)
        ended = await refusals(running)
        files.issue(second, days=10.0)
        await until(running, running.is_settled)
        async with Caller(running.target, ledger, options=UNDISTURBED) as caller:
            await caller.ask("alpha", 100_000, deadline_seconds=PLAN.deadline_seconds)

        all_answered(ledger)
        assert by_strangers <= HOPELESS
        assert ended <= HOPELESS
        assert {name: running.served.child(name) for name in children} == children
        # Router and workers say so: the certificate that has ended, and the one that will within 14 days.
        await until(running, lambda: len({line["process_id"] for line in running.served.events("certificate_ends_soon")}) == 3)
        assert running.metric("penstock_certificate_end_time_seconds{") > 0
        record("N13", calls=len(ledger.entries()), refused=0, renewals=len(running.served.events("tls_files_reloaded")))
