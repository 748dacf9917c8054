"""Which server a command means. Pure: the environment and the running serves are passed in.

The first that is there decides: `--grpc`, `--url`, PENSTOCK_GRPC, PENSTOCK_URL, the newest running `penstock serve` or `penstock up` of
this user, 127.0.0.1:8001. Commands speak gRPC; an http address therefore stands for the server whose HTTP face it is: a running serve with
that address says its gRPC port, for others it is taken to be the next one (8000 → 8001), as the metrics' port follows that of gRPC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEFAULT_HTTP_PORT = 8000
DEFAULT_GRPC_PORT = 8001
DEFAULT_GRPC = f"127.0.0.1:{DEFAULT_GRPC_PORT}"
GRPC_VARIABLE = "PENSTOCK_GRPC"
URL_VARIABLE = "PENSTOCK_URL"

_ADDRESS = re.compile(r"(?:[a-z]+://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?/?")


class BadAddress(ValueError):
    """A text that names no server; the message says what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServe:
    """A `penstock serve` of this user, or a mesh of `penstock up`, as it describes itself; addresses are `host:port`."""

    process_id: int
    grpc: str
    http: str
    metrics: str
    repository: str
    started_time: float
    """Seconds since the epoch."""
    is_tls: bool = False
    mesh: str = ""
    """Name of the mesh, where it is one of `penstock up`."""

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"the mesh {self.mesh!r} of `penstock up`" if self.mesh else "`penstock serve`"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server is; addresses are `host:port`."""

    grpc: str
    metrics: str
    origin: str
    """What named it."""
    serve: RunningServe | None = None
    """The running serve that it is, when it is one of this user."""
    is_named: bool = True
    """Whether the caller named it, as opposed to found or assumed."""
    uses_tls: bool = False

    def __str__(self) -> str:
        """Return the address with what named it."""
        return f"{self.grpc} ({self.origin})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the command line says; None where it says nothing."""

    grpc: str | None = None
    url: str | None = None


def choose(named: Named, environment: Mapping[str, str], serves: Sequence[RunningServe]) -> ServerAddress:
    """Return the server that is meant.

    Raises:
        BadAddress: what names it is no address.
    """
    for origin, grpc, url in (
        ("--grpc", named.grpc, None),
        ("--url", None, named.url),
        (GRPC_VARIABLE, environment.get(GRPC_VARIABLE), None),
        (URL_VARIABLE, None, environment.get(URL_VARIABLE)),
    ):
        if grpc:
            return _at(*_host_and_port(grpc, DEFAULT_GRPC_PORT, origin), serves, origin)
        if url:
            return _by_url(url, serves, origin)
    if serves:
        newest = max(serves, key=lambda serve: serve.started_time)
        origin = f"{newest.title if newest.mesh else f'the running {newest.title}'}, process {newest.process_id}"
        return _of(newest, origin, is_named=False)
    return ServerAddress(grpc=DEFAULT_GRPC, metrics=_next_port(DEFAULT_GRPC), origin="the default", is_named=False)


def _by_url(url: str, serves: Sequence[RunningServe], origin: str) -> ServerAddress:
    if "://" not in url or url.startswith("grpc://"):
        return _at(*_host_and_port(url, DEFAULT_GRPC_PORT, origin), serves, origin)
    if not url.startswith(("http://", "https://")):
        raise BadAddress(f"{origin} {url!r} is no address: use http://host:port, https://host:port or host:port of the gRPC face")
    host, port = _host_and_port(url, DEFAULT_HTTP_PORT, origin)
    http = f"{host}:{port}"
    serve = next((serve for serve in serves if _is_same(serve.http, http)), None)
    if serve is not None:
        return _of(serve, f"{origin} {url}")
    grpc = _next_port(http)
    guessed = f"{origin} {url}; the gRPC port is taken to be {port + 1}, --grpc host:port names it"
    return ServerAddress(grpc=grpc, metrics=_next_port(grpc), origin=guessed, uses_tls=url.startswith("https://"))


def _at(host: str, port: int, serves: Sequence[RunningServe], origin: str) -> ServerAddress:
    grpc = f"{host}:{port}"
    serve = next((serve for serve in serves if _is_same(serve.grpc, grpc)), None)
    return _of(serve, origin) if serve else ServerAddress(grpc=grpc, metrics=_next_port(grpc), origin=origin)


def _of(serve: RunningServe, origin: str, *, is_named: bool = True) -> ServerAddress:
    return ServerAddress(grpc=serve.grpc, metrics=serve.metrics, origin=origin, serve=serve, is_named=is_named, uses_tls=serve.is_tls)


def _host_and_port(text: str, default_port: int, origin: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or default_port) if match else 0
    if match is None or not 0 < port <= 65_535:
        raise BadAddress(f"{origin} {text!r} is no address: use host:port, for example {DEFAULT_GRPC}")
    return match["host"], port


def _next_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1}"


def _is_same(one: str, other: str) -> bool:
    return one.replace("localhost", "127.0.0.1") == other.replace("localhost", "127.0.0.1")
