from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, FallbackStep, Route, Shadow
from services.controller.traffic_plan import shares, weighted, with_share, without

CURRENT = (Backend(version="2", weight_basis_points=WHOLE, attempts=3),)


def test_the_candidate_comes_after_the_current_one_and_stays_there_as_it_grows():
    first = weighted(CURRENT, {"2": 9_900, "10": 100})
    then = weighted(first, {"10": 500, "2": 9_500})

    assert [backend.version for backend in (*first, *then)] == ["2", "10", "2", "10"]


def test_whoever_saw_the_candidate_at_one_percent_sees_it_at_five():
    small = Route(model="m", backends=weighted(CURRENT, {"2": 9_900, "10": 100}))
    large = Route(model="m", backends=weighted(small.backends, {"2": 9_500, "10": 500}))
    keys = [f"user-{number}".encode() for number in range(20_000)]

    early = {key for key in keys if small.choose(key) == "10"}
    assert len(early) > 100
    assert early < {key for key in keys if large.choose(key) == "10"}


def test_what_a_backend_may_cost_outlives_a_change_of_its_weight():
    assert weighted(CURRENT, {"2": 1, "3": 9_999})[0].attempts == 3


def test_new_backends_come_oldest_version_first():
    assert [backend.version for backend in weighted((), {"10": 1, "9": 1, "1.2.0": 1})] == ["1.2.0", "9", "10"]


def test_a_weight_out_of_range_is_refused():
    with pytest.raises(InvalidInput):
        weighted(CURRENT, {"2": -1})


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=6), st.integers(0, WHOLE))
def test_a_share_leaves_the_rest_to_the_others_as_they_had_it(parts: list[int], share: int):
    held = tuple(Backend(version=str(number), weight_basis_points=part) for number, part in enumerate(parts, start=1))
    backends = with_share(held, "new", share)

    assert sum(backend.weight_basis_points for backend in backends) == WHOLE
    assert backends[-1] == Backend(version="new", weight_basis_points=share)
    for backend, part in zip(backends, parts, strict=False):
        if total := sum(parts):
            assert abs(backend.weight_basis_points - (WHOLE - share) * part / total) < 1


def test_a_version_leaves_every_part_of_a_route():
    route = Route(
        model="m",
        backends=weighted((), {"1": 6_000, "2": 3_000, "3": 1_000}),
        pins={"acme": "1", "globex": "2"},
        shadow=Shadow(version="1", sample_basis_points=5),
        fallback=(FallbackStep(kind=FallbackKind.VERSION, version="1"), FallbackStep(kind=FallbackKind.CACHED)),
    )
    left = without(route, "1")

    assert left is not None
    assert shares(left.backends) == {"2": 7_500, "3": 2_500}
    assert (left.pins, left.shadow) == ({"globex": "2"}, None)
    assert [step.kind for step in left.fallback] == [FallbackKind.CACHED]


def test_nobody_is_left_when_the_last_one_leaves():
    assert without(Route(model="m", backends=CURRENT), "2") is None
