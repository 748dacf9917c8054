"""Each request of a chunk is released exactly once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.mesh.chunk import NO_DEADLINE, Chunk
from services.mesh.route_table import Deployment
from tests.mesh.conftest import SIGNATURE
from tests.mesh.ledger import ONE_ROW, Ledger, Numbered

DEPLOYMENT = Deployment(model="m", version="1", digest="d", signature=SIGNATURE, model_config=b"", replicas=())

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(-2, 12)),
        st.tuples(st.just("range"), st.tuples(st.integers(0, 10), st.integers(0, 10))),
        st.tuples(st.just("some"), st.lists(st.integers(0, 9), max_size=5)),
        st.tuples(st.just("part"), st.lists(st.integers(0, 9), max_size=5, unique=True)),
        st.tuples(st.just("expire"), st.integers(0, 10)),
    ),
    max_size=12,
)


def chunk_of(size: int) -> Chunk:
    chunk = Chunk(Ledger(), ONE_ROW, Numbered(DEPLOYMENT, list(range(size))))
    for number in range(size):
        chunk.columns[0].append(bytes([number]))
        chunk.deadlines.append(float(number))
    chunk.seal()
    return chunk


@given(ACTIONS)
def test_every_position_is_released_once_whoever_comes_first(actions: list):
    chunk = chunk_of(10)
    released: list[int] = []
    for kind, what in actions:
        if kind == "take":
            released += [what] if chunk.take(what) else []
        elif kind in {"range", "some"}:
            positions = range(min(what[0], 10), min(what[0] + what[1], 10)) if kind == "range" else what
            offsets = chunk.take_range(positions)
            released += list(positions) if offsets is None else [positions[offset] for offset in offsets]
        elif kind == "part":
            wanted = [position for position in what if chunk.is_open(position)]
            part = chunk.part(wanted)
            assert part.columns == [[bytes([position]) for position in wanted]]
            released += wanted
        else:
            released += [position for position in chunk.expired_positions(float(what)) if chunk.take(position)]
        assert chunk.left == 10 - len(released)
        assert chunk.open_positions() == sorted(set(range(10)) - set(released))

    assert len(released) == len(set(released))


def test_the_next_deadline_is_that_of_the_requests_still_open():
    chunk = chunk_of(4)
    chunk.take(3)

    assert chunk.earliest_deadline == 0.0
    assert chunk.expired_positions(1.0) == [0, 1]
    assert chunk.earliest_deadline == 2.0
    chunk.take(2)
    assert chunk.expired_positions(1.0) == [0, 1]
    assert chunk.earliest_deadline == NO_DEADLINE
