"""Requests that were executed by a worker that crashed are tried one at a time."""

from __future__ import annotations

from types import SimpleNamespace

from penstock.contracts.errors import ServingError
from services.mesh.chunk import NO_DEADLINE, Chunk, Template
from services.mesh.quarantine import Quarantine


class Context:
    deployment = SimpleNamespace(default_priority_level=1)

    def part(self, positions):
        return self


def chunk(*deadlines: float) -> Chunk:
    template = Template(input_positions=(), shapes=(), rows=1, outputs=(0,), wire_inputs=(), wire_outputs=b"")
    made = Chunk(None, template, Context())  # pyright: ignore[reportArgumentType]
    made.deadlines = list(deadlines)
    made.seal()
    return made


class Ward:
    def __init__(self) -> None:
        self.sent: list[Chunk] = []
        self.refused: list[str] = []
        self.quarantine = Quarantine(self.sent.append, self._refuse)

    def _refuse(self, chunk: Chunk, error: ServingError) -> None:
        self.refused += [error.reason for position in chunk.open_positions() if chunk.take(position)]


def test_suspects_leave_one_at_a_time_each_alone():
    ward = Ward()
    ward.quarantine.add(chunk(NO_DEADLINE, NO_DEADLINE))

    ward.quarantine.release(0.0)
    ward.quarantine.release(0.0)
    assert [one.size for one in ward.sent] == [1]

    ward.sent[0].take(0)
    ward.quarantine.release(0.0)
    assert [one.size for one in ward.sent] == [1, 1]
    assert not ward.quarantine.waiting


def test_who_waits_past_the_deadline_is_told_so_and_not_sent():
    ward = Ward()
    ward.quarantine.add(chunk(NO_DEADLINE, 1.0))
    ward.quarantine.release(0.0)

    ward.quarantine.release(1.5)
    ward.sent[0].take(0)
    ward.quarantine.release(1.5)

    assert ward.refused == ["DEADLINE_EXCEEDED"]
    assert len(ward.sent) == 1


def test_who_left_while_waiting_is_not_sent():
    ward = Ward()
    ward.quarantine.add(chunk(NO_DEADLINE, NO_DEADLINE, NO_DEADLINE))
    ward.quarantine.waiting[1].take(0)

    for _ in range(3):
        ward.quarantine.release(0.0)
        ward.sent[-1].take(0)

    assert len(ward.sent) == 2
