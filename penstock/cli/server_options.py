"""The options by which a command finds its server, and how the server's refusals become failures of the command."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from penstock.cli.address import BadAddress, Named, ServerAddress, choose
from penstock.cli.durations import seconds_of
from penstock.cli.refusals import failure_of
from penstock.cli.serve_records import running_serves
from penstock.contracts.errors import ServingError

if TYPE_CHECKING:
    from penstock.client import Client

DEFAULT_TIMEOUT_SECONDS = 10.0

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server that a command asks."""

    address: ServerAddress
    api_key: str | None = None
    timeout_seconds: float | None = None
    """What the caller allows; None where nothing was said."""
    authority: str | None = None
    """PEM file of the authority of the server's certificate; None speaks without TLS."""

    @contextmanager
    def client(self) -> Generator[Client]:
        """Open a client."""
        # What gRPC prints by itself says less than our errors, and stands between our lines.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from penstock.client import Client, ClientOptions
        from penstock.client.options import TlsFiles

        tls = TlsFiles(authority=self.authority) if self.authority else None
        options = ClientOptions(api_key=self.api_key, timeout_seconds=self.timeout_seconds or DEFAULT_TIMEOUT_SECONDS, tls=tls)
        with Client(self.address.grpc, options) as client:
            yield client


_URL = click.option("--url", metavar="URL", help="The server, by its HTTP face (http://host:port) or its gRPC face (host:port).")
_GRPC = click.option("--grpc", metavar="HOST:PORT", help="The server's gRPC face. Also by PENSTOCK_GRPC.")
_KEY = click.option(
    "--api-key", metavar="KEY", envvar="PENSTOCK_API_KEY", help="API key. Also by PENSTOCK_API_KEY, which no list of processes shows."
)
_AUTHORITY = click.option(
    "--ca",
    metavar="FILE",
    envvar="PENSTOCK_CA",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of the server's authority; speaks TLS.",
)
_TIMEOUT = click.option("--timeout", metavar="DURATION", callback=seconds_of, help="Longest wait, for example 500ms or 30s. [default: 10s]")


def uses_server(command: F) -> F:
    """Add the options that name a server; the function gets a `Server` as `server`, and what it is refused becomes a `Failure`."""
    return _with_options(command, (_URL, _GRPC, _KEY, _AUTHORITY, _TIMEOUT))


def uses_patient_server(command: F) -> F:
    """Like `uses_server`, for changes that the client itself gives a minute: no --timeout."""
    return _with_options(command, (_URL, _GRPC, _KEY, _AUTHORITY))


def server_named(url: str | None = None, grpc: str | None = None) -> ServerAddress:
    """Return the server that these options, the environment and the running serves name.

    Raises:
        click.UsageError: the name is no address.
    """
    try:
        return choose(Named(grpc=grpc, url=url), os.environ, running_serves())
    except BadAddress as error:
        raise click.UsageError(f"{error}.") from None


def _with_options(command: Any, options: tuple[Callable[[Any], Any], ...]) -> Any:
    @wraps(command)
    def asking(**given: Any) -> Any:
        _check_texts(given)
        server = _server(given.pop("url"), given.pop("grpc"), given.pop("api_key"), given.pop("ca"), given.pop("timeout", None))
        try:
            return command(server=server, **given)
        except ServingError as error:
            model = (given.get("model") or "").partition("@")[0]
            raise failure_of(error, server.address, model=model) from error

    for option in reversed(options):
        asking = option(asking)
    return asking


def _check_texts(given: Mapping[str, Any]) -> None:
    """Refuse what cannot be sent: bytes of the command line that are no text, and keys that are no header."""
    for name, value in given.items():
        text = value if isinstance(value, str) else ""
        if any("\ud800" <= one <= "\udfff" for one in text):
            raise click.UsageError(f"The value of {name.replace('_', '-')} is no UTF-8 text.")
    key = given.get("api_key") or ""
    if not (key.isascii() and key.isprintable()):
        raise click.UsageError("--api-key holds characters that no key has.")


def _server(url: str | None, grpc: str | None, api_key: str | None, authority: str | None, timeout_seconds: float | None) -> Server:
    address = server_named(url, grpc)
    if address.uses_tls and authority is None:
        raise click.UsageError(f"The server at {address.grpc} speaks TLS: name the authority of its certificate with --ca FILE.")
    return Server(address=address, api_key=api_key, timeout_seconds=timeout_seconds, authority=authority)
