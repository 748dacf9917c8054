"""Sorts a wave by layout: requests of one model, shape and length of id, which differ in nothing but id and tensors.

Callers repeat themselves. A layout is everything of a request but its id and its tensors' bytes, learnt from a request that was
understood step by step (understanding.py); the next one like it is recognised by two comparisons of bytes, and what there is to decide
is then decided for all alike at once (inference.py). Requests with parameters, and those whose version is chosen one by one, have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.router.targets import Target
from services.router.templates import Learnt

LAYOUTS_PER_LENGTH = 16
"""They are tried one after the other; requests of further ones are understood one by one."""
LENGTHS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What all requests of one layout have in common."""

    head: bytes
    """Model, version and, where there is an id, its tag and length."""
    id_start: int
    """Where the id's field begins, tag included."""
    start: int
    """Where the id's field ends and the inputs begin."""
    target: Target
    learnt: Learnt

    def fits(self, payload: bytes) -> bool:
        """Whether a request of the right length is of this layout, but for what stands between several tensors."""
        return payload.startswith(self.head) and payload.startswith(self.learnt.prefix, self.start)

    def ids(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the id fields of requests that fit."""
        begin, end = self.id_start, self.start
        return [payload[begin:end] for payload in payloads] if begin != end else [b""] * len(payloads)

    def columns(self, payloads: Sequence[bytes]) -> list[list[bytes]] | None:
        """Return each input's bytes of requests that fit; None when one of them is of another kind after all."""
        learnt, start = self.learnt, self.start
        if len(learnt.segments) == 1:
            begin = start + len(learnt.prefix)
            return [[payload[begin:] for payload in payloads]]
        rows = [learnt.cut(payload, start) for payload in payloads]
        sound = [row for row in rows if row is not None]
        return [list(column) for column in zip(*sound, strict=True)] if len(sound) == len(rows) else None


class LayoutBook:
    """The layouts of the routes as they are."""

    __slots__ = ("_by_length",)

    def __init__(self) -> None:
        """Know none."""
        self._by_length: dict[int, tuple[Layout, ...]] = {}

    def forget(self) -> None:
        """Learn anew: the routes changed."""
        self._by_length.clear()

    def sort(self, payloads: Sequence[bytes]) -> tuple[dict[Layout, list[int]], list[int]]:
        """Return the places of requests by their layout, and of those without one."""
        by_length, sorted_by = self._by_length, dict[Layout, list[int]]()
        others: list[int] = []
        for index, payload in enumerate(payloads):
            for layout in by_length.get(len(payload), ()):
                if payload.startswith(layout.head) and payload.startswith(layout.learnt.prefix, layout.start):
                    places = sorted_by.get(layout)
                    if places is None:
                        sorted_by[layout] = [index]
                    else:
                        places.append(index)
                    break
            else:
                others.append(index)
        return sorted_by, others

    def learn(self, payload: bytes, id_start: int, start: int, target: Target, learnt: Learnt) -> None:
        """Remember the layout of a request that was understood and has no parameters."""
        known = self._by_length.get(len(payload), ())
        if len(known) >= LAYOUTS_PER_LENGTH or any(one.fits(payload) for one in known):
            return
        if len(self._by_length) >= LENGTHS:
            self._by_length.clear()
        head = payload[: id_start + 2] if start > id_start else payload[:id_start]
        layout = Layout(head=head, id_start=id_start, start=start, target=target, learnt=learnt)
        self._by_length[len(payload)] = (*known, layout)
