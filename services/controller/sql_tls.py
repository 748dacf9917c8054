"""TLS towards PostgreSQL, in the words that its own clients take in a URL.

    postgresql+asyncpg://penstock@db:5432/penstock?sslmode=verify-full&sslrootcert=/etc/penstock/db-ca.pem

    disable       never
    require       always, whoever answers
    verify-ca     always, with whom the authority vouches for
    verify-full   and under the name that is called: what `sslrootcert` alone means, too

`sslcert` and `sslkey` name the certificate that is shown. Without any of these words TLS is spoken where the server offers it.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from penstock.contracts.errors import InvalidInput
from services.chassis.key_files import check_key

WORDS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
MODES = ("disable", "require", "verify-ca", "verify-full")


def without_tls_words(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the URL as the driver takes it, and what it is to connect with.

    Raises:
        InvalidInput: a word means nothing here, or a file cannot be used.
    """
    said = {name: str(value) for name, value in url.query.items() if name in WORDS}
    if not said:
        return url, {}
    mode = said.get("sslmode", "verify-full" if "sslrootcert" in said else "require")
    if mode not in MODES:
        raise InvalidInput(f"sslmode={mode[:40]!r} of the database is none of {', '.join(MODES)}", field="database")
    if ("sslcert" in said) != ("sslkey" in said):
        raise InvalidInput("sslcert and sslkey of the database go together", field="database")
    plain = url.difference_update_query(WORDS)
    try:
        return plain, {"ssl": False if mode == "disable" else _context(mode, said)}
    except OSError as error:
        raise InvalidInput(f"certificates of the database: {error}", field="database") from None


def _context(mode: str, said: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=said.get("sslrootcert"))
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in said:
        check_key(Path(said["sslkey"]))
        # A key with a password would be asked for at the terminal; with this it is an error like others.
        context.load_cert_chain(said["sslcert"], said["sslkey"], password="")
    return context
