"""What counts as an answer of a version that was rolled back."""

from __future__ import annotations

from bench.figures import Figures
from bench.mesh_load import Told
from bench.rollback import Change, note

CHANGE = Change(kind="rollback", old="v2", asked_at=10.0, confirmed_at=10.5, confirmations=4)


def told(sent_at: float, answered_at: float, version: str, value: float | None = None) -> Told:
    return Told(router=0, sent_at=sent_at, answered_at=answered_at, version=version, value=value or {"v1": 2.0, "v2": 3.0}[version])


def test_a_change_lasts_until_the_last_answer_by_the_old_version():
    answers = [told(9.0, 9.1, "v2"), told(10.0, 10.2, "v2"), told(10.1, 10.4, "v1"), told(11.9, 12.0, "v2")]

    assert round(CHANGE.seconds(answers, until=11.0), 6) == 0.2
    assert CHANGE.seconds([], until=11.0) == 0.0


def test_only_a_call_that_was_sent_after_the_confirmation_counts_as_after_it():
    answers = [told(10.4, 10.6, "v2"), told(10.6, 10.7, "v2"), told(10.6, 10.7, "v1")]

    assert CHANGE.after(answers, until=11.0) == 1


def test_failures_wrong_answers_and_changes_that_not_all_confirmed_are_counted():
    figures = Figures()
    failed = Told(router=1, sent_at=10.0, answered_at=10.1, failure="UNAVAILABLE: gone")
    flip = Change(kind="flip", old="v1", asked_at=1.0, confirmed_at=1.1, confirmations=3)

    note(figures, [flip, CHANGE], [failed, told(10.0, 10.1, "v1", 7.0)], routers=4)

    counted = {name: figures.by_name[f"rollback.{name}"].median for name in ("failed_requests", "wrong_answers", "unconfirmed")}
    assert counted == {"failed_requests": 1, "wrong_answers": 1, "unconfirmed": 1}
