"""Rates and latencies out of two looks at the metrics."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics

from penstock.cli.metrics_text import Sample, samples_of
from penstock.cli.rates import Look, Rate, between, look_at, quantile
from services.chassis.metrics import CounterFamily, HistogramFamily, registry
from tests.cli.metrics_far import prometheus_text


def requests(value: float, model: str = "digits", code: str = "OK", tenant: str = "a") -> Sample:
    return Sample("penstock_requests_total", {"model": model, "version": "1", "tenant": tenant, "code": code}, value)


def bucket(bound: float, value: float, model: str = "digits") -> Sample:
    return Sample("penstock_request_duration_seconds_bucket", {"model": model, "version": "1", "le": str(bound)}, value)


def test_what_the_servers_show_is_read_back():
    outcomes = CounterFamily("penstock_requests", "Requests.", ("model", "version", "tenant", "code"))
    outcomes.of("digits", "1", 'a "tenant"\n\\', "OK").value = 3
    latency = HistogramFamily("penstock_request_duration_seconds", "Latency.", ("model", "version"))
    latency.of("digits", "1").add_traced(1000, {"trace_id": "ab"}, 1.0)
    shown = registry(outcomes, latency)
    plain = list(samples_of(prometheus_text(shown)))
    open_metrics = list(samples_of(generate_open_metrics(shown).decode()))

    assert Sample("penstock_requests_total", {"model": "digits", "version": "1", "tenant": 'a "tenant"\n\\', "code": "OK"}, 3.0) in plain
    assert plain == open_metrics
    assert look_at(plain).buckets["digits", "1"][math.inf] == 1


@pytest.mark.parametrize(
    ("line", "samples"),
    [
        ("up 1", [Sample("up", {}, 1.0)]),
        ('up{a="b"} 1 1700000000', [Sample("up", {"a": "b"}, 1.0)]),
        ('up{a="x}y",b=","} NaN # {trace_id="1"} 2', None),
        ('up{a="b",} +Inf', [Sample("up", {"a": "b"}, math.inf)]),
        ("# HELP up 1", []),
        ("up x", []),
        ("", []),
        ("<html>", []),
    ],
)  # fmt: skip
def test_lines_that_are_no_samples_are_passed_over(line: str, samples: list[Sample] | None):
    found = list(samples_of(line))

    if samples is None:
        assert found[0].labels == {"a": "x}y", "b": ","}
        assert math.isnan(found[0].value)
    else:
        assert found == samples


def test_requests_a_second_are_what_was_added_by_tenants_together():
    earlier = look_at([requests(10), requests(5, tenant="b"), requests(1, code="QUOTA")])
    later = look_at([requests(30), requests(15, tenant="b"), requests(5, code="QUOTA"), requests(7, model="fraud")])
    rates = between(earlier, later, 2.0)

    assert (rates["digits", "1"].requests_per_second, rates["digits", "1"].failures_per_second) == (15.0, 2.0)
    assert rates["fraud", "1"].requests_per_second == 3.5
    assert rates["", ""].requests_per_second == 18.5
    assert (later.answered, later.failed) == (52, 5)


def test_a_server_that_was_started_again_counts_from_nothing():
    assert between(look_at([requests(1000)]), look_at([requests(20)]), 2.0)["digits", "1"].requests_per_second == 10.0


def test_requests_refused_before_their_model_was_known_count_for_everything_only():
    rates = between(Look(), look_at([Sample("penstock_requests_total", {"model": "", "version": "", "code": "MALFORMED"}, 4.0)]), 2.0)

    assert rates == {("", ""): Rate(failures_per_second=2.0)}


def test_latency_is_that_of_the_interval():
    slow = [bucket(0.001, 0), bucket(0.01, 0), bucket(0.1, 100), bucket(math.inf, 100)]
    then_fast = [bucket(0.001, 0), bucket(0.01, 100), bucket(0.1, 200), bucket(math.inf, 200)]
    rate = between(look_at(slow), look_at(then_fast), 1.0)["digits", "1"]

    assert rate.p50_ms == pytest.approx(5.5)
    assert rate.p99_ms == pytest.approx(9.91)


def test_nothing_new_has_no_latency():
    look = look_at([bucket(0.1, 5), bucket(math.inf, 5)])

    assert between(look, look, 1.0)["digits", "1"] == Rate()


def test_a_quantile_above_the_last_bound_is_that_bound():
    assert quantile({1.0: 1, 2.0: 1, math.inf: 100}, 0.99) == 2.0
    assert quantile({}, 0.5) is None


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20).filter(any), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts: list[int], share: float):
    cumulative = [sum(counts[: index + 1]) for index in range(len(counts))]
    buckets = {float(index + 1): float(count) for index, count in enumerate(cumulative)}
    found = quantile(buckets, share)
    index = next(index for index, count in enumerate(cumulative) if count >= share * cumulative[-1])

    assert found is not None
    assert index - 1e-9 <= found <= index + 1 + 1e-9


def test_workers_are_known_by_their_links_and_by_their_processes():
    look = look_at([
        Sample("penstock_link_up", {"worker": "gpu-3"}, 1.0),
        Sample("penstock_link_up", {"worker": "worker-0"}, 1.0),
        Sample("penstock_link_rows_in_flight", {"worker": "worker-0"}, 7.0),
        Sample("process_resident_memory_bytes", {"process": "worker-0"}, 1e6),
        Sample("process_resident_memory_bytes", {"process": "router-0"}, 1e6),
    ])  # fmt: skip

    assert look.workers == {"gpu-3": {"links_up": 1.0}, "worker-0": {"links_up": 1.0, "rows_in_flight": 7.0, "memory_bytes": 1e6}}
