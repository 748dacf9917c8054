"""Makes API keys in the shape of penstock/contracts/api_keys.py.

190 random bits make any guess hopeless, so that a plain hash can be kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from penstock.contracts.api_keys import (
    CHARACTERS,
    CHECKSUM_CHARACTERS,
    DEFAULT_ENVIRONMENT,
    ID_CHARACTERS,
    SECRET_CHARACTERS,
    checksum,
    key_body,
    key_parts,
)

__all__ = ["CHECKSUM_CHARACTERS", "checksum", "hash_of", "id_in", "is_hash_of", "new_key"]


def new_key(environment: str = DEFAULT_ENVIRONMENT) -> tuple[str, str]:
    """Return the id of a key that nobody has, and the key."""
    key_id = _random(ID_CHARACTERS)
    body = key_body(environment, key_id, _random(SECRET_CHARACTERS))
    return key_id, body + checksum(body)


def id_in(key: str) -> str:
    """Return the id in a key; empty when it is none of ours, or was mistyped."""
    parts = key_parts(key)
    return "" if parts is None else parts.key_id


def hash_of(key: str, pepper: bytes = b"") -> str:
    """Return what is kept of a key, in the form of the tenants file."""
    if pepper:
        return f"hmac-sha256:{hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()}"
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def is_hash_of(held: str, key: str, peppers: Iterable[bytes]) -> bool:
    """Pure: whether a hash is that of a presented key under one of the peppers; its time does not tell how much of a key is right."""
    return any(hmac.compare_digest(held, hash_of(key, pepper)) for pepper in peppers)


def _random(count: int) -> str:
    return "".join(secrets.choice(CHARACTERS) for _ in range(count))
