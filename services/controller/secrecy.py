"""Finds what is secret in documents and texts, by the names of fields and by shape. Pure: values in, values out.

The audit keeps what was asked for, for ever and for more readers than the thing itself, so a secret must not get into it: neither with a
change that was made nor with one that was refused. What nobody can tell by name or shape stays: a secret called `x` is none to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from services.controller.documents import canonical, to_document

REDACTED = "(redacted)"

SECRETS = (
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "api_key",
    "access_key",
    "private_key",
    "signing_key",
    "authorization",
    "cookie",
)
"""Words in the names of settings whose values are references, never the secret itself; however they are written: apiKey, API-KEY.

Tokens are another matter: `hf_token` is a secret, `tokenizer`, `token_type_ids` and `max_tokens` are what language models are made of.
"""

REFERENCES = ("file:", "env:", "secret:")


def secret_places(document: object, pointer: str = "") -> Iterator[str]:
    """Yield the JSON pointers of all values that are secrets, at any depth."""
    for key, held in _pairs(document):
        place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(document, Mapping) and is_secret_name(key):
            if _hidden(held) != held:
                yield place
        elif isinstance(held, str):
            if redacted_text(held) != held:
                yield place
        else:
            yield from secret_places(held, place)


def audit_text(value: object) -> str:
    """Return the canonical text of a value without what is secret in it; empty for None."""
    return "" if value is None else canonical(redacted(to_document(value)))


def redacted(document: Any) -> Any:
    """Return a document without the values of secret fields, and without what has a secret's shape anywhere else, names included."""
    if isinstance(document, str):
        return redacted_text(document)
    if isinstance(document, Mapping):
        pairs = cast("Mapping[str, Any]", document).items()
        return {redacted_text(key): _hidden(held) if is_secret_name(key) else redacted(held) for key, held in pairs}
    if isinstance(document, list):
        return [redacted(held) for held in cast("list[Any]", document)]
    return document


def redacted_text(text: str) -> str:
    """Return a text without keys of ours, private keys, credentials of URLs and headers, and what follows the name of a secret."""
    for shape, left in _SHAPES:
        text = shape.sub(left, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a field of that name holds a secret."""
    squashed = _squashed(name)
    return any(word in squashed for word in _SQUASHED) or _TOKEN_NAME.search(squashed) is not None


def _hidden(value: Any) -> Any:
    """Return the value of a secret field: references, absence and switches stay, and so does the form of what is nested."""
    if isinstance(value, Mapping):
        return {redacted_text(key): _hidden(held) for key, held in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_hidden(held) for held in cast("list[Any]", value)]
    if value in (None, "") or isinstance(value, bool) or (isinstance(value, str) and value.startswith(REFERENCES)):
        return value
    return REDACTED


def _pairs(document: object) -> Iterator[tuple[str, object]]:
    if isinstance(document, Mapping):
        yield from ((str(key), held) for key, held in cast("Mapping[object, object]", document).items())
    elif isinstance(document, list | tuple):
        yield from ((str(index), held) for index, held in enumerate(cast("Sequence[object]", document)))


def _squashed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_SQUASHED = tuple(_squashed(word) for word in SECRETS)

_TOKEN_NAME = re.compile(r"^tokens$|token\d*(?:value|key)?$")
_WORDS = "|".join([*(word.replace("_", "[-_ ]?") for word in SECRETS), r"token(?![a-z_-](?!\d))"])
_ASSIGNED = r"[\w-]{0,40}[\"']?\s*[=:]\s*[\"']?"
_LEFT = r"(?:file|env|secret):|\(redacted\)|(?:bearer|basic)\s"

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"penstock_(?:[a-z][0-9a-z]{0,15}_)?[0-9A-Za-z]{6,}_[0-9A-Za-z]{16,}"), REDACTED),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/?#\s@]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"([?&](?:sig|signature|x-amz-signature|x-goog-signature)=)[^\s&\"']+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(r"\b(bearer|basic)\s+(?=\S*[\d=])[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(rf"((?:{_WORDS}){_ASSIGNED})(?!{_LEFT})[^\s&\"',;]+", re.IGNORECASE), rf"\1{REDACTED}"),
)
"""What a secret looks like, and what is left of it. The first ones take whole what the last would cut to pieces.

All are linear in the length of a text, whoever wrote it: runs that can begin anywhere are bounded.
"""
