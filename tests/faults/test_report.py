"""The page says what was found, and nothing that was not."""

from __future__ import annotations

import pytest

from tests.faults import report
from tests.faults.__main__ import _named
from tests.faults.campaign import by_kind, totals

FIGURES = {"calls": 10, "answered": 9, "refused": 1, "seconds_to_live": 0.5}
LINES = {
    seed: {
        "schedule": {"faults": [{"kind": "kill"}, {"kind": "kill"}]},
        "violations": ["I2 wrong"] if seed == 2 else [],
        "figures": FIGURES,
    }
    for seed in range(3)
}


@pytest.mark.parametrize(
    ("test", "rows"),
    [
        ("test_p2_a_worker", ["P2"]),
        ("test_p3_n10_an_answer", ["P3", "N10"]),
        ("test_one_answer", []),
        ("test_p_2", []),
        ("test_e1_a_collector", ["E1"]),
        ("test_t9_an_older", ["T9"]),
        ("", []),
    ],
)
def test_a_row_is_read_from_the_name_of_its_test(test: str, rows: list[str]):
    assert _named(test) == rows


def test_a_failed_schedule_is_counted_and_takes_the_bound_away():
    assert totals(LINES)["failed"] == 1
    assert totals(LINES)["upper_bound_of_failure_rate"] == 1.0
    assert by_kind(LINES) == {"kill": {"schedules": 3, "failed": 1}}


def test_the_bound_of_no_failures_is_three_in_n():
    good = dict.fromkeys(range(300), LINES[0])

    assert totals(good)["upper_bound_of_failure_rate"] == 0.01


def test_the_page_names_failures_and_bugs_that_were_not_found():
    found = {
        "schedules": totals(LINES),
        "faults": by_kind(LINES),
        "worst": ["seed 2: I2 wrong"],
        "rows": {"P2": {"passed": 1, "failed": 0}},
        "figures": {"P2": {"p99_ms": 12.5}},
        "planted_bugs": {"drop": {"scenario": "burst", "found": False, "by": ""}},
    }
    page = report.page(report.stamped(found, "make faults"))

    assert "1 of 3 schedules broke an invariant:" in page
    assert "- seed 2: I2 wrong" in page
    assert "| P2 | 1 | 0 | p99_ms 12.5 |" in page
    assert "0 of 1 planted bugs were found" in page
    assert "**not found**" in page
