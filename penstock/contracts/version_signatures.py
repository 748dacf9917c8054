"""What a signature of a version is over: the model's name and the digest of the version's manifest, as text.

    penstock version
    fraud_detector
    3b0c…                       64 hexadecimal digits; no newline after them

The name is in it so that what was signed for one model cannot be registered as another; the first line, so that a key that signs other
things as well never vouches for a version by mistake.
"""

from __future__ import annotations

SIGNATURE_BYTES = 64
"""Of Ed25519."""


def signed_text(model: str, digest: str) -> bytes:
    """Pure: return what is signed with Ed25519.

    Args:
        model: its name.
        digest: SHA-256 of the version's manifest, in lower-case hexadecimal.
    """
    return f"penstock version\n{model}\n{digest}".encode()
