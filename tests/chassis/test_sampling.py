"""What is traced."""

from __future__ import annotations

import random

import pytest

from services.chassis.sampling import Sampler, SamplingRule, rule_from

TRACE = "00-{:032x}-00f067aa0ba902b7-{}"


class NoIds(random.Random):
    def getrandbits(self, k: int) -> int:
        raise AssertionError("an unsampled call must not cost an id")


def sampler(ratio: float, *, is_parent_based: bool = True, seed: int = 1) -> Sampler:
    return Sampler(SamplingRule(root_ratio=ratio, is_parent_based=is_parent_based), random.Random(seed))


def test_a_call_that_nobody_traces_costs_no_id():
    unsampled = Sampler(SamplingRule(root_ratio=0.0), NoIds())

    for header in (None, "", "junk", TRACE.format(1, "00")):
        assert unsampled.should_sample(header) is None


def test_a_sampled_caller_is_followed_whatever_the_ratio():
    context = sampler(0.0).should_sample(TRACE.format(0xAB, "01"))

    assert context.trace_id == 0xAB
    assert context.parent_span_id == 0x00F067AA0BA902B7
    assert context.span_id != context.parent_span_id


def test_an_unsampled_caller_is_followed_whatever_the_ratio():
    assert sampler(1.0).should_sample(TRACE.format(0xAB, "00")) is None


def test_without_parents_the_ratio_alone_decides():
    assert sampler(1.0, is_parent_based=False).should_sample(TRACE.format(0xAB, "00")) is not None
    assert sampler(0.0, is_parent_based=False).should_sample(TRACE.format(0xAB, "01")) is None


def test_the_ratio_is_kept():
    tenth = sampler(0.1)

    kept = sum(tenth.should_sample(None) is not None for _ in range(10_000))

    assert 800 < kept < 1200


@pytest.mark.parametrize("ratio", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("together", [1, 7, 64])
def test_many_together_are_decided_as_one_by_one(ratio: float, together: int):
    singly, many = sampler(ratio), sampler(ratio)
    callers = [TRACE.format(n + 1, f"{n % 2:02}") if n % 11 == 0 and n // 64 % 2 else None for n in range(64 * 7 * 2)]
    expected = [(place, span) for place, header in enumerate(callers) if (span := singly.should_sample(header)) is not None]
    found = [
        (begin + place, span)
        for begin in range(0, len(callers), together)
        for place, span in many.sample_all(callers[begin : begin + together])
    ]

    assert found == expected


def test_all_services_keep_the_same_traces():
    header = [TRACE.format(random.Random(n).getrandbits(128), "00") for n in range(200)]
    first, second = (sampler(0.5, is_parent_based=False, seed=seed) for seed in (1, 2))

    assert [first.should_sample(h) is None for h in header] == [second.should_sample(h) is None for h in header]


@pytest.mark.parametrize(
    ("environment", "has_exporter", "rule"),
    [
        ({}, False, SamplingRule(root_ratio=0.0)),
        ({}, True, SamplingRule(root_ratio=1.0)),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.25"}, True, SamplingRule(root_ratio=0.25)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, False, SamplingRule(root_ratio=0.5)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, True, SamplingRule(root_ratio=1.0, is_parent_based=False)),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False, SamplingRule(root_ratio=1.0, is_parent_based=False)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, True, SamplingRule(root_ratio=0.0)),
    ],
)
def test_the_standard_environment_names_the_rule(environment, has_exporter: bool, rule: SamplingRule):
    assert rule_from(environment, has_exporter=has_exporter) == rule


@pytest.mark.parametrize(
    "environment", [{"OTEL_TRACES_SAMPLER": "jaeger_remote"}, *({"OTEL_TRACES_SAMPLER_ARG": t} for t in ("2", "-1", "x", "nan"))]
)
def test_a_rule_that_is_none_is_refused_by_name(environment):
    with pytest.raises(ValueError, match=next(iter(environment))):
        rule_from(environment, has_exporter=True)
