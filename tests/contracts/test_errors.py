"""The error tree and its one table."""

from __future__ import annotations

import pytest

from penstock.contracts import errors
from penstock.contracts.errors import BY_REASON, STATUS, Internal, InvalidInput, ServingError, error_from, status_of
from penstock.contracts.reasons import CASES
from penstock.contracts.status import MESSAGE_LIMIT


def all_classes(kind: type[ServingError] = ServingError) -> set[type[ServingError]]:
    return {kind} | {one for child in kind.__subclasses__() for one in all_classes(child)}


def test_every_error_has_a_row_and_every_row_a_drawn_class():
    assert all_classes() - {ServingError} == set(STATUS)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in STATUS)


def test_reasons_name_one_class_each():
    reasons = [kind.reason for kind in STATUS]

    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("reason", sorted(BY_REASON))
def test_an_error_survives_the_link(reason: str):
    rebuilt = error_from(reason, "text", retry_after_seconds=1.5)

    assert rebuilt.reason == reason
    assert type(rebuilt) is BY_REASON[reason]
    assert rebuilt.status == status_of(BY_REASON[reason])
    assert rebuilt.retry_after_seconds == 1.5


def test_an_unknown_reason_is_our_fault():
    assert type(error_from("NEWER_THAN_US", "x")) is Internal


def test_messages_are_short_and_printable():
    error = InvalidInput("a\r\nb\x1b[31m" + "x" * 10_000)

    assert len(error.message) <= MESSAGE_LIMIT
    assert error.message.isprintable()


@pytest.mark.parametrize("kind", sorted(STATUS, key=lambda kind: kind.__name__))
def test_bad_input_is_never_our_fault_and_the_reverse(kind: type[ServingError]):
    status = STATUS[kind]

    if issubclass(kind, InvalidInput):
        assert status.http in {400, 422}
    if issubclass(kind, Internal):
        assert not status.is_retryable


def test_every_finer_reason_belongs_to_a_class_that_exists():
    assert [name for name in CASES if name not in {kind.__name__ for kind in STATUS}] == []


def test_no_finer_reason_belongs_to_two_classes():
    words = [word for reasons in CASES.values() for word in reasons.split()]

    assert sorted(set(words)) == sorted(words)
