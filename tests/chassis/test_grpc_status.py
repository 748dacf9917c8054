import pytest
from google.rpc import error_details_pb2, status_pb2

from penstock.contracts.errors import InvalidInput, QuotaExceeded, ServingError
from services.chassis.grpc_status import trailers_of, trailers_without_pushback


def details(error: ServingError) -> status_pb2.Status:
    return status_pb2.Status.FromString(dict(trailers_of(error))["grpc-status-details-bin"])


def test_a_refusal_carries_its_reason_and_domain():
    error = InvalidInput("no such input", reason="UNKNOWN_INPUT")
    info = error_details_pb2.ErrorInfo()
    assert details(error).details[0].Unpack(info)

    assert (info.reason, info.domain) == ("UNKNOWN_INPUT", "penstock")
    assert dict(trailers_of(error))["penstock-reason"] == "UNKNOWN_INPUT"
    assert (details(error).code, details(error).message) == (3, "no such input")


def test_the_wrong_field_is_named_in_structured_form():
    violations = error_details_pb2.BadRequest()
    assert details(InvalidInput("too long", field="x")).details[1].Unpack(violations)

    assert [(one.field, one.description) for one in violations.field_violations] == [("x", "too long")]


@pytest.mark.parametrize(("seconds", "milliseconds"), [(1.5, 1500), (0.0001, 1), (0.0, 1), (0.0501, 51), (120.0, 120_000)])
def test_when_to_come_back_is_told_three_times_and_never_too_early(seconds: float, milliseconds: int):
    error = QuotaExceeded("later", retry_after_seconds=seconds)
    retry = error_details_pb2.RetryInfo()
    assert details(error).details[-1].Unpack(retry)

    assert retry.retry_delay.ToMilliseconds() == milliseconds
    assert dict(trailers_of(error))["grpc-retry-pushback-ms"] == str(milliseconds)
    assert dict(trailers_of(error))["penstock-retry-after-ms"] == str(milliseconds)


def test_without_advice_nothing_is_said_about_coming_back():
    assert {name for name, _ in trailers_of(QuotaExceeded("later"))} == {"penstock-reason", "grpc-status-details-bin"}


def test_the_native_front_is_given_no_name_that_it_refuses():
    names = {name for name, _ in trailers_without_pushback(QuotaExceeded("later", retry_after_seconds=1))}

    assert {name for name in names if name.startswith("grpc-")} == {"grpc-status-details-bin"}


def test_equal_refusals_share_their_trailers_and_different_ones_do_not():
    assert trailers_without_pushback(InvalidInput("a")) is trailers_without_pushback(InvalidInput("a"))
    assert trailers_without_pushback(InvalidInput("a")) != trailers_without_pushback(InvalidInput("b"))
