"""Steps of a fallback chain as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from penstock.client.declared_answers import declared_answer
from penstock.contracts.errors import InvalidInput
from penstock.contracts.routes import FallbackKind, FallbackStep


def fallback_steps(words: Sequence[str]) -> list[FallbackStep]:
    """Return the steps that the words name: `cached`, `@FILE` or a version.

    Raises:
        click.UsageError: a file holds no answer, or a word is no version.
    """
    try:
        return [_step(word) for word in words]
    except InvalidInput as error:
        raise click.UsageError(f"{error.message}.") from None


def _step(word: str) -> FallbackStep:
    if word == "cached":
        return FallbackStep(kind=FallbackKind.CACHED)
    if not word.startswith("@"):
        return FallbackStep(kind=FallbackKind.VERSION, version=word)
    path = Path(word[1:])
    try:
        return FallbackStep(kind=FallbackKind.DECLARED, declared_response=declared_answer(path.read_bytes()))
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}.") from None
    except InvalidInput as error:
        raise click.UsageError(f"{path}: {error.message}.") from None
