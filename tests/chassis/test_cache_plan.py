"""What a cache gives up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.cache_plan import BLOCK_BYTES, Cached, occupied_bytes, to_evict


def cached(digest: str, occupied: int = 10, used: int = 0) -> Cached:
    return Cached(digest=digest, occupied_bytes=occupied, used_ns=used)


def test_the_least_recently_used_goes_first_and_no_more_than_needed():
    there = [cached("a", used=3), cached("b", used=1), cached("c", used=2)]

    assert to_evict(there, (), 11) == ("b", "c")


def test_nothing_goes_when_it_would_not_be_enough():
    assert to_evict([cached("a"), cached("b")], {"a"}, 11) is None


def test_nothing_has_to_go_when_there_is_room():
    assert to_evict([cached("a")], (), 0) == ()


@settings(deadline=None)
@given(
    st.lists(st.builds(cached, st.text(), st.integers(1, 100), st.integers(0, 5)), unique_by=lambda one: one.digest),
    st.sets(st.text()),
    st.integers(-10, 500),
)
def test_what_goes_is_enough_is_never_protected_and_never_more_recent_than_what_stays(
    there: list[Cached], protected: set[str], excess: int
):
    chosen = to_evict(there, protected, excess)

    free = {one.digest: one for one in there if one.digest not in protected}
    if chosen is None:
        assert sum(one.occupied_bytes for one in free.values()) < excess
        return
    assert set(chosen) <= set(free)
    assert sum(free[digest].occupied_bytes for digest in chosen) >= excess
    stay = [one.used_ns for digest, one in free.items() if digest not in chosen]
    assert all(free[digest].used_ns <= used for digest in chosen for used in stay)


def test_files_count_in_whole_blocks_with_one_for_their_place():
    assert occupied_bytes([0, 1, BLOCK_BYTES, BLOCK_BYTES + 1]) == BLOCK_BYTES * (1 + 2 + 2 + 3)
