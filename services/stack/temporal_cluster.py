"""Temporal's development server: one process with the real frontend, history, matching and worker, over a SQLite file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from services.chassis.child import ChildSpec
from services.stack.commands import BUILD_NICE, Step, answer_of, finish
from services.stack.probes import temporal_answers
from services.stack.recipe import HOST, Found, Origin, Site, Sources, Tool, server_spec
from services.stack.server_cache import Artefact
from services.stack.versions import is_at_least, version_in, wanted

NAMESPACE = "default"
BUILD_SECONDS = 1800.0
BUILD_FLAGS = "-trimpath -p=2"
"""Two compilers at a time: on a small machine whoever works there goes on working."""

GO = Tool(
    program="go",
    wanted="the program temporal, or the Go compiler to build it",
    command="install Go 1.25 or newer (https://go.dev/dl), or temporal (https://docs.temporal.io/cli)",
)


class Temporal:
    """A Temporal server whose workflows outlive a restart."""

    name = "temporal"
    address = ""
    ports = ("temporal",)
    stop_seconds = 15.0

    async def find(self, sources: Sources) -> Found:
        """Find `temporal` on PATH, or build it from its Go module, which takes minutes once."""
        asked = wanted(self.name)
        program = shutil.which("temporal")
        said = await answer_of(program, "--version") if program else ""
        version = version_in(said, r"temporal version ([\d.]+)")
        # What `go install` built calls itself 0.0.0-DEV; the version of the server in it is right.
        if program and version and (is_at_least(version, asked["oldest_installed"]) or version.startswith("0.0.0")):
            return Found(origin=Origin.PATH, version=version, programs={"temporal": program})
        return await _from_module(sources, asked["module"], asked["version"])

    async def prepare(self, found: Found, site: Site) -> None:
        """Do nothing: the server makes its file itself."""

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command."""
        command = (
            *(found.programs["temporal"], "server", "start-dev", "--headless", "--ip", HOST, "--port", str(site.ports["temporal"])),
            *("--namespace", NAMESPACE, "--db-filename", str(site.folder / "temporal.db"), "--log-level", "warn"),
        )
        return server_spec(self.name, site, command)

    async def answers(self, host: str, port: int) -> None:
        """Ask for health and for the namespace."""
        await temporal_answers(host, port, namespace=NAMESPACE)


async def _from_module(sources: Sources, module: str, version: str) -> Found:
    async def build(folder: Path) -> None:
        sources.say(f"building Temporal {version} from its Go module (3 minutes on two cores, once)")
        flags = f"{os.environ.get('GOFLAGS', '')} {BUILD_FLAGS}".strip()
        step = Step(
            what=f"building Temporal {version}",
            command=("go", "install", "-ldflags=-s -w", f"{module}@v{version}"),
            log=sources.logs / "build-temporal.log",
            seconds=BUILD_SECONDS,
            environment={"GOBIN": str(folder), "GOFLAGS": flags},
            nice=BUILD_NICE,
        )
        await finish(step)

    folder, origin = await sources.obtain(Artefact(name="temporal", version=version, fill=build), "temporal", GO)
    return Found(origin=origin, version=version, programs={"temporal": str(folder / "temporal")})
