"""PostgreSQL, as Debian and others package it.

It refuses to run as root. Then it runs as the user `postgres` or else `nobody`, who may not enter root's own folders: its data lies
under /var/lib/penstock, and the state folder holds a link to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
from contextlib import suppress
from pathlib import Path
from signal import Signals

from services.chassis.child import ChildSpec
from services.chassis.process import CannotStart
from services.stack.commands import Step, answer_of, finish
from services.stack.probes import postgres_answers
from services.stack.recipe import HOST, Found, MissingTool, Origin, Site, Sources, server_spec
from services.stack.versions import is_at_least, version_in, wanted

USER = DATABASE = "penstock"
ROOTS_FOLDER = Path("/var/lib/penstock")
STAND_INS = ("postgres", "nobody")
INIT_SECONDS = 60.0
REAPED_SECONDS = 30.0
"""How long a start waits for a killed server; what then still has its number is left to PostgreSQL to judge."""
PROGRAMS = ("initdb", "postgres")


class Postgres:
    """A PostgreSQL whose data outlives a restart; user and database `penstock`, no password, this machine only."""

    name = "postgres"
    address = ""
    ports = ("postgres",)
    stop_seconds = 15.0

    async def find(self, sources: Sources) -> Found:
        """Find `postgres` on PATH or where packages hide it."""
        oldest = wanted(self.name)["oldest_installed"]
        for folder in await _folders():
            version = version_in(await answer_of(str(folder / "postgres"), "--version"), r"(\d+(?:\.\d+)?)")
            if version is not None and is_at_least(version, oldest):
                return Found(origin=Origin.PATH, version=version, programs={name: str(folder / name) for name in PROGRAMS})
        raise MissingTool(self.name, f"PostgreSQL {oldest} or newer", "apt-get install postgresql")

    async def prepare(self, found: Found, site: Site) -> None:
        """Make the cluster and its database where there are none yet."""
        data = _cluster(site)
        if (data / "penstock-is-made").exists():
            await former_is_gone(data)
            return
        if data.exists():
            shutil.rmtree(data)  # a former start was ended in the middle of initdb
        user = stand_in()
        _make_home(site, user)
        await _run(
            site,
            user,
            (found.programs["initdb"], "--no-sync", "-D", str(data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-locale"),
        )
        await _run(site, user, ("sh", "-c", 'echo "CREATE DATABASE $3" | "$1" --single -F -D "$2" postgres', "sh", *_single(found, data)))
        await asyncio.to_thread(os.sync)  # once for all: to wait for each of a thousand files takes seconds
        (data / "penstock-is-made").touch()

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command; SIGINT is PostgreSQL's quick and orderly end, SIGTERM would wait for its clients to leave."""
        settings = {"listen_addresses": HOST, "port": str(site.ports["postgres"]), "unix_socket_directories": ""}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = (found.programs["postgres"], "-D", str(_cluster(site)), *words)
        return server_spec(self.name, site, command, user=stand_in(), by=Signals.SIGINT)

    async def answers(self, host: str, port: int) -> None:
        """Begin a session."""
        await postgres_answers(host, port, user=USER, database=DATABASE)


async def former_is_gone(data: Path) -> None:
    """Wait for the end of a server that was killed: one that nobody has reaped yet is to PostgreSQL another one that runs."""
    try:
        process_id = int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return
    with suppress(TimeoutError, ProcessLookupError):
        async with asyncio.timeout(REAPED_SECONDS):
            while True:
                os.kill(process_id, 0)
                await asyncio.sleep(0.05)


def stand_in() -> str | None:
    """Return the user that PostgreSQL runs as; None is the present one.

    Raises:
        CannotStart: this is root, and the machine has no user to stand in.
    """
    if os.geteuid() != 0:
        return None
    for name in STAND_INS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise CannotStart(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(STAND_INS)} to stand in")


def home(folder: Path) -> Path:
    """Return where the data of the server with this folder lies."""
    if os.geteuid() != 0:
        return folder
    return ROOTS_FOLDER / hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]


def _cluster(site: Site) -> Path:
    return home(site.folder) / "data"


def _make_home(site: Site, user: str | None) -> None:
    place = home(site.folder)
    place.mkdir(parents=True, exist_ok=True)
    if user is None:
        return
    os.chown(place, pwd.getpwnam(user).pw_uid, -1)
    place.chmod(0o700)
    link = site.folder / "elsewhere"
    link.unlink(missing_ok=True)
    link.symlink_to(place)


def _single(found: Found, data: Path) -> tuple[str, str, str]:
    return (found.programs["postgres"], str(data), DATABASE)


async def _run(site: Site, user: str | None, command: tuple[str, ...]) -> None:
    environment = {"LC_ALL": "C"}
    step = Step(
        what="making PostgreSQL's data folder", command=command, log=site.log, seconds=INIT_SECONDS, environment=environment, user=user
    )
    await finish(step)


async def _folders() -> tuple[Path, ...]:
    config = shutil.which("pg_config")
    told = (await answer_of(config, "--bindir")).strip() if config else ""
    return _with_programs(shutil.which("postgres"), told)


def _with_programs(on_path: str | None, told: str) -> tuple[Path, ...]:
    """Return the folders that hold all programs, the most likely first; a link on PATH may stand alone."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True)
    named = [*([Path(on_path).resolve().parent] if on_path else ()), *([Path(told)] if told else ()), *packaged]
    return tuple(folder for folder in dict.fromkeys(named) if all((folder / name).is_file() for name in PROGRAMS))
