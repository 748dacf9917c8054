"""How answers are kept in Redis, where anybody may have written anything.

A key names the tenant in clear, so that no tenant can be answered with what belongs to another, and ends in a cryptographic digest of what
the answer depends on: model, version, the digest of its files and configuration, the description of the tensors, and their bytes. Whoever
chooses inputs can make equal xxh3 hashes, which is why the memory's keys would not do here. A value begins with a digest of its own key and
of the answer: what was cut off, changed, written by somebody else or copied from another key is no answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

FORMAT = 1
"""Of keys and values; one that counts otherwise is never met, for it has other keys."""
PREFIX = f"penstock:answers:{FORMAT}:".encode()
"""Start of the keys."""
HEADER_BYTES = 20
"""What a value is longer than its answer."""

_MARK = b"PSA" + bytes([FORMAT])
_DIGEST_BYTES = HEADER_BYTES - len(_MARK)


def key_of(tenant: str, described: object, parts: Iterable[bytes]) -> bytes:
    """Return the key of a question.

    Args:
        tenant: whose question it is.
        described: what the answer depends on beside the inputs; its `repr` is the same in every process.
        parts: raw bytes of each input.
    """
    hashed = hashlib.blake2b(repr(described).encode(), digest_size=24)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return PREFIX + quote(tenant, safe="").encode() + b":" + hashed.hexdigest().encode()


def wrap(key: bytes, answer: bytes) -> bytes:
    """Return the value of a key."""
    return _MARK + _digest(key, answer) + answer


def unwrap(key: bytes, value: bytes) -> bytes | None:
    """Return the answer in the value of a key; None when it is none that was written there."""
    answer = value[HEADER_BYTES:]
    return answer if value[:HEADER_BYTES] == _MARK + _digest(key, answer) else None


def _digest(key: bytes, answer: bytes) -> bytes:
    hashed = hashlib.blake2b(len(key).to_bytes(8, "little") + key, digest_size=_DIGEST_BYTES)
    hashed.update(answer)
    return hashed.digest()
