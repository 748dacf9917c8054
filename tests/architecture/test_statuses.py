"""Every error has its row in the one status table, its place in the drawing, and a reason of its own."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.contracts import errors
from penstock.contracts.errors import ServingError


def descendants(kind: type[ServingError]) -> Iterator[type[ServingError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith(("penstock.", "services.")):
            yield child
            yield from descendants(child)


def without_status(kinds: Iterator[type[ServingError]]) -> list[str]:
    return [kind.__name__ for kind in kinds if kind not in errors.STATUS]


def test_every_error_has_a_status():
    assert without_status(descendants(ServingError)) == []


def test_an_error_without_a_status_is_found():
    stranger = type("Stranger", (ServingError,), {})

    assert without_status(iter([stranger])) == ["Stranger"]


def test_every_error_stands_in_the_drawing():
    drawing = set((errors.__doc__ or "").split())

    assert [kind.__name__ for kind in descendants(ServingError) if kind.__name__ not in drawing] == []


def test_every_error_has_a_reason_of_its_own():
    reasons = [kind.reason for kind in errors.STATUS]

    assert sorted(set(reasons)) == sorted(reasons)


def test_a_finer_reason_is_no_errors_own():
    assert set(errors.FINER_REASONS) & {kind.reason for kind in errors.STATUS} == set()


def test_every_reason_leads_back_to_its_error():
    assert [kind.__name__ for kind in errors.STATUS if type(errors.error_from(kind.reason, "")) is not kind] == []
