"""Real servers over their lives: found, prepared, started, asked until they answer, started again when they die, stopped.

A block each: entering `running` means that the server answers, leaving it means that its process is gone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import structlog

from services.chassis.child import Child, Exit, describe, kept
from services.chassis.clock import Clock
from services.chassis.parentage import start_ticks
from services.chassis.process import CannotStart, running
from services.chassis.restart_delays import RestartDelays, RestartPolicy
from services.stack.board import Board, State
from services.stack.commands import tail
from services.stack.free_ports import Ports
from services.stack.probes import NotReady
from services.stack.recipe import HOST, Found, NotFetched, Origin, Recipe, Site, Sources

POLL_SECONDS = 0.05
"""Time between two questions while a server starts."""
RETRY_SECONDS = 0.2
"""The same while one that has answered before does not."""
WATCH_SECONDS = 2.0
"""Time between two questions while it runs."""
MOST_DEATHS = 3
"""Deaths before the first answer after which the start is given up."""
LARGEST_LOG_BYTES = 20 << 20
"""A log that is larger when its server starts is put aside as `.1`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all servers of a stack share."""

    folder: Path
    board: Board
    ports: Ports
    sources: Sources
    clock: Clock
    addresses: Mapping[str, str]
    """`host:port` of servers that run elsewhere and are only used, by name."""
    start_seconds: float = 120.0
    """Longest wait for the first answer of a server."""


class Servers:
    """Finds and runs servers by their recipes."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Store the arguments."""
        self._around = surroundings
        self._board = surroundings.board
        self._children: list[Child] = []

    async def find_all(self, recipes: Sequence[Recipe]) -> tuple[Found, ...]:
        """Return where each server comes from, fetching what is not here; nothing is fetched once something cannot be had.

        Raises:
            CannotStart: naming everything that is missing.
        """
        found: list[Found] = []
        problems: list[CannotStart] = []
        for recipe in recipes:
            try:
                found.append(await self._find(recipe, may_fetch=not problems))
            except NotFetched:
                continue
            except CannotStart as problem:
                problems.append(problem)
        if problems:
            raise CannotStart("\n  ".join(str(problem) for problem in problems))
        return tuple(found)

    async def _find(self, recipe: Recipe, *, may_fetch: bool) -> Found:
        if recipe.name in self._around.addresses:
            return Found(origin=Origin.GIVEN, version="")
        self._board.show(recipe.name, state=State.FETCHING)
        found = await recipe.find(replace(self._around.sources, may_fetch=may_fetch))
        self._board.show(recipe.name, state=State.WAITING, origin=found.origin.value, version=found.version)
        return found

    def abandon(self) -> None:
        """Kill all processes."""
        for child in self._children:
            child.kill()

    @asynccontextmanager
    async def running(self, recipe: Recipe, found: Found) -> AsyncGenerator[str]:
        """Run a server until the block ends and give out its address; one that was given is only asked.

        Raises:
            CannotStart: it cannot be prepared, dies again and again, or does not answer in time.
        """
        async with AsyncExitStack() as stack:
            if found.origin is Origin.GIVEN:
                watched = _Watched(recipe=recipe, address=self._around.addresses[recipe.name], around=self._around)
                self._board.show(recipe.name, state=State.STARTING, address=watched.address, origin=found.origin.value)
            else:
                watched = await stack.enter_async_context(self._spawned(recipe, found))
            await watched.first_answer()
            await stack.enter_async_context(running(watched.watch(), name=f"watch-{recipe.name}"))
            yield watched.address

    @asynccontextmanager
    async def _spawned(self, recipe: Recipe, found: Found) -> AsyncGenerator[_Watched]:
        name, site = recipe.name, self._site(recipe)
        address = recipe.address or f"{HOST}:{site.ports[name]}"
        self._board.show(name, state=State.PREPARING, address=address, log=str(site.log))
        await recipe.prepare(found, site)
        deaths = _Deaths(name=name, log=site.log, board=self._board)
        child = Child(recipe.spec(found, site), RestartDelays(RestartPolicy(), Random()), self._around.clock, on_exit=deaths.count)
        self._children.append(child)
        self._board.show(name, state=State.STARTING)
        try:
            async with kept((child,), recipe.stop_seconds):
                try:
                    yield _Watched(recipe=recipe, address=address, around=self._around, child=child, deaths=deaths)
                finally:
                    self._board.show(name, state=State.STOPPING, note="")
        finally:
            self._board.show(name, state=State.STOPPED, pid=None, process_start_ticks=None)

    def _site(self, recipe: Recipe) -> Site:
        folder, logs = self._around.folder / recipe.name, self._around.folder / "logs"
        for made in (folder, logs):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = logs / f"{recipe.name}.log"
        if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return Site(folder=folder, log=path, ports=self._around.ports.take(recipe.ports))


@dataclass(slots=True, kw_only=True)
class _Deaths:
    """Says that a server died; gives the start up when it does nothing else."""

    name: str
    log: Path
    board: Board
    before_answer: int = 0
    has_answered: bool = False

    async def count(self, ended: Exit) -> None:
        how = describe(ended.status)
        if self.has_answered:
            self.board.say(f"{self.name} died ({how}) and is started again")
            self.board.show(self.name, state=State.DOWN, note=f"died: {how}", pid=None, process_start_ticks=None)
            return
        self.before_answer += 1
        if self.before_answer >= MOST_DEATHS:
            message = f"{self.name} ended {MOST_DEATHS} times before it answered (last: {how}); {self.log} ends with\n{tail(self.log)}"
            raise CannotStart(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """Asks one server whether it can be used, and says so."""

    recipe: Recipe
    address: str
    around: Surroundings
    child: Child | None = None
    """None for a server that was given."""
    deaths: _Deaths | None = None

    async def first_answer(self) -> None:
        """Return when the server answers.

        Raises:
            CannotStart: it has not within the time.
        """
        name, clock = self.recipe.name, self.around.clock
        began_at = clock.now()
        while missing := await self._ask():
            self.around.board.show(name, note=missing, **self._life())
            if clock.now() - began_at > self.around.start_seconds:
                raise CannotStart(f"{name} at {self.address} did not answer within {self.around.start_seconds:g} s: {missing}{self._log()}")
            await clock.sleep(POLL_SECONDS)
        if self.deaths is not None:
            self.deaths.has_answered = True
        self.around.board.show(name, state=State.READY, note="", **self._life())

    async def watch(self) -> None:
        """Ask from time to time until cancelled; often while it does not answer."""
        name, board, clock = self.recipe.name, self.around.board, self.around.clock
        asked_at = clock.now()
        while True:
            await clock.sleep(RETRY_SECONDS)
            state = board.entries[name].state
            is_dead = self.child is not None and self.child.process_id is None  # _Deaths has said so
            if is_dead or (state is State.READY and clock.now() - asked_at < WATCH_SECONDS):
                continue
            asked_at = clock.now()
            if missing := await self._ask():
                board.show(name, state=State.STARTING if state is State.DOWN else State.SILENT, note=missing, **self._life())
                continue
            if state is not State.READY:
                board.say(f"{name} answers again")
            board.show(name, state=State.READY, note="", **self._life())

    async def _ask(self) -> str | None:
        """Return what is missing; None when it can be used."""
        host, _, port = self.address.rpartition(":")
        try:
            # What listens on a Unix socket has no port.
            await self.recipe.answers(host, int(port) if port.isdecimal() else 0)
        except NotReady as reason:
            return str(reason)
        return None

    def _life(self) -> dict[str, int | None]:
        process_id = self.child.process_id if self.child else None
        ticks = start_ticks(process_id) if process_id else None
        return {"pid": process_id, "process_start_ticks": ticks, "lives": self.child.lives if self.child else 0}

    def _log(self) -> str:
        path = self.child.spec.log if self.child else None
        return f"; {path} ends with\n{tail(path)}" if path else ""
