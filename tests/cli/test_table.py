"""Tables fit the terminal and nothing in them can forge lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.table import NARROWEST, _width, facts, table

ROWS = [["digits", "2", 1234, 0.01234], ["fraud", "v3.1", None, 12.0]]


def test_numbers_stand_to_the_right_and_what_is_not_known_is_a_dash():
    assert table(["model", "version", "rows", "ms"], ROWS) == (
        "MODEL   VERSION   ROWS      MS\n"
        "digits  2        1,234  0.0123\n"
        "fraud   v3.1         –      12"
    )  # fmt: skip


def test_the_widest_column_gives_way_when_the_terminal_is_narrow():
    shown = table(["model", "reason"], [["digits", "the file is not there, or it cannot be read"]], width=30)

    assert shown == "MODEL   REASON\ndigits  the file is not there…"


def test_without_a_terminal_nothing_is_cut():
    assert "x" * 500 in table(["a"], [["x" * 500]])


def test_without_a_terminal_a_long_cell_makes_no_other_line_long():
    head, long, short = table(["change", "why"], [["x" * 500, "b"], ["a", "c"]]).splitlines()

    assert (head, short) == (f"{'CHANGE':60}  WHY", f"{'a':60}  c")
    assert long == "x" * 500 + "  b"


def test_line_breaks_and_escapes_are_shown_as_such():
    assert table(["a"], [["one\ntwo\x1b[31m"]]) == "A\none\\ntwo\\x1b[31m"


def test_wide_characters_count_twice():
    assert table(["a", "b"], [["模型", "x"], ["m", "y"]]) == "A     B\n模型  x\nm     y"


def test_facts_stand_one_a_line():
    assert facts([("server", "penstock 0.1.0"), ("ready", True), ("workers", 2)]) == "server   penstock 0.1.0\nready    yes\nworkers  2"


@given(st.lists(st.lists(st.text() | st.integers() | st.none(), min_size=3, max_size=3), max_size=5), st.integers(30, 120))
def test_no_line_is_wider_than_the_terminal(rows: list[list[object]], width: int):
    lines = table(["a", "b", "c"], rows, width=width).split("\n")

    assert len(lines) == len(rows) + 1
    assert max(map(_width, lines)) <= max(width, 3 * NARROWEST + 4)
