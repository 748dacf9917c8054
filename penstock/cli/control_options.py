"""Options that every command has which changes the mesh, and how such a command finds the controller."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from penstock.cli.server_options import DEFAULT_TIMEOUT_SECONDS, Server, check_texts

if TYPE_CHECKING:
    from penstock.client.control import Control

F = TypeVar("F", bound=Callable[..., Any])

LARGEST_INTEGER = 2**63 - 1
"""What a field of 64 bits carries."""

_REASON = click.option("--reason", metavar="TEXT", default="", help="Why; it stands in the audit record.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Check the change and show the difference; change nothing.")
_REVISION = click.option(
    "--expect-revision", metavar="N", type=click.IntRange(1, LARGEST_INTEGER), help="Refuse when somebody has changed it since revision N."
)


@contextmanager
def control_of(server: Server) -> Generator[Control]:
    """Open a client of the controller, through the server that the command line names."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from penstock.client.control import Control
    from penstock.client.options import ClientOptions

    options = ClientOptions(api_key=server.api_key, timeout_seconds=server.timeout_seconds or DEFAULT_TIMEOUT_SECONDS, tls=server.tls)
    with Control(server.address.grpc, options) as control:
        yield control


def writes(command: F) -> F:
    """Add --reason, --dry-run and --expect-revision; the function gets a `Write` as `write`."""
    return writes_anew(_REVISION(command))


def writes_anew(command: F) -> F:
    """Add --reason and --dry-run, for what has no revision yet; the function gets a `Write` as `write`."""

    @wraps(command)
    def writing(**given: Any) -> Any:
        from penstock.client.writes import Write

        check_texts(given)
        revision = given.pop("expect_revision", None) or 0
        write = Write(reason=given.pop("reason"), dry_run=given.pop("dry_run"), expected_revision=revision)
        return command(write=write, **given)

    changing: Any = writing
    for option in (_DRY_RUN, _REASON):
        changing = option(changing)
    return changing
