"""The event loop of every process: uvloop's, but names are looked up by `Lookup` for whatever library connects.

Clients of Kafka, Redis, PostgreSQL and of HTTP all connect by `create_connection` or `getaddrinfo` of the loop; none of them takes a
resolver of ours, and uvloop's own lookups never leave its C code. gRPC has lookups and threads of its own, which touch nothing here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import uvloop

from services.chassis.lookup import Lookup, Question

OURS = {"family": "family", "type": "kind", "proto": "protocol", "flags": "flags"}
"""What asyncio's words are called here."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Loop(uvloop.Loop):
    """uvloop with a memory for names."""

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self.lookup = Lookup()

    async def getaddrinfo(self, host: Any, port: Any, **asked: int) -> list[Any]:
        """Look a name up, by what `socket.getaddrinfo` is asked.

        Raises:
            OSError: nothing is known of it.
        """
        if not is_name(host):
            return await super().getaddrinfo(host, port, **asked)
        question = Question(name=host, port=port, **{OURS[name]: value for name, value in asked.items()})
        return list(await self.lookup.places(question))

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: Any = None, port: Any = None, **options: Any
    ) -> tuple[Any, P]:
        """Connect, to the first of a name's addresses that takes it.

        Raises:
            OSError: none does, or the name cannot be looked up and never was.
        """
        if not is_name(host):
            return await super().create_connection(protocol_factory, host, port, **options)
        asked = {name: options.pop(name, 0) for name in ("family", "proto", "flags")}
        if options.get("ssl") and options.get("server_hostname") is None:
            options["server_hostname"] = host
        refusal: OSError | None = None
        for *_, place in await self.getaddrinfo(host, port, type=socket.SOCK_STREAM, **asked):
            try:
                return await super().create_connection(protocol_factory, place[0], place[1], **options)
            except OSError as error:
                refusal = refusal or error
        raise refusal or OSError(f"{host[:80]!r} has no address")


def is_name(host: Any) -> bool:
    """Pure: whether a host has to be looked up; an address is its own, and without a host there is nothing to ask."""
    if not isinstance(host, str) or not host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
