"""JSON and YAML hold what was to be written, whoever reads them."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.output import Form, as_json, as_json_line, as_yaml, show

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
tricky = st.sampled_from(["yes", "No", "null", "~", "1e3", "0x1f", "12:30", "- a", "a: b", "#", "2026-01-01"])
scalars = st.none() | st.booleans() | numbers | st.text() | tricky


def nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    inner = lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=8), some, max_size=4)
    return st.recursive(leaves, inner, max_leaves=20)


@given(nested(scalars))
def test_yaml_reads_back_as_what_was_written(document: object):
    assert yaml.safe_load(as_yaml(document)) == document


@given(st.text())
def test_every_text_is_a_text_in_yaml(text: str):
    assert yaml.safe_load(as_yaml({text: [text, {text: text}]})) == {text: [text, {text: text}]}


def test_yaml_keeps_what_is_not_finite():
    read = yaml.safe_load(as_yaml([math.nan, math.inf, -math.inf]))

    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf]


@given(nested(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_json_reads_back_as_what_was_written(document: object):
    assert json.loads(as_json(document)) == document
    assert json.loads(as_json_line(document)) == document


def test_json_writes_null_for_what_it_does_not_know():
    assert json.loads(as_json({"a": [1.5, math.nan, [math.inf]]})) == {"a": [1.5, None, [None]]}


def test_yaml_is_written_in_blocks_and_vectors_in_brackets():
    document = {"model": "digits", "versions": ["1", "2"], "rows": [{"label": 7, "scores": [0.5, 1e-5]}, {}], "none": [], "text": "a: b"}

    assert as_yaml(document) == (
        'model: digits\nversions:\n  - "1"\n  - "2"\nrows:\n  - label: 7\n    scores: [0.5, 1.0e-05]\n  - {}\nnone: []\ntext: "a: b"\n'
    )


def test_json_keeps_what_is_short_and_vectors_on_one_line():
    vector = [1.5] * 50

    assert as_json({"rows": [{"scores": [1, 2.5]}, {"scores": vector}], "none": {}}) == (
        '{\n  "rows": [\n    {"scores": [1, 2.5]},\n    {\n      "scores": ' + json.dumps(vector) + '\n    }\n  ],\n  "none": {}\n}'
    )


@pytest.mark.parametrize(("form", "expected"), [(Form.TABLE, "A TABLE\n"), (Form.JSON, '{\n  "a": 1\n}\n'), (Form.YAML, "a: 1\n")])
def test_each_form_is_printed_with_one_line_end(form: Form, expected: str, capsys: pytest.CaptureFixture[str]):
    show({"a": 1}, form, lambda: "A TABLE")

    assert capsys.readouterr().out == expected
