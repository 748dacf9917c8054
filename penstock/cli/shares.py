"""Shares of traffic as people write them: percents with at most two decimals, `v3=90 v4=10`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

WHOLE = 10_000
"""All the traffic, in basis points."""

_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?%?", re.ASCII)


def basis_points(text: str) -> int:
    """Return a percentage in basis points.

    Raises:
        click.UsageError: no number from 0 to 100 with at most two decimals.
    """
    match = _PERCENT.fullmatch(text)
    points = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) if match else -1
    if not 0 <= points <= WHOLE:
        raise click.UsageError(f"'{text}' is no percentage: use 0 to 100 with at most two decimals, for example 2.5.")
    return points


def percent(points: int) -> str:
    """Return basis points as a percentage."""
    return f"{points / 100:.2f}".rstrip("0").rstrip(".") + " %"


def shares_of(words: Sequence[str]) -> Mapping[str, int]:
    """Return basis points by version from `VERSION=PERCENT` words; one word may be `VERSION` alone and takes the rest.

    Raises:
        click.UsageError: a word is neither, a version comes twice, or the sum is not 100.
    """
    shares: dict[str, int] = {}
    rest: list[str] = []
    for word in words:
        version, equals, share = word.partition("=")
        if version in shares or version in rest:
            raise click.UsageError(f"Version '{version}' comes twice.")
        if equals:
            shares[version] = basis_points(share)
        else:
            rest.append(version)
    if len(rest) > 1:
        raise click.UsageError(f"Only one version can take the rest, not {', '.join(rest)}: write VERSION=PERCENT.")
    total = sum(shares.values())
    if rest:
        shares[rest[0]] = WHOLE - total
    if total > WHOLE or (not rest and total != WHOLE):
        raise click.UsageError(f"The shares sum to {percent(total)}, not to 100 %.")
    return shares
