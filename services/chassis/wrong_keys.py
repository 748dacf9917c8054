"""Decides whose wrong API keys are no longer looked up. Pure: the caller passes `now`.

An address may be wrong so many times within any minute; what it sends from then on is refused without a look, until the oldest of those
tries is a minute old. Two things keep a caller with an old key from locking out others behind the same proxy:

- a key that was found good is looked up in any case, for as long as it stays good;
- one and the same wrong key, sent over and over, is one guess: it uses up its own tries, and one of its address. After every change of what
  keys there are it is looked up once more, for it may have been early.

Every decision costs the same however often somebody was wrong: two look-ups in a table of rings, the least recently used of which are
forgotten. An IPv6 address counts by its /64, for that is what one customer gets.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from penstock.contracts.errors import QuotaExceeded

WINDOW_SECONDS = 60.0
RINGS_LIMIT = 20_000
"""Most addresses, and keys of addresses, whose tries are remembered."""
GOOD_LIMIT = 100_000
"""Most keys of which it is remembered that they were good; the one found longest ago is forgotten first."""
MOST_TRIES = 1_000
"""Largest limit: a ring holds as many times."""
PREFIX_BYTES = 8


class _Tries:
    """The newest tries of an address, or of one key from there, as a ring of times."""

    __slots__ = ("change", "times")

    def __init__(self, limit: int) -> None:
        self.times: deque[float] = deque(maxlen=limit)
        self.change = 0
        """The newest change of keys when the last of them was made."""


class WrongKeys:
    """Remembers who was wrong, and which keys were right; a limit of 0 refuses nothing."""

    def __init__(self, limit: int = 20) -> None:
        """Start with nobody wrong; `limit` is how many wrong keys an address may send within a minute."""
        self.counted = 0
        """Wrong keys that were looked up, since the start, of those whose address was known."""
        self.refused = 0
        """Keys that were refused without a look."""
        self._limit = limit
        self._change = 0
        self._rings: OrderedDict[tuple[str, int | None], _Tries] = OrderedDict()
        self._good: dict[str, None] = {}

    def check(self, peer: str | None, key: str, now: float) -> None:
        """Return when a key may be looked up.

        Args:
            peer: the address that it came from; None where nobody knows, and nothing is refused.
            key: as sent.
            now: monotonic seconds.

        Raises:
            QuotaExceeded: its address, or the key itself from there, was wrong too often.
        """
        if not self._limit or peer is None or key in self._good:
            return
        network = network_of(peer)
        of_key = (network, hash(key))
        known = self._rings.get(of_key)
        if known is not None and known.change != self._change:
            return
        wait = max(self._seconds_left((network, None), now), self._seconds_left(of_key, now))
        if wait > 0:
            self.refused += 1
            raise QuotaExceeded(
                f"{self._limit} wrong API keys came from this address within a minute: come back in {wait:.0f} s",
                reason="TOO_MANY_WRONG_KEYS",
                retry_after_seconds=wait,
            )

    def keys_changed(self) -> None:
        """Note that keys that were wrong may be good now."""
        self._change += 1

    def right(self, key: str) -> None:
        """Note that a key was found good."""
        self._good.pop(key, None)
        if len(self._good) >= GOOD_LIMIT:
            del self._good[next(iter(self._good))]
        self._good[key] = None

    def wrong(self, peer: str | None, key: str, now: float) -> bool:
        """Note that a key was looked up and is none; return whether its address has used up its tries by that."""
        self._good.pop(key, None)
        if not self._limit or peer is None:
            return False
        self.counted += 1
        network = network_of(peer)
        of_key = self._ring((network, hash(key)))
        is_known = bool(of_key.times) and now - of_key.times[-1] < WINDOW_SECONDS
        of_key.times.append(now)
        of_key.change = self._change
        if is_known:
            return False
        self._ring((network, None)).times.append(now)
        return self._seconds_left((network, None), now) > 0

    def _seconds_left(self, name: tuple[str, int | None], now: float) -> float:
        ring = self._rings.get(name)
        return ring.times[0] + WINDOW_SECONDS - now if ring is not None and len(ring.times) == self._limit else 0.0

    def _ring(self, name: tuple[str, int | None]) -> _Tries:
        ring = self._rings.get(name)
        if ring is None:
            if len(self._rings) >= RINGS_LIMIT:
                self._rings.popitem(last=False)
            ring = self._rings[name] = _Tries(self._limit)
        self._rings.move_to_end(name)
        return ring


def network_of(peer: str) -> str:
    """Return what an address counts as: itself, or its /64; one that is mapped into IPv6 is what it is in IPv4."""
    try:
        address = IPv6Address(peer)
    except AddressValueError:
        try:
            return str(IPv4Address(peer))
        except AddressValueError:
            return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(address.packed[:PREFIX_BYTES] + bytes(PREFIX_BYTES))}/64"
