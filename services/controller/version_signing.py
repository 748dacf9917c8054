"""Who vouches for a version: Ed25519 signatures over its digest, by keys that are known here.

signature = base64(private_key.sign(digest.encode("ascii")))
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from penstock.contracts.errors import TenantForbidden

SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningPolicy:
    """Whose signatures count, and whether one is needed."""

    keys: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Public keys of 32 bytes by name."""
    is_required: bool = False

    def signer(self, digest: str, signature: str) -> str:
        """Return the name of the key that signed a digest; empty when nothing is signed and nothing has to be.

        Raises:
            TenantForbidden: a signature is missing, or is none of a known key over this digest.
        """
        if not signature:
            if self.is_required:
                raise _forbidden(f"the version {digest[:12]} is not signed: send an Ed25519 signature of its digest")
            return ""
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _forbidden("the signature is no base64 text") from error
        for name, key in self.keys.items():
            if len(raw) == SIGNATURE_BYTES and _is_signed(key, raw, digest):
                return name
        raise _forbidden(f"the signature of {digest[:12]} is by no key that is known here, or of another digest")


def _is_signed(key: bytes, signature: bytes, digest: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, digest.encode("ascii"))
    except (InvalidSignature, ValueError):
        return False
    return True


def _forbidden(message: str) -> TenantForbidden:
    return TenantForbidden(message, reason="BAD_SIGNATURE", field="signature")
