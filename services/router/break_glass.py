"""Who may change a route past the controller: operators, by Ed25519 signatures over the serialised route.

The file of keys is TOML, one line an operator; the word before the colon is the kind of key:

    [keys]
    alice = "ed25519:<base64 of the 32 bytes of the public key>"

A break-glass record without a route is never taken: its signature would fit every model for ever.
"""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.route_records import RouteRecord

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    """Public keys of operators, by their id."""

    keys: Mapping[str, Ed25519PublicKey]

    @classmethod
    def load(cls, path: Path | None) -> OperatorKeys:
        """Read the file of keys; without one nobody may break the glass.

        Raises:
            InvalidInput: the file is not valid.
            OSError: it cannot be read.
        """
        if path is None:
            return cls({})
        try:
            table: dict[str, Any] = tomllib.loads(path.read_text()).get("keys", {})
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"break-glass keys: {error}", reason="BAD_VALUE") from None
        return cls({name: _key(name, text) for name, text in table.items()})

    def check(self, record: RouteRecord) -> None:
        """Return when a break-glass record is an operator's.

        Raises:
            TenantForbidden: it is not signed, not by a key that is known here, or it takes a route away.
        """
        key = self.keys.get(record.key_id)
        if record.route is None or not record.route_bytes:
            raise TenantForbidden("a break-glass record must carry a route", reason="BAD_SIGNATURE")
        if key is None:
            raise TenantForbidden(f"the operator's key {record.key_id[:64]!r} is not known to this router", reason="BAD_SIGNATURE")
        try:
            key.verify(record.signature, record.route_bytes)
        except InvalidSignature:
            raise TenantForbidden(f"the signature is not that of the key {record.key_id[:64]!r}", reason="BAD_SIGNATURE") from None


def _key(name: str, text: object) -> Ed25519PublicKey:
    kind, _, encoded = text.partition(":") if isinstance(text, str) else ("", "", "")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raw = b""
    if kind != "ed25519" or len(raw) != KEY_BYTES:
        raise InvalidInput(f"break-glass keys: {name!r} must be 'ed25519:<base64 of {KEY_BYTES} bytes>'", reason="BAD_VALUE")
    return Ed25519PublicKey.from_public_bytes(raw)
