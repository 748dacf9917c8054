"""What an API key looks like: `penstock_<environment>_<id>_<32 random characters><checksum>`.

The beginning lets scanners of repositories find keys that leaked; the environment tells a key of the test mesh from one of the real one;
the id may be shown and names the key in the catalogue. The checksum (CRC-32 in 6 characters) finds a mistyped key without asking anybody.
Keys that were made before environments were name none, and are the same otherwise.
"""

from __future__ import annotations

import re
import string
import zlib
from dataclasses import dataclass

PREFIX = "penstock"
CHARACTERS = string.digits + string.ascii_letters
ID_CHARACTERS = 12
SECRET_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6
ENVIRONMENT = "^[a-z][a-z0-9]{0,15}$"
"""What the name of an environment may be: nothing that would need quoting anywhere, or that two people write differently."""
DEFAULT_ENVIRONMENT = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """What may be shown of a key."""

    environment: str
    """Empty for keys that were made before there were environments."""
    key_id: str


def key_body(environment: str, key_id: str, secret: str) -> str:
    """Return all of a key but its checksum."""
    return f"{PREFIX}_{environment}_{key_id}_{secret}"


def key_parts(key: str) -> KeyParts | None:
    """Return what a key says of itself; None when it is none of ours, or was mistyped."""
    body, end = key[:-CHECKSUM_CHARACTERS], key[-CHECKSUM_CHARACTERS:]
    if not body.isascii() or checksum(body) != end:
        return None
    match body.split("_"):
        case [prefix, key_id, _] if prefix == PREFIX:
            return KeyParts(environment="", key_id=key_id)
        case [prefix, environment, key_id, _] if prefix == PREFIX and re.fullmatch(ENVIRONMENT, environment):
            return KeyParts(environment=environment, key_id=key_id)
        case _:
            return None


def checksum(body: str) -> str:
    """Return the end of a key that begins so."""
    number = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(CHARACTERS))
        digits.append(CHARACTERS[digit])
    return "".join(reversed(digits))
