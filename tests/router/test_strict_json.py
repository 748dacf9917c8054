import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import MalformedBody, RequestTooLarge
from services.router import strict_json
from services.router.strict_json import DEPTH_LIMIT, OBJECTS_LIMIT, loads, loads_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(JSON)
def test_what_json_writes_is_read_back(value):
    assert loads(json.dumps(value).encode()) == value


@given(JSON, st.text(), st.integers(0, 3))
def test_a_repeated_key_is_found_at_any_depth_and_among_any_neighbours(value, key, depth):
    name = json.dumps(key)
    body = f'{{{name}: {json.dumps(value)}, "other{key[:1].isalnum() and key[:1]}": ":{{[", {name}: 1}}'
    for _ in range(depth):
        body = f'[{{"outer": {body}}}, "a:b"]'

    with pytest.raises(MalformedBody, match="repeats a key"):
        loads(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"nope", b"{", b'{"a":}', b"{} x", b"{}{}", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32"),
        b"NaN", b"[Infinity]", b"[-Infinity]", b"1e400", b"-1e400", b"1" * 5000, b"01", b"1.", b"+1", b"'a'", b"[1,]", b"{'a':1}",
        rb'"\ud800"', rb'"\udc00\ud800"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xff"', b'"\x01"', b"// c\n1", b"\x00",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(body):
    with pytest.raises(MalformedBody) as refused:
        loads(body)

    assert refused.value.reason == "BAD_JSON"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_nesting_is_taken_up_to_the_limit_and_refused_beyond(opening, closing):
    levels = opening.count(b"[") + opening.count(b"{")
    at_limit = opening * (DEPTH_LIMIT // levels) + b"1" + closing * (DEPTH_LIMIT // levels)
    assert loads(at_limit) is not None

    with pytest.raises(MalformedBody, match="deeper"):
        loads(b"[" + at_limit + b"]")
    with pytest.raises(MalformedBody):
        loads(opening * 250_000 + closing * 250_000)


def test_brackets_and_colons_inside_strings_are_only_text():
    text = "][" * 100 + "{}:" * 100 + '"\\'

    assert loads(json.dumps({"a": text, "b": [text] * 100}).encode()) == {"a": text, "b": [text] * 100}


def test_strings_cannot_hide_how_deep_a_document_is():
    deep = b"[" * 70 + b"1" + b"]" * 70
    disguised = b"[" + b'"]",' * 200 + deep + b"]"

    with pytest.raises(MalformedBody, match="deeper"):
        loads(disguised)


def test_many_rows_are_wide_and_not_deep():
    rows = [[1.5] * 4] * 5000

    assert loads(json.dumps(rows).encode()) == rows


def test_too_many_values_are_refused_before_they_are_parsed(monkeypatch):
    body = b"[" + b"1," * strict_json.VALUES_LIMIT + b"1,1]"
    started_at = time.perf_counter()
    with pytest.raises(RequestTooLarge, match="binary form"):
        loads(body)

    assert time.perf_counter() - started_at < 1.0


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", "an array"), (b'"a"', "a string"), (b"null", "null"), (b"1", "a number"), (b"true", "a boolean")]
)
def test_a_body_that_is_no_object_is_named(body, kind):
    with pytest.raises(MalformedBody, match=kind):
        loads_object(body)


def test_integers_keep_all_64_bits():
    assert loads(b"[18446744073709551615,-9223372036854775808]") == [2**64 - 1, -(2**63)]


def test_more_objects_than_the_limit_are_refused_and_braces_in_texts_are_no_objects():
    with pytest.raises(RequestTooLarge, match="objects"):
        loads(b"[" + b"{}," * OBJECTS_LIMIT + b"{}]")

    assert len(loads(b"[" + b"{}," * (OBJECTS_LIMIT - 1) + b"{}]")) == OBJECTS_LIMIT
    assert loads(b'["' + b"{" * (OBJECTS_LIMIT + 1) * 2 + b'"]')
