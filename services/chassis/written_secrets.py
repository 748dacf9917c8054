"""Finds secrets where they may not stand: in a settings file, which people show around, and on a command line, which everybody can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, SecretStr


def written_secrets(kind: type[BaseModel], tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Pure: yield the dotted names of all `SecretStr` settings that a tree holds, but not what they hold."""
    for name, field in kind.model_fields.items():
        if name not in tree:
            continue
        inner = field.annotation
        if inner is SecretStr:
            yield ".".join((*path, name))
        elif isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(tree[name], Mapping):
            yield from written_secrets(inner, cast("Mapping[str, Any]", tree[name]), (*path, name))
