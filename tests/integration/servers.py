"""Real servers for a whole test session, run by the code that `penstock up` runs them with.

Each is started on its first use, by one thread with one event loop that lives until the session ends: servers die with the thread that
started them, so nothing is left behind even when the session is killed.
"""

from __future__ import annotations

import asyncio
import io
import queue
import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from penstock.contracts.topics import TOPICS, Topic
from services.chassis.clock import SystemClock
from services.stack.board import Board
from services.stack.fetch import cache_folder
from services.stack.free_ports import Ports
from services.stack.postgres_database import DATABASE, USER, home
from services.stack.recipe import Recipe, Sources
from services.stack.recipes import RECIPES
from services.stack.server_cache import ServerCache
from services.stack.servers import Servers, Surroundings
from services.stack.topic_catalogue import make_topics

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
START_SECONDS = 55.0
"""Less than what a test may take: the error of a start tells more than that of the clock."""


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """Where a real server answers."""

    address: str
    """`host:port`"""
    log: Path

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class SessionServers:
    """All servers of one session; use it from any thread."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-servers-"))
        self._wanted: queue.Queue[tuple[Recipe, Future[str]] | None] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="real-servers", daemon=True)
        self._given: dict[str, ServerAddress] = {}

    def fetch(self, names: Sequence[str]) -> None:
        """Download and build what the servers need and the cache does not hold: minutes, once a machine."""
        with redirect_stdout(io.StringIO()):
            asyncio.run(self._servers().find_all([recipe for recipe in RECIPES if recipe.name in names]))

    def start(self, name: str) -> ServerAddress:
        """Return where a server answers, starting it on first use."""
        if name not in self._given:
            if not self._thread.is_alive():
                self._thread.start()
            ready: Future[str] = Future()
            self._wanted.put((BY_NAME[name], ready))
            address = ready.result(START_SECONDS + 60.0)
            self._given[name] = ServerAddress(address=address, log=self._folder / "logs" / f"{name}.log")
        return self._given[name]

    def close(self) -> None:
        """Stop everything, the last started first, and forget its data."""
        if self._thread.is_alive():
            with redirect_stdout(io.StringIO()):
                self._wanted.put(None)
                self._thread.join(60.0)
        shutil.rmtree(home(self._folder / "postgres"), ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def make_topics(self, topics: Sequence[Topic] = TOPICS) -> None:
        """Make topics in the session's Kafka."""
        asyncio.run(make_topics(self.start("kafka").address, topics))

    async def _run(self) -> None:
        servers = self._servers()
        async with AsyncExitStack() as stack:
            # One task enters and leaves all blocks, as task groups demand.
            while (wanted := await asyncio.to_thread(self._wanted.get)) is not None:
                recipe, ready = wanted
                try:
                    (found,) = await servers.find_all([recipe])
                    ready.set_result(await stack.enter_async_context(servers.running(recipe, found)))
                except Exception as error:  # noqa: BLE001  raised again where it was asked for
                    ready.set_exception(error)

    def _servers(self) -> Servers:
        board = Board(self._folder, "tests")
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        sources = Sources(cache=ServerCache(cache_folder(), board.say), logs=logs, say=board.say)
        return Servers(
            Surroundings(
                folder=self._folder,
                board=board,
                ports=Ports(self._folder / "ports.json", {}, board.say),
                sources=sources,
                clock=SystemClock(),
                addresses={},
                start_seconds=START_SECONDS,
            )
        )


def postgres_url(server: ServerAddress) -> str:
    """Return the URL that SQLAlchemy takes."""
    return f"postgresql+asyncpg://{USER}@{server.address}/{DATABASE}"
