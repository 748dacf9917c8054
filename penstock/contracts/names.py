"""Names of models and versions, and the order of versions.

A version is any name of letters, digits, `.`, `_` and `-`. Numeric names are ordered as numbers; others as semantic versions
(https://semver.org, precedence rules of section 11, with an optional leading `v` and any number of numeric parts); what is neither
is ordered by text, before both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.contracts.errors import InvalidInput

NAME_LIMIT = 255
"""Longest model or version name, in characters."""

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_SEMANTIC = re.compile(r"[vV]?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?", re.ASCII)

VersionOrder = tuple[int, tuple[int, ...], int, tuple[tuple[int, int, str], ...], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable artefact of a model."""

    model: str
    version: str

    def __post_init__(self) -> None:
        """Refuse names that are not valid."""
        check_model_name(self.model)
        check_version_name(self.version)

    def __str__(self) -> str:
        """Return `model@version`."""
        return f"{self.model}@{self.version}"


def check_model_name(name: str) -> str:
    """Return the name when it is valid.

    Raises:
        InvalidInput: empty, longer than NAME_LIMIT, or with characters other than letters, digits, `.`, `_`, `-`.
    """
    if len(name) > NAME_LIMIT or not _MODEL.fullmatch(name) or ".." in name:
        raise InvalidInput(_refusal("model", name), reason="BAD_NAME", field="model_name")
    return name


def check_version_name(name: str) -> str:
    """Return the name when it is valid.

    Raises:
        InvalidInput: empty, longer than NAME_LIMIT, or with characters other than letters, digits, `.`, `_`, `-`.
    """
    if len(name) > NAME_LIMIT or not _VERSION.fullmatch(name) or ".." in name:
        raise InvalidInput(_refusal("version", name), reason="BAD_NAME", field="model_version")
    return name


def check_name(what: str, name: str, *, limit: int, field: str) -> str:
    """Return the name of something else, by the same rules.

    Raises:
        InvalidInput: empty, longer than `limit`, or with characters other than letters, digits, `.`, `_`, `-`.
    """
    if len(name) > limit or not _MODEL.fullmatch(name) or ".." in name:
        raise InvalidInput(_refusal(what, name, limit), reason="BAD_NAME", field=field)
    return name


def version_order(name: str) -> VersionOrder:
    """Return a key that sorts versions from oldest to newest."""
    match = _SEMANTIC.fullmatch(name)
    if match is None:
        return (0, (), 0, (), name)
    numbers = tuple(int(part) for part in match[1].split("."))
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers = numbers[:-1]
    prerelease = match[2]
    identifiers = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in (prerelease or "").split(".") if part)
    return (1, numbers, 0 if prerelease else 1, identifiers, name)


def _refusal(what: str, name: str, limit: int = NAME_LIMIT) -> str:
    shown = name if len(name) <= 40 else name[:40] + "…"
    return (
        f"{what} name {shown!r} is not valid: use 1 to {limit} letters, digits, '.', '_' or '-', "
        "starting with a letter or digit, without '..'"
    )
