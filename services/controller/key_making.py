"""Makes API keys: `penstock_<id>_<32 random characters><checksum>`.

The id may be shown and names the key in the catalogue; 190 random bits make any guess hopeless, so that a plain hash can be kept; the
checksum (CRC-32 in 6 characters) tells a mistyped key from a wrong one without asking anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib

PREFIX = "penstock"
CHARACTERS = string.digits + string.ascii_letters
ID_CHARACTERS = 12
SECRET_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6


def new_key() -> tuple[str, str]:
    """Return the id of a key that nobody has, and the key."""
    key_id = _random(ID_CHARACTERS)
    body = f"{PREFIX}_{key_id}_{_random(SECRET_CHARACTERS)}"
    return key_id, body + checksum(body)


def id_in(key: str) -> str:
    """Return the id in a key; empty when it is none of ours, or was mistyped."""
    body, end = key[:-CHECKSUM_CHARACTERS], key[-CHECKSUM_CHARACTERS:]
    parts = body.split("_")
    if len(parts) != 3 or parts[0] != PREFIX or not body.isascii() or checksum(body) != end:
        return ""
    return parts[1]


def checksum(body: str) -> str:
    """Return the end of a key that begins so."""
    number = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(CHARACTERS))
        digits.append(CHARACTERS[digit])
    return "".join(reversed(digits))


def hash_of(key: str, pepper: bytes = b"") -> str:
    """Return what is kept of a key, in the form of the tenants file."""
    if pepper:
        return f"hmac-sha256:{hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()}"
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _random(count: int) -> str:
    return "".join(secrets.choice(CHARACTERS) for _ in range(count))
