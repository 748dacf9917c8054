"""What the stack has to know of each kind of server: where it comes from, how it starts, when it can be used."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from signal import Signals
from typing import Protocol

from services.chassis.child import ChildSpec
from services.chassis.parentage import bound
from services.chassis.process import CannotStart
from services.stack.server_cache import Artefact, ServerCache

HOST = "127.0.0.1"
"""Every server listens here and nowhere else: none of them asks who is calling."""


class Origin(StrEnum):
    """Which step of the search won."""

    GIVEN = "given"
    """An address of the configuration; nothing is started."""
    PATH = "installed"
    """A program of this machine."""
    CACHE = "cache"
    """Downloaded or built before."""
    FETCHED = "fetched"
    """Downloaded or built just now."""
    OURS = "penstock"
    """A service of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a server comes from."""

    origin: Origin
    version: str
    programs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Paths by role, as the recipe that found them needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that downloads or builds."""

    program: str
    wanted: str
    """What to call it when it is missing."""
    command: str
    """Installs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where recipes look."""

    cache: ServerCache
    logs: Path
    """Folder for what builds and downloads write."""
    say: Callable[[str], None]
    """Is told what takes long."""
    may_fetch: bool = True
    """Without it, what would have to be downloaded or built is NotFetched."""

    async def obtain(self, artefact: Artefact, server: str, tool: Tool) -> tuple[Path, Origin]:
        """Return the artefact's folder, and whether it was there; `tool` is what fills it, which then is not needed.

        Raises:
            CannotStart: it cannot be had; MissingTool when the tool is not there.
            NotFetched: it is not there and may not be fetched.
        """
        if self.cache.holds(artefact):
            return await self.cache.obtain(artefact), Origin.CACHE
        if shutil.which(tool.program) is None:
            raise MissingTool(server, tool.wanted, tool.command)
        if not self.may_fetch:
            raise NotFetched
        return await self.cache.obtain(artefact), Origin.FETCHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one server lives."""

    folder: Path
    """Its data; the folder exists when `prepare` is called."""
    log: Path
    ports: Mapping[str, int]
    """By the names that the recipe gives them."""


class NotFetched(Exception):
    """It would have to be downloaded or built first."""


class MissingTool(CannotStart):
    """A program that nothing here can replace is not installed."""

    def __init__(self, server: str, tool: str, command: str) -> None:
        """Name the tool and the command that installs it."""
        super().__init__(f"{server} needs {tool}, which is not installed: {command}")


class Recipe(Protocol):
    """One kind of server; without state."""

    @property
    def name(self) -> str:
        """For example kafka."""
        ...

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the ports that it listens on; the first is the one that clients use and has the recipe's name."""
        ...

    @property
    def address(self) -> str:
        """Where it answers when that is settled before it is started; empty where its first port says so."""
        ...

    @property
    def stop_seconds(self) -> float:
        """Longest time that it may take to end by itself."""
        ...

    async def find(self, sources: Sources) -> Found:
        """Return where the server comes from, fetching it where needed.

        Raises:
            CannotStart: it is nowhere to be had; MissingTool names what to install.
            NotFetched: it would have to be fetched, and may not.
        """
        ...

    async def prepare(self, found: Found, site: Site) -> None:
        """Make its data folder ready; what is there already is kept."""
        ...

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return how to run it; `server_spec` makes one."""
        ...

    async def answers(self, host: str, port: int) -> None:
        """Ask it once; raises `probes.NotReady` while it cannot be used."""
        ...


def server_spec(name: str, site: Site, command: tuple[str, ...], *, user: str | None = None, by: Signals = Signals.SIGTERM) -> ChildSpec:
    """Return how to run a program that dies with this process, as `user`; the signal `by` asks it to end."""
    return ChildSpec(name=name, command=bound(command, user=user), log=site.log, stop_signal=by)
