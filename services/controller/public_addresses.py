"""Which addresses a fetch for a stranger may go to. Pure: addresses as texts in, a judgement out.

What counts is the address that a name led to, so that no spelling of one (0x7f.1, 2130706433, localhost.) leads past it, and neither does
an IPv6 address that carries an IPv4 one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that a gateway turns into the IPv4 address in their last 32 bits (RFC 6052)."""


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks such as 10.1.0.0/16.

    Raises:
        ValueError: one of the texts is none.
    """
    return tuple(ip_network(one) for one in texts)


def may_be_asked(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is one of the public network, and whatever it carries is, or lies in a network that is allowed."""
    return all(_is_public(one) or any(one in network for network in allowed) for one in _meant(ip_address(text.partition("%")[0])))


def _meant(address: Address) -> Iterator[Address]:
    """Yield the address that packets may end at, and those that may be hidden in it."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _TRANSLATED:
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _is_public(address: Address) -> bool:
    is_site_local = isinstance(address, IPv6Address) and address.is_site_local  # given up by RFC 3879, and still inside
    return address.is_global and not (address.is_multicast or address.is_reserved or is_site_local)
