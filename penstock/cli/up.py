"""`penstock up`: real Kafka, Temporal, Redis and PostgreSQL on this machine, without containers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import click

from penstock.cli._services import check_stack_packages
from penstock.cli.durations import seconds_of
from penstock.cli.failure import Failure
from penstock.cli.output import Form, form_option, show
from penstock.cli.serve_records import runtime_folder
from penstock.cli.stack_records import Stack, cache_folder, name_option, option_of, read_stack, stack_folder, state_dir_option

SERVERS = ("redis", "postgres", "kafka", "temporal")
"""In the order of the start."""
DEFAULT = ("redis", "kafka", "temporal")
FACES = ("http", "grpc", "metrics", "controller", "controller-http")
"""Where the mesh itself answers."""

PROFILES = ("demo",)
"""What a mesh may be given once it runs."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PORT = click.IntRange(0, 65535)


def _names(_ctx: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not names or set(names) - set(SERVERS):
        raise click.BadParameter(f"{value!r}: name some of {', '.join(SERVERS)}, separated by commas.")
    return names


def _server_options(command: Any) -> Any:
    for server in reversed(SERVERS):
        command = click.option(f"--{server}-address", metavar="HOST:PORT", help=f"Use the {server} that runs there, start none.")(command)
        command = _port_option(server)(command)
    for face in reversed(FACES):
        command = _port_option(face)(command)
    return command


def _port_option(name: str) -> Any:
    return click.option(f"--{name}-port", type=_PORT, metavar="PORT", help=f"Port of {name}. [default: as before, else a free one]")


@click.command()
@name_option
@click.option(
    "--only", callback=_names, metavar="LIST", help=f"Start these servers only, for example kafka,redis. [of: {', '.join(SERVERS)}]"
)
@click.option("--postgres", is_flag=True, help="Start PostgreSQL as well.")
@click.option(
    "--mesh/--servers-only", default=None, help="With or without a controller, workers and routers of ours. [default: with, unless --only]"
)
@click.option("--routers", type=click.IntRange(1, 64), default=1, show_default=True, help="Router processes; they share the ports.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--profile", type=click.Choice(PROFILES), help="demo: deploy two versions of a model that reads digits, and split its traffic."
)
@click.option("--detach", "-d", is_flag=True, help="Return when everything is ready; `penstock down` ends it.")
@_server_options
@state_dir_option
@click.option("--start-timeout", metavar="DURATION", callback=seconds_of, help="Longest wait for one server's first answer. [default: 2m]")
@form_option
def up(name: str, only: tuple[str, ...] | None, postgres: bool, detach: bool, profile: str | None, form: Form, **options: Any) -> None:
    """Run the whole mesh on this machine: real Kafka, Temporal and Redis, PostgreSQL when asked, a controller, workers and routers.

    A server is, in this order: one that runs at an address given here, a program that is installed, or fetched once into the cache of this
    user: Kafka by Maven, Temporal by Go. Each listens on 127.0.0.1 and counts as ready when it answers in its own protocol; one that
    dies is started again. Data and ports are kept from one `up` to the next.

    Ctrl-C ends it, in the mirror of the order of the start; Ctrl-C again ends it at once.
    """
    from penstock.cli.stack_process import StackProcess

    if not _NAME.fullmatch(name):
        raise click.BadParameter("use lower-case letters, digits, - and _, at most 40.", param_hint="--name")
    folder = stack_folder(name, options["state_dir"])
    place = option_of(name, folder)
    running = read_stack(folder)
    if running is not None and running.runs:
        raise Failure(
            f"the stack {name!r} runs already, by process {running.process_id}",
            where=str(folder),
            next_step=f"penstock ps {place}, penstock down {place}, or another --name",
        )
    check_stack_packages()
    names = (*(only or DEFAULT), *(("postgres",) if postgres else ()))
    options["mesh"] = not only if options["mesh"] is None else options["mesh"]
    if options["mesh"] and "kafka" not in names:
        raise click.UsageError("The mesh needs kafka: add it to --only, or leave ours out with --servers-only.")
    if profile and not options["mesh"]:
        raise click.UsageError(f"--profile {profile} needs the mesh: leave --servers-only out, or add --mesh to --only.")
    click.echo(_opening(name, names, options), err=True)
    began_at = time.monotonic()
    process = StackProcess(folder, _settings(name, folder, names, options), is_detached=detach)
    stack = process.until_ready()
    tries = _tries(profile, stack, options["workers"])
    how_to_end = f"`penstock down {place}` ends it" if detach else "Ctrl-C ends it"
    took = time.monotonic() - began_at
    show(stack.document, form, lambda: f"{_addresses(stack)}{tries}ready after {took:.1f} s; {how_to_end}")
    if not detach:
        process.until_end()


def _opening(name: str, names: tuple[str, ...], options: dict[str, Any]) -> str:
    servers = ", ".join(server for server in SERVERS if server in names)
    ours = f"a controller, {options['workers']} worker(s) and {options['routers']} router(s)" if options["mesh"] else "servers only"
    return f"STACK {name}: real {servers}; {ours}"


def _tries(profile: str | None, stack: Stack, workers: int) -> str:
    """Give the mesh what its profile says, and return what to try next."""
    if not profile:
        return ""
    from penstock.cli.demo_profile import show_demo

    commands = show_demo(stack.document["mesh"]["grpc"], workers, lambda text: click.echo(text, err=True))
    return "".join(["try\n", *(f"  {command}\n" for command in commands)])


def _addresses(stack: Stack) -> str:
    """Return what answers where, for whoever calls models; nothing where there is no mesh."""
    mesh = stack.document.get("mesh")
    if not mesh:
        return ""
    rows = [("HTTP", f"http://{mesh['http']}"), ("gRPC", mesh["grpc"]), ("metrics", f"http://{mesh['metrics']}/metrics")]
    return "".join(f"  {what:<8} {where}\n" for what, where in rows)


def _settings(name: str, folder: Path, names: tuple[str, ...], options: dict[str, Any]) -> list[str]:
    given: dict[str, Any] = {
        "name": name,
        "state_dir": str(folder),
        "cache_dir": str(cache_folder()),
        "servers": [server for server in SERVERS if server in names],
        "start_seconds": options["start_timeout"],
        "mesh": options["mesh"],
        "routers": options["routers"],
        "workers": options["workers"],
        "runtime_dir": str(runtime_folder()),
    }
    for face in (*SERVERS, *FACES):
        given[f"ports.{face}"] = options[f"{face.replace('-', '_')}_port"]
    for server in SERVERS:
        given[f"addresses.{server}"] = options[f"{server}_address"]
    return [f"--set={key}={json.dumps(value)}" for key, value in given.items() if value is not None]
