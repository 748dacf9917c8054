"""Ports that all routers share, taken before any child starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from services.chassis.process import CannotStart

_LISTEN = "0A"
_TIME_WAIT = "06"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A port to take."""

    option: str
    """The option that sets it, for the error."""
    port: int
    """0 takes a free one."""


@contextmanager
def reserved(host: str, wanted: tuple[Wanted, ...]) -> Generator[tuple[int, ...]]:
    """Hold ports until the block ends and give out their numbers.

    Each is bound with SO_REUSEPORT and never listened on: children that set it too can bind and serve the port, a router that is
    started again cannot lose it, and no connection is ever given to the holder.

    Raises:
        CannotStart: a port is taken, or the host is no address of this machine; says by whom and what to do.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_held(host, each)).getsockname()[1] for each in wanted)


def check_free(host: str, wanted: Wanted) -> None:
    """Raise CannotStart when somebody has the port.

    SO_REUSEPORT alone would not tell: another server of the same user that sets it too would silently share the port. Connections of a
    former server that linger for a minute (TIME_WAIT) do not count: they do not hinder those who share the port.
    """
    with _socket_for(host, wanted) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            _bind(probe, host, wanted)
        except CannotStart:
            if _socket_inodes(wanted.port, _LISTEN) or not _socket_inodes(wanted.port, _TIME_WAIT):
                raise


def owner_of(port: int) -> tuple[int, str] | None:
    """Return process id and command line of whoever listens on a port; None when that cannot be seen."""
    inodes = _socket_inodes(port, _LISTEN)
    for folder in Path("/proc").iterdir() if inodes else ():
        if not folder.name.isdigit():
            continue
        try:
            links = set(_links(folder / "fd"))
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile, or somebody else's
            continue
        if links & inodes:
            return int(folder.name), command
    return None


def _held(host: str, wanted: Wanted) -> socket.socket:
    if wanted.port:
        check_free(host, wanted)
    holder = _socket_for(host, wanted)
    # Not SO_REUSEADDR: with it on both sides, the check of another serve would not see a holder that does not listen.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bind(holder, host, wanted)
    return holder


def _socket_for(host: str, wanted: Wanted) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, wanted.port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror as error:
        raise CannotStart(f"--host {host} is no address: {error.strerror}") from None
    return socket.socket(family, socket.SOCK_STREAM)


def _bind(made: socket.socket, host: str, wanted: Wanted) -> None:
    try:
        made.bind((host, wanted.port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(_taken(wanted)) from None
        raise CannotStart(f"cannot listen on {host}:{wanted.port}: {error.strerror}") from None


def _taken(wanted: Wanted) -> str:
    owner = owner_of(wanted.port)
    by = f"by process {owner[0]} ({owner[1][:80]})" if owner else "by another process"
    end = f"`kill {owner[0]}`" if owner else f"`ss -ltnp 'sport = :{wanted.port}'` shows by whom"
    return f"port {wanted.port} is taken {by}: end it ({end}), or choose another port with {wanted.option} (0 takes a free one)"


def _links(folder: Path) -> Generator[str]:
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(entry.readlink())


def _socket_inodes(port: int, state: str) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        columns = (line.split() for line in lines)
        found |= {f"socket:[{c[9]}]" for c in columns if c[3] == state and int(c[1].rpartition(":")[2], 16) == port}
    return found
