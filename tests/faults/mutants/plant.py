"""What a plant is: one piece of text of one module, replaced while the module is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One piece of text to replace."""

    name: str
    module: str
    old: str
    new: str
