"""Who may change a route past the controller: operators, by Ed25519 signatures over the serialised route.

The file of keys is TOML, one line an operator; the word before the colon is the kind of key:

    [keys]
    alice = "ed25519:<base64 of the 32 bytes of the public key>"

A signed record has to be handed over within VALID_SECONDS: one that was withheld, or found later, changes nothing any more. Where it comes
by the topic the broker's clock decides, at a router's door the router's.

A break-glass record without a route is never taken: its signature would fit every model for ever.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from penstock.contracts.errors import InvalidInput, ServingError, TenantForbidden
from penstock.contracts.route_records import RouteRecord, route_to_bytes
from penstock.contracts.routes import Route

KEY_BYTES = 32
VALID_SECONDS = 900.0
"""How long a signed record may be handed over; one that is in force stays so until a newer one comes."""
EARLY_SECONDS = 60.0
"""How far an operator's clock may be ahead."""

log = structlog.get_logger(__name__)


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
            return cls(public_keys(path))
        except InvalidInput as error:
            raise InvalidInput(f"break-glass keys: {error.message}", reason="BAD_VALUE") from None

    def is_admitted(self, raw: bytes, heard_time: float) -> bool:
        """Whether a record of the routes topic counts: a break-glass record only if it is an operator's and came in time.

        Args:
            raw: the record; bytes that cannot be read are left to whoever reads them next.
            heard_time: when the topic took it, in seconds since the Unix epoch, so that all readers decide alike.
        """
        try:
            record = RouteRecord.from_bytes(raw)
        except ServingError:
            return True
        if not record.break_glass:
            return True
        try:
            self.check(record)
            check_time(record, heard_time)
        except TenantForbidden as error:
            model = record.route.model if record.route else ""
            log.error("break_glass_refused", key=record.key_id[:64], model=model, reason=error.message)  # noqa: TRY400  the reason is ours
            return False
        return True

    def check(self, record: RouteRecord) -> None:
        """Return when a break-glass record is an operator's.

        Raises:
            TenantForbidden: it is not signed, not by a key that is known here, or it takes a route away.
        """
        key = self.keys.get(record.key_id)
        if record.route is None or not record.route_bytes:
            raise TenantForbidden("a break-glass record must carry a route", reason="BAD_SIGNATURE")
        if key is None:
            raise TenantForbidden(f"the operator's key {record.key_id[:64]!r} is not known here", reason="BAD_SIGNATURE")
        try:
            key.verify(record.signature, record.route_bytes)
        except InvalidSignature:
            raise TenantForbidden(f"the signature is not that of the key {record.key_id[:64]!r}", reason="BAD_SIGNATURE") from None


def public_keys(path: Path) -> dict[str, Ed25519PublicKey]:
    """Read a file of public keys; return them by their names.

    Raises:
        InvalidInput: it is not valid.
        OSError: it cannot be read.
    """
    try:
        table: object = tomllib.loads(path.read_text("utf-8")).get("keys", {})
    except ValueError as error:  # no TOML, or no text
        raise InvalidInput(str(error), reason="BAD_VALUE") from None
    if not isinstance(table, dict):
        raise InvalidInput("keys must be a table", reason="BAD_VALUE")
    return {name: _key(name, text) for name, text in cast("dict[str, object]", table).items()}


def check_time(record: RouteRecord, heard_time: float) -> None:
    """Pure: return when a signed record was handed over soon after it was signed.

    Args:
        record: the record; the time of its signature is its route's `changed_time`.
        heard_time: when it was handed over, in seconds since the Unix epoch.

    Raises:
        TenantForbidden: too long ago, or in the future.
    """
    age_seconds = heard_time - record.route.changed_time if record.route is not None else 0.0
    if not -EARLY_SECONDS <= age_seconds <= VALID_SECONDS:
        message = (
            f"the record was signed {age_seconds:.0f} s before it came, and holds for {VALID_SECONDS:.0f} s (a clock may be "
            f"{EARLY_SECONDS:.0f} s ahead): sign a new one"
        )
        raise TenantForbidden(message, reason="SIGNATURE_EXPIRED")


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """An operator's own half of a key: signs routes."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str) -> OperatorKey:
        """Make a key that nobody has.

        Raises:
            InvalidInput: the name cannot stand in the file of keys as it is.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput("an operator's name has 1 to 64 letters, digits, '_' and '-'", reason="BAD_NAME", field="name")
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> OperatorKey:
        """Read the file that `to_text` was written to.

        Raises:
            InvalidInput: it is no operator's key.
            OSError: it cannot be read.
        """
        try:
            held: Mapping[str, Any] = tomllib.loads(path.read_text()).get("operator", {})
            kind, _, encoded = str(held.get("private_key", "")).partition(":")
            raw = base64.b64decode(encoded, validate=True) if kind == "ed25519-private" else b""
            return cls(str(held.get("name", "")), Ed25519PrivateKey.from_private_bytes(raw))
        except (ValueError, binascii.Error):
            # Whatever is wrong with it, nothing of a private key is ever shown.
            raise InvalidInput(f"{path} is no operator's private key: `penstock keys operator` makes one", reason="BAD_VALUE") from None

    def to_text(self) -> str:
        """Return the private half, as it stands in its file."""
        encoded = base64.b64encode(self.key.private_bytes_raw()).decode()
        return f'[operator]\nname = "{self.name}"\nprivate_key = "ed25519-private:{encoded}"\n'

    def public_line(self) -> str:
        """Return the line of the file of keys."""
        return f'{self.name} = "ed25519:{base64.b64encode(self.key.public_key().public_bytes_raw()).decode()}"'

    def signed(self, route: Route) -> RouteRecord:
        """Return a route as a break-glass record."""
        raw = route_to_bytes(route)
        return RouteRecord(route=route, route_bytes=raw, break_glass=True, signature=self.key.sign(raw), key_id=self.name)


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def _key(name: str, text: object) -> Ed25519PublicKey:
    kind, _, encoded = text.partition(":") if isinstance(text, str) else ("", "", "")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    if kind != "ed25519" or len(raw) != KEY_BYTES:
        raise InvalidInput(f"{name!r} must be 'ed25519:<base64 of {KEY_BYTES} bytes>'", reason="BAD_VALUE")
    return Ed25519PublicKey.from_public_bytes(raw)
