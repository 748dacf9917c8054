"""What every test session has: free ports, a short folder for sockets, and nobody left running when it ends."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka_broker import Broker
from tests.secure_listeners import SecureListeners

# Time decides no test: on a machine that others share an example may take what it takes.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")

MARK = "PENSTOCK_TEST_SESSION"
"""Environment variable that every child inherits, so that orphans are known as well."""
PORTS = range(20_000, 32_000)
"""Below the range that Linux gives to outgoing connections: nothing else takes a port between choice and use."""
GRACE_SECONDS = float(os.environ.get("PENSTOCK_TEST_GRACE_SECONDS", "20"))
"""How long ended processes may take to be gone."""

_given: set[int] = set()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Mark the session, and keep run folders of servers under a folder that goes away with it."""
    os.environ[MARK] = uuid.uuid4().hex
    session.config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="penstock-tests-"))
    os.environ["XDG_RUNTIME_DIR"] = str(session.config.stash[_FOLDER])


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the sight of the collector of garbage: it lasts as long as the session."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that leaves processes behind, and end them."""
    leaked = _leaked_when_settled()
    for process_id in leaked:
        _kill(process_id)
    shutil.rmtree(session.config.stash[_FOLDER], ignore_errors=True)
    if leaked:
        session.config.stash[_LEAKED] = [f"{process_id}: {command}" for process_id, command in leaked.items()]
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the processes that were left behind."""
    leaked = config.stash.get(_LEAKED, [])
    if leaked:
        terminalreporter.section("processes left running by the tests (killed now)", red=True)
        for line in leaked:
            terminalreporter.line(line)


@pytest.fixture
def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on and that no other test of the session was given."""
    return _claim_port()


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that gives that many free ports."""
    return lambda count: [_claim_port() for _ in range(count)]


@pytest.fixture(scope="session")
def session_ports() -> Callable[[int], list[int]]:
    """Return the same for fixtures that outlive a test."""
    return lambda count: [_claim_port() for _ in range(count)]


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Return an empty folder with a path short enough for Unix sockets (107 bytes); it goes away with the test."""
    with tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a real broker that lives as long as the session, reached in the clear and over TLS; tests make topics of their own."""
    folder = tmp_path_factory.mktemp("kafka")
    secure = SecureListeners(folder=folder / "tls", mutual_port=_claim_port(), users_port=_claim_port())
    broker = Broker(folder, [_claim_port(), _claim_port()], secure)
    broker.format()
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


_FOLDER = pytest.StashKey[Path]()
_LEAKED = pytest.StashKey[list[str]]()


def _claim_port() -> int:
    while True:
        port = random.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _leaked_when_settled() -> dict[int, str]:
    # Processes that a test has ended may still be on their way out.
    give_up_at = time.monotonic() + GRACE_SECONDS
    while (leaked := _running_processes()) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return leaked


def _running_processes() -> dict[int, str]:
    mark = f"{MARK}={os.environ[MARK]}".encode()
    # A forked child that never ran a program of its own shows the environment of before the mark.
    forked = {number for listing in Path("/proc/self/task").glob("*/children") for number in listing.read_text().split()}
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if folder.name not in forked and mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile, or somebody else's
            continue
        # multiprocessing's tracker leaves with the interpreter; a zombie has no command line any more.
        if command and "multiprocessing.resource_tracker" not in command:
            found[int(folder.name)] = command[:200]
    return found


def _kill(process_id: int) -> None:
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return
