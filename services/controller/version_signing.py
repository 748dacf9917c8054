"""Who vouches for a version: Ed25519 signatures over the model's name and the version's digest, by keys that are known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from penstock.contracts.errors import InvalidInput, TenantForbidden
from penstock.contracts.version_signatures import signed_text
from services.chassis.operator_keys import public_keys
from services.chassis.process import CannotStart


class SignatureState(Enum):
    """What a version's signature was found to be."""

    UNSIGNED = "unsigned"
    GOOD = "good"
    UNKNOWN_KEY = "unknown_key"
    """Its key is not known any more, so that nothing can be said."""
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningPolicy:
    """Whose signatures count, and whether one is needed."""

    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict[str, Ed25519PublicKey])
    """Public keys by name."""
    is_required: bool = False

    @classmethod
    def load(cls, path: Path | None, *, is_required: bool) -> Self:
        """Read the file of keys; without one no signature counts.

        Raises:
            CannotStart: the file cannot be read, is not valid, or names no key where a signature is needed.
        """
        if path is None:
            return cls(is_required=is_required)
        try:
            keys = public_keys(path)
        except OSError as error:
            raise CannotStart(f"version_keys: {path}: {error.strerror}") from None
        except InvalidInput as error:
            raise CannotStart(f"version_keys: {path}: {error.message}") from None
        if is_required and not keys:
            raise CannotStart(f"version_keys: {path} names no key below [keys], and require_version_signatures is set")
        return cls(keys=keys, is_required=is_required)

    def signer(self, model: str, digest: str, signature: bytes, key_id: str = "") -> str:
        """Return the name of the key that signed a version; empty when nothing is signed and nothing has to be.

        Args:
            model: the name of its model.
            digest: of its manifest.
            signature: what `signed_text` of both was signed with; empty for none.
            key_id: the name of the key; empty tries all.

        Raises:
            TenantForbidden: a signature is missing, or is none of that key, or of any known one, over this version.
        """
        if not signature:
            if self.is_required or key_id:
                raise _forbidden(f"the version {digest[:12]} is not signed: `penstock models register --signing-key` signs one")
            return ""
        if key_id and key_id not in self.keys:
            raise _forbidden(f"the key {key_id[:64]!r} is not among the version_keys here")
        for name in [key_id] if key_id else self.keys:
            if _is_signed(self.keys[name], signature, signed_text(model, digest)):
                return name
        by = f"not that of the key {key_id[:64]!r}" if key_id else "by no key that is known here"
        raise _forbidden(f"the signature is {by}, or of something else than the version {digest[:12]} of {model[:80]!r}")

    def state(self, model: str, digest: str, signature: bytes | None, key_id: str) -> SignatureState:
        """Return what a kept signature of a version is now, by the keys that are known now."""
        if signature is None:
            return SignatureState.UNSIGNED
        if key_id not in self.keys:
            return SignatureState.UNKNOWN_KEY
        return SignatureState.GOOD if _is_signed(self.keys[key_id], signature, signed_text(model, digest)) else SignatureState.BAD


def _is_signed(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _forbidden(message: str) -> TenantForbidden:
    return TenantForbidden(message, reason="BAD_SIGNATURE", field="signature")
