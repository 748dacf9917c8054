"""Families as prometheus_client shows them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.chassis.metrics import OTHER, Asked, CounterFamily, GaugeFamily, HistogramFamily, Merge, registry
from services.chassis.triton_metrics import FailureReason, TritonMetrics


def text(*collectors) -> list[str]:
    return generate_latest(registry(*collectors)).decode().splitlines()


def openmetrics(*collectors) -> str:
    return generate_openmetrics(registry(*collectors)).decode()


def test_a_counter_has_total_once():
    requests = CounterFamily("penstock_requests", "Requests.", ("model", "code"))
    requests.of("digits", "OK").value += 3
    requests.of("digits", "OK").value += 1

    assert 'penstock_requests_total{code="OK",model="digits"} 4.0' in text(requests)
    assert "# TYPE penstock_requests_total counter" in text(requests)
    assert 'penstock_requests_total{code="OK",model="digits"} 4' in openmetrics(requests)


def test_a_name_that_has_total_already_keeps_one():
    assert "penstock_requests_total 0.0" in text(CounterFamilyOfNothing("penstock_requests_total"))


def CounterFamilyOfNothing(name: str) -> CounterFamily:
    family = CounterFamily(name, "Requests.")
    family.of()
    return family


def test_no_created_series_doubles_the_scrape():
    family = HistogramFamily("penstock_seconds", "Time.")
    family.of().add(1)

    assert not [line for line in text(family) if "_created" in line]


def test_a_histogram_shows_seconds_counted_in_microseconds():
    latency = HistogramFamily("penstock_request_duration_seconds", "Time.", ("model",))
    latency.of("digits").add(1_000)
    latency.of("digits").add(200_000_000)

    shown = text(latency)
    assert 'penstock_request_duration_seconds_bucket{le="0.000768",model="digits"} 0.0' in shown
    assert 'penstock_request_duration_seconds_bucket{le="0.001024",model="digits"} 1.0' in shown
    assert 'penstock_request_duration_seconds_bucket{le="+Inf",model="digits"} 2.0' in shown
    assert 'penstock_request_duration_seconds_count{model="digits"} 2.0' in shown
    assert 'penstock_request_duration_seconds_sum{model="digits"} 200.001' in shown


def test_exemplars_are_shown_in_openmetrics_only_and_can_be_read_back():
    latency = HistogramFamily("penstock_seconds", "Time.")
    latency.of().add_traced(1_000, {"trace_id": "ab" * 16}, 1700000000.0)

    [family] = [family for family in text_string_to_metric_families(openmetrics(latency)) if family.name == "penstock_seconds"]
    [exemplar] = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert exemplar.labels == {"trace_id": "ab" * 16}
    assert exemplar.value == 0.001
    assert "abab" not in "".join(text(latency))


def test_label_sets_over_the_limit_are_counted_as_other():
    requests = CounterFamily("penstock_requests", "Requests.", ("tenant",), limit=2)
    for tenant in "abcd":
        requests.of(tenant).value += 1

    assert requests.of(OTHER).value == 2
    assert len([line for line in text(requests) if line.startswith("penstock_requests_total{")]) == 3


def test_a_wrong_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="penstock_requests has the labels"):
        CounterFamily("penstock_requests", "Requests.", ("tenant",)).of()


def test_forgotten_series_are_gone():
    depth = GaugeFamily("penstock_queue_depth", "Waiting.", ("model", "version"))
    depth.of("digits", "1").value = 1
    depth.of("digits", "2").value = 2
    depth.of("trees", "1").value = 3

    depth.forget("digits")

    assert [line for line in text(depth) if not line.startswith("#")] == ['penstock_queue_depth{model="trees",version="1"} 3.0']


def test_a_value_may_be_asked_for_when_it_is_shown():
    numbers = iter([1, 2])
    asked = Asked("penstock_links", "Links.", lambda: next(numbers))
    counted = Asked("penstock_drops", "Drops.", lambda: 7, is_counter=True)

    shown = registry(asked, counted)

    assert b"penstock_links 1.0" in generate_latest(shown)
    assert b"penstock_links 2.0\n" not in generate_latest(registry(counted))
    assert b"penstock_drops_total 7.0" in generate_latest(registry(counted))


def test_a_gauge_says_in_its_help_how_it_is_merged():
    for merge in Merge:
        [metric] = GaugeFamily("penstock_depth", "Waiting.", merge=merge).collect()
        assert Merge.of(metric.documentation) is merge


def triton_lines() -> list[str]:
    triton = TritonMetrics()
    counts = triton.of("digits", "2")
    counts.request_success += 5
    counts.inference_count += 8
    counts.exec_count += 2
    counts.queue_microseconds += 120
    counts.fail(FailureReason.CANCELED)
    counts.fail(FailureReason.BACKEND)
    counts.pending = 4
    return text(triton)


@pytest.mark.parametrize(
    "line",
    [
        'nv_inference_request_success{model="digits",version="2"} 5.0',
        'nv_inference_count{model="digits",version="2"} 8.0',
        'nv_inference_exec_count{model="digits",version="2"} 2.0',
        'nv_inference_request_failure{model="digits",reason="CANCELED",version="2"} 1.0',
        'nv_inference_request_failure{model="digits",reason="BACKEND",version="2"} 1.0',
        'nv_inference_request_failure{model="digits",reason="REJECTED",version="2"} 0.0',
        'nv_inference_request_failure{model="digits",reason="OTHER",version="2"} 0.0',
        'nv_inference_queue_duration_us{model="digits",version="2"} 120.0',
        'nv_inference_pending_request_count{model="digits",version="2"} 4.0',
        'nv_inference_compute_infer_duration_us{model="digits",version="2"} 0.0',
        'nv_cache_num_hits_per_model{model="digits",version="2"} 0.0',
    ],
)
def test_triton_series_have_exactly_tritons_names(line: str):
    assert line in triton_lines()


def test_triton_series_survive_openmetrics_too():
    triton = TritonMetrics()
    triton.of("digits", "2").inference_count += 8
    families = {family.name: family for family in text_string_to_metric_families(openmetrics(triton))}

    assert families["nv_inference_count"].samples[0].value == 8
    assert "_total" not in openmetrics(triton)


def test_an_unloaded_version_shows_nothing():
    triton = TritonMetrics()
    triton.of("digits", "1")
    triton.forget("digits", "1")

    assert not [line for line in text(triton) if "digits" in line]


def test_a_registry_shows_only_what_it_is_given():
    assert generate_latest(registry()) == generate_latest(CollectorRegistry())
