"""Routes made quick: who gets which version, whatever the weights, pins and kills are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import Unavailable
from penstock.contracts.routes import WHOLE, Backend, KillSwitch, Route, Shadow
from services.mesh.plan import Plan, Reason

KEYS = st.binary(min_size=1, max_size=24)
TENANTS = st.sampled_from(["a", "b", "c"])


def route(*weights: int, **fields: object) -> Route:
    backends = tuple(Backend(version=str(number), weight_basis_points=weight) for number, weight in enumerate(weights, start=1))
    return Route(model="m", backends=backends, **fields)  # type: ignore[arg-type]


@st.composite
def weights(draw: st.DrawFn) -> tuple[int, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, WHOLE), min_size=1, max_size=4)))
    return tuple(after - before for before, after in zip([0, *cuts], [*cuts, WHOLE], strict=True))


@st.composite
def kills(draw: st.DrawFn) -> tuple[KillSwitch, ...]:
    versions = draw(st.lists(st.sampled_from(["1", "2", "3"]), max_size=3))
    return tuple(KillSwitch(version=version, tenant=draw(st.sampled_from(["", "a", "b"]))) for version in versions)


@given(weights(), kills(), KEYS, TENANTS)
def test_a_killed_version_is_never_chosen_and_every_request_has_one_or_a_refusal(shares, switches, key, tenant):
    plan = Plan(route(*shares, kill_switches=switches))

    if all(plan.is_killed(one.version, tenant) for one in plan.route.backends if one.weight_basis_points):
        with pytest.raises(Unavailable, match="switched off"):
            plan.choose(tenant, key)
        return
    version, reason = plan.choose(tenant, key)

    assert reason is Reason.WEIGHT
    assert not plan.is_killed(version, tenant)
    assert plan.by_version[version].weight_basis_points > 0


@given(KEYS)
def test_one_percent_stays_when_it_becomes_five(key):
    first, later = Plan(route(100, 9900)), Plan(route(500, 9500))

    if first.choose("a", key)[0] == "1":
        assert later.choose("a", key)[0] == "1"


@given(KEYS, TENANTS)
def test_a_kill_moves_only_those_whom_it_must(key, tenant):
    before = Plan(route(3000, 3000, 4000))
    after = Plan(route(3000, 3000, 4000, kill_switches=(KillSwitch(version="2"),)))

    version, _ = before.choose(tenant, key)

    assert after.choose(tenant, key)[0] == version or version == "2"


def test_shares_are_kept_and_what_a_kill_frees_is_shared_by_weight():
    plan = Plan(route(1000, 3000, 6000, kill_switches=(KillSwitch(version="3"),)))

    chosen = [plan.choose("a", str(number).encode())[0] for number in range(40_000)]

    assert "3" not in chosen
    assert chosen.count("1") == pytest.approx(10_000, rel=0.05)


def test_a_pin_goes_before_the_weights_and_after_a_kill():
    pinned = Plan(route(10_000, 0, pins={"a": "2"}))
    killed = Plan(route(10_000, 0, pins={"a": "2"}, kill_switches=(KillSwitch(version="2", tenant="a"),)))

    assert pinned.choose("a", b"k") == ("2", Reason.PIN)
    assert pinned.choose("b", b"k") == ("1", Reason.WEIGHT)
    assert killed.choose("a", b"k") == ("1", Reason.WEIGHT)


def test_a_frozen_model_answers_nobody_by_no_name():
    plan = Plan(route(10_000, frozen=True))

    for ask in (lambda: plan.choose("a", b"k"), lambda: plan.named("1", "a")):
        with pytest.raises(Unavailable) as refused:
            ask()
        assert refused.value.reason == "MODEL_FROZEN"


def test_names_stand_for_versions_and_a_kill_stands_above_names():
    plan = Plan(route(9000, 1000, aliases={"stable": "1"}, kill_switches=(KillSwitch(version="2", tenant="a"),)))

    assert plan.named("stable", "a") == "1"
    assert plan.named("latest", "b") == "2"
    assert plan.named("7", "a") == "7"
    with pytest.raises(Unavailable):
        plan.named("2", "a")


def test_only_a_route_without_conditions_is_the_same_for_everybody():
    assert Plan(route(10_000)).is_fixed("")
    assert Plan(route(0, 10_000)).only == "2"
    for conditional in (
        route(5000, 5000),
        route(10_000, pins={"a": "1"}),
        route(10_000, kill_switches=(KillSwitch(version="9"),)),
        route(10_000, frozen=True),
        route(10_000, shadow=Shadow(version="9", sample_basis_points=100)),
    ):
        assert not Plan(conditional).is_fixed("")


def test_the_shadow_samples_the_same_keys_and_about_as_many_as_asked():
    plan = Plan(route(10_000, shadow=Shadow(version="9", sample_basis_points=1000)))
    keys = [str(number).encode() for number in range(20_000)]

    sampled = [key for key in keys if plan.is_shadowed(key)]

    assert len(sampled) == pytest.approx(2000, rel=0.1)
    assert sampled == [key for key in keys if plan.is_shadowed(key)]
