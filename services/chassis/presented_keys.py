"""An API key together with the address that it came from, for those who look keys up."""

from __future__ import annotations


class PresentedKey(str):
    """A key as sent; equal to its text, so that who has met the text knows the key."""

    __slots__ = ("peer",)

    peer: str | None
    """Address of the other end of the connection, as text; None where that is nobody's, as behind a Unix socket."""

    @classmethod
    def of(cls, key: str | None, peer: str | None) -> str | None:
        """Return the key with its address; no key stays none."""
        if key is None or peer is None:
            return key
        made = cls(key)
        made.peer = peer
        return made


def peer_in(target: str) -> str | None:
    """Return the address in what grpcio calls a peer, for example `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    kind, _, rest = target.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return None
    host = rest.rpartition(":")[0]
    return host.replace("%5B", "").replace("%5D", "").strip("[]").partition("%")[0] or None
