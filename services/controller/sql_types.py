"""How values stand in columns: JSON texts and enums, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from enum import Enum
from functools import lru_cache
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from services.controller.documents import canonical, from_document

REMEMBERED_DOCUMENTS = 16_384
"""Texts whose values are kept. Values never change, and a round of placement reads those of every model again: at 1,000 models reading
was two thirds of its time."""


class Document(TypeDecorator[Any]):
    """A value as its canonical JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        """Keep the type that is read back."""
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write the value."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read the value."""
        return None if value is None else _read(self.kind, value)


@lru_cache(maxsize=REMEMBERED_DOCUMENTS)
def _read(kind: Any, text: str) -> Any:
    return from_document(kind, json.loads(text))


class Word(TypeDecorator[Any]):
    """An enum as its value."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[Enum]) -> None:
        """Keep the enum that is read back."""
        super().__init__(32)
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write the value."""
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read the value."""
        return None if value is None else self.kind(value)
