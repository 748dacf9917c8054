"""What a link needs of the rest of the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.worker.templates import TemplateBook
from services.worker.work import Work


class WorkTaker(Protocol):
    """What a connection needs of a batcher."""

    @property
    def templates(self) -> TemplateBook:
        """Templates of the deployment's requests."""
        ...

    def submit(self, work: Work, positions: Sequence[int] | None = None) -> None:
        """Take a chunk, or some requests of it; the sink hears of each of them."""
        ...

    def cancel(self, work: Work, position: int) -> bool:
        """Take one request back; True when the sink will hear nothing more of it."""
        ...

    def abandon(self, work: Work) -> None:
        """Take a chunk back whose sink is gone."""
        ...


Lookup = Callable[[int], WorkTaker | None]
"""Replica number → its batcher; None when the worker does not hold it (any more)."""
