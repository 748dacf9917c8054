"""Redis, as Debian and others package it."""

from __future__ import annotations

import shutil

from services.chassis.child import ChildSpec
from services.stack.commands import answer_of
from services.stack.probes import redis_answers
from services.stack.recipe import HOST, Found, MissingTool, Origin, Site, Sources, server_spec
from services.stack.versions import is_at_least, version_in, wanted


class Redis:
    """A Redis that keeps its data in an append-only file, flushed once a second."""

    name = "redis"
    address = ""
    ports = ("redis",)
    stop_seconds = 10.0

    async def find(self, sources: Sources) -> Found:
        """Find redis-server on PATH."""
        program = shutil.which("redis-server")
        oldest = wanted(self.name)["oldest_installed"]
        said = await answer_of(program, "--version") if program else ""
        version = version_in(said, r"v=([\d.]+)")
        if program is None or version is None or not is_at_least(version, oldest):
            raise MissingTool(self.name, f"redis-server {oldest} or newer", "apt-get install redis-server")
        return Found(origin=Origin.PATH, version=version, programs={"redis-server": program})

    async def prepare(self, found: Found, site: Site) -> None:
        """Do nothing: Redis makes its files itself."""

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command, with every setting on it: no file of the machine is read."""
        settings = {
            "port": str(site.ports["redis"]),
            "bind": HOST,
            "dir": str(site.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "daemonize": "no",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return server_spec(self.name, site, (found.programs["redis-server"], *words))

    async def answers(self, host: str, port: int) -> None:
        """Send PING."""
        await redis_answers(host, port)
