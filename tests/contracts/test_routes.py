"""Weights and sticky choice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.declared_routes import declared_aliases, declared_backends
from penstock.contracts.errors import InvalidInput
from penstock.contracts.model_config import from_proto, from_toml, to_bytes, to_proto
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, KeySource, KillSwitch, Route, RoutingKey, Shadow, single


def split(first: int) -> Route:
    return Route(
        model="m",
        backends=(Backend(version="2", weight_basis_points=first), Backend(version="1", weight_basis_points=10_000 - first)),
    )


@given(st.binary(min_size=1, max_size=30))
def test_the_same_key_gets_the_same_version(key: bytes):
    assert split(3000).choose(key) == split(3000).choose(key)


@given(st.binary(min_size=1, max_size=30), st.integers(0, 10_000), st.integers(0, 10_000))
def test_who_was_in_the_smaller_share_stays_in_the_larger(key: bytes, one: int, other: int):
    smaller, larger = sorted((one, other))

    if split(smaller).choose(key) == "2":
        assert split(larger).choose(key) == "2"


def test_sequential_keys_are_spread_by_weight():
    chosen = Counter(split(1000).choose(b"user-%d" % n) for n in range(20_000))

    assert 1800 <= chosen["2"] <= 2200


def test_a_version_without_weight_gets_nothing():
    assert {split(0).choose(b"%d" % n) for n in range(1000)} == {"1"}


def test_two_models_do_not_pick_the_same_callers():
    other = Route(model="other", backends=split(1000).backends)
    both = sum(split(1000).choose(b"%d" % n) == other.choose(b"%d" % n) == "2" for n in range(10_000))

    assert both < 300


@pytest.mark.parametrize("weights", [(9999, 0), (10_000, 1)])
def test_weights_sum_to_the_whole(weights: tuple[int, int]):
    with pytest.raises(InvalidInput):
        Route(model="m", backends=tuple(Backend(version=str(n), weight_basis_points=weight) for n, weight in enumerate(weights)))


def test_a_weight_is_within_the_whole():
    with pytest.raises(InvalidInput):
        Backend(version="1", weight_basis_points=-1)


def test_one_version_takes_everything():
    assert single("m", "3").choose(b"") == "3"


def test_a_salt_of_ones_own_draws_other_callers():
    salted = Route(model="m", backends=split(1000).backends, routing_key=RoutingKey(source=KeySource.USER, salt="experiment-7"))
    both = sum(split(1000).choose(b"%d" % n) == salted.choose(b"%d" % n) == "2" for n in range(10_000))

    assert both < 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"shadow": Shadow(version="1", sample_basis_points=100)},
        {"fallback": (FallbackStep(kind=FallbackKind.VERSION, version="2"),) * 2},
        {"backends": (Backend(version="1", weight_basis_points=5000), Backend(version="1", weight_basis_points=5000))},
    ],
)
def test_a_route_that_leads_nowhere_is_refused(wrong: dict[str, Any]):
    with pytest.raises(InvalidInput):
        Route(**{"model": "m", "backends": single("m", "1").backends} | wrong)


def test_a_routing_key_names_a_parameter_exactly_when_it_needs_one():
    with pytest.raises(InvalidInput):
        RoutingKey(source=KeySource.PARAMETER)
    with pytest.raises(InvalidInput):
        RoutingKey(source=KeySource.TENANT, parameter="x")


@pytest.mark.parametrize("sample", [0, 10_001])
def test_a_shadow_samples_between_nothing_and_everything(sample: int):
    with pytest.raises(InvalidInput):
        Shadow(version="2", sample_basis_points=sample)


def test_a_kill_switch_is_for_all_or_for_one():
    route = Route(model="m", backends=split(1000).backends, kill_switches=(KillSwitch(version="2", tenant="acme"), KillSwitch(version="3")))

    assert [route.is_killed("2", "acme"), route.is_killed("2", "other"), route.is_killed("3", "other"), route.is_killed("1", "acme")] == [
        True,
        False,
        True,
        False,
    ]


def test_shares_and_aliases_come_from_the_models_configuration():
    declared = from_toml('[aliases]\nchampion = "v3.1"\n[traffic]\n"v3.1" = 7000\n"2" = 3000\n')
    wire = to_bytes(declared)

    assert declared_aliases(wire) == {"champion": "v3.1"}
    assert declared_backends(wire) == (Backend(version="2", weight_basis_points=3000), Backend(version="v3.1", weight_basis_points=7000))
    assert from_proto(to_proto(declared)) == declared


@pytest.mark.parametrize("raw", [b"\xff\xff", b""])
def test_a_configuration_that_declares_nothing_shares_nothing(raw: bytes):
    assert (declared_aliases(raw), declared_backends(raw)) == ({}, ())


IMPOSSIBLE = [
    ('[traffic]\n"1" = 9999', "traffic"),
    ('[traffic]\n"1" = "all"', "traffic.1"),
    ("[aliases]\nchampion = 1", "aliases.champion"),
    ('[aliases]\n"a/b" = "1"', "model_version"),
    ('[traffic]\n"1" = 11000\n"2" = -1000', "traffic"),
]


@pytest.mark.parametrize(("text", "where"), IMPOSSIBLE)
def test_impossible_shares_and_aliases_are_refused_by_name(text: str, where: str):
    with pytest.raises(InvalidInput) as refused:
        from_toml(text)

    assert refused.value.field == where
