"""The options by which a command finds its server, and how the server's refusals become failures of the command."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from penstock.cli.address import BadAddress, Named, ServerAddress, choose
from penstock.cli.durations import seconds_of
from penstock.cli.refusals import failure_of, is_unreachable
from penstock.cli.serve_records import running_serves
from penstock.contracts.errors import ServingError

if TYPE_CHECKING:
    from penstock.client import Client
    from penstock.client.options import TlsFiles

DEFAULT_TIMEOUT_SECONDS = 10.0

WITHOUT_CERTIFICATE = "if the server asks callers for certificates: --client-certificate FILE --client-key FILE; else `penstock doctor`"

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
    certificate: str | None = None
    """PEM file of what is shown to a server that asks callers for certificates."""
    key: str | None = None
    """PEM file of its key."""

    @property
    def tls(self) -> TlsFiles | None:
        """What calls are made with; None in the clear."""
        from penstock.client.options import TlsFiles

        return TlsFiles(authority=self.authority, certificate=self.certificate, key=self.key) if self.authority else None

    @contextmanager
    def client(self) -> Generator[Client]:
        """Open a client."""
        # What gRPC prints by itself says less than our errors, and stands between our lines.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from penstock.client import Client, ClientOptions

        options = ClientOptions(api_key=self.api_key, timeout_seconds=self.timeout_seconds or DEFAULT_TIMEOUT_SECONDS, tls=self.tls)
        with Client(self.address.grpc, options) as client:
            yield client


_URL = click.option("--url", metavar="URL", help="The server, by its HTTP face (http://host:port) or its gRPC face (host:port).")
_GRPC = click.option("--grpc", metavar="HOST:PORT", help="The server's gRPC face. Also by PENSTOCK_GRPC.")
_KEY = click.option(
    "--api-key", metavar="KEY", envvar="PENSTOCK_API_KEY", help="API key. Also by PENSTOCK_API_KEY, which no list of processes shows."
)


def _pem_file(name: str, variable: str, text: str) -> Callable[[F], F]:
    return click.option(name, metavar="FILE", envvar=variable, type=click.Path(exists=True, dir_okay=False), help=f"PEM file of {text}")


_AUTHORITY = _pem_file("--ca", "PENSTOCK_CA", "the server's authority; speaks TLS.")
_CERTIFICATE = _pem_file("--client-certificate", "PENSTOCK_CLIENT_CERTIFICATE", "your certificate, for a server that asks for one.")
_CLIENT_KEY = _pem_file(
    "--client-key",
    "PENSTOCK_CLIENT_KEY",
    "its key. These three also by PENSTOCK_CA, PENSTOCK_CLIENT_CERTIFICATE and PENSTOCK_CLIENT_KEY.",
)
_TIMEOUT = click.option("--timeout", metavar="DURATION", callback=seconds_of, help="Longest wait, for example 500ms or 30s. [default: 10s]")


def uses_server(command: F) -> F:
    """Add the options that name a server; the function gets a `Server` as `server`, and what it is refused becomes a `Failure`."""
    return _with_options(command, (_URL, _GRPC, _KEY, _AUTHORITY, _CERTIFICATE, _CLIENT_KEY, _TIMEOUT))


def uses_patient_server(command: F) -> F:
    """Like `uses_server`, for changes that the client itself gives a minute: no --timeout."""
    return _with_options(command, (_URL, _GRPC, _KEY, _AUTHORITY, _CERTIFICATE, _CLIENT_KEY))


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
        check_texts(given)
        _check_key(given.get("api_key") or "")
        server = _server(given)
        try:
            return command(server=server, **given)
        except ServingError as error:
            model = (given.get("model") or "").partition("@")[0]
            failure = failure_of(error, server.address, model=model)
            if is_unreachable(error) and server.authority and not server.certificate:
                failure.next_step = WITHOUT_CERTIFICATE
            raise failure from error

    for option in reversed(options):
        asking = option(asking)
    return asking


def check_texts(given: Mapping[str, Any]) -> None:
    """Refuse bytes of the command line that are no text: they cannot be sent."""
    for name, value in given.items():
        texts = cast("Sequence[Any]", value) if isinstance(value, tuple) else (value,)
        if any("\ud800" <= one <= "\udfff" for text in texts if isinstance(text, str) for one in text):
            raise click.UsageError(f"The value of {name.replace('_', '-')} is no UTF-8 text.")


def _check_key(key: str) -> None:
    """Refuse a key that is no header."""
    if not (key.isascii() and key.isprintable()):
        raise click.UsageError("--api-key holds characters that no key has.")


def _server(given: dict[str, Any]) -> Server:
    """Take the server's own options out of what was given."""
    address = server_named(given.pop("url"), given.pop("grpc"))
    server = Server(
        address=address,
        api_key=given.pop("api_key"),
        timeout_seconds=given.pop("timeout", None),
        authority=given.pop("ca"),
        certificate=given.pop("client_certificate"),
        key=given.pop("client_key"),
    )
    if address.uses_tls and server.authority is None:
        raise click.UsageError(f"The server at {address.grpc} speaks TLS: name the authority of its certificate with --ca FILE.")
    _check_files(server)
    return server


def _check_files(server: Server) -> None:
    """Refuse files that would not be used, or that TLS cannot use: gRPC says nothing of use about them."""
    if (server.certificate is None) != (server.key is None):
        raise click.UsageError("--client-certificate and --client-key go together.")
    if server.authority is None:
        if server.certificate is not None:
            raise click.UsageError("--client-certificate is for TLS: name the authority of the server's certificate with --ca FILE.")
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(server.authority)
    except OSError:
        raise click.UsageError(f"--ca {server.authority} holds no certificate in PEM that can be read.") from None
    try:
        if server.certificate is not None:
            # Without the empty password a key that has one would be asked for at the terminal.
            context.load_cert_chain(server.certificate, server.key, password="")
    except OSError:
        message = f"{server.certificate} and {server.key} are no certificate with its key, in PEM and without a password, that can be read."
        raise click.UsageError(message) from None
