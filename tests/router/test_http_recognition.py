"""Heads that came before: what is recognised by them is what the parser would have read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.http_budget import BodyBudget
from services.router.http_head import HttpLimits
from services.router.http_reader import HttpReader, Refused

HEADS = [
    b"POST /v2/models/a/infer HTTP/1.1\r\nhost: a\r\n%scontent-type: application/json\r\n\r\n",
    b"POST /v2/models/b/infer?q HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\n%s\r\n",
    b"POST /v2/models/a/infer HTTP/1.1\r\nhost: a\r\nx-note: content-length: 3\r\n%s\r\n",
    b"\r\nPOST /c HTTP/1.1\r\nhost: a\r\n%s\r\n",
    b"POST /c HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n%s\r\n",
    b"POST /c HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\n%s\r\n",
]
LENGTHS = [b"content-length: %d\r\n", b"Content-Length:%d\r\n", b"CONTENT-LENGTH:  %d \r\n", b"content-length: 0%d\r\n"]
GET = b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
BODIES = [b"", b"a", b"bc", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 300]


def post(head, length, body):
    return HEADS[head].replace(b"%s", LENGTHS[length].replace(b"%d", b"%d" % len(body)))[:] + body


class Reads:
    """A reader and what it delivered."""

    def __init__(self, limits=None):
        self.requests = []
        self.budget = BodyBudget(1 << 20)
        self.reader = HttpReader(limits or HttpLimits(), self.budget, self.requests.append, lambda: None, lambda: 0.0)

    def seen(self):
        named = [{name: value for name, value in one.fields.items() if name != b"content-length"} for one in self.requests]
        return [(one.method, one.path, one.query, one.body, one.keep_alive, more) for one, more in zip(self.requests, named, strict=True)]


REQUESTS = st.builds(post, st.integers(0, len(HEADS) - 1), st.integers(0, len(LENGTHS) - 1), st.sampled_from(BODIES))


@given(st.data())
def test_pieces_of_any_size_hold_the_same_requests(data):
    chosen = data.draw(st.lists(REQUESTS, min_size=1, max_size=2))
    pieces = data.draw(st.lists(st.sampled_from([*chosen, *chosen, GET, CHUNKED]), min_size=2, max_size=8))
    cut = data.draw(st.lists(st.integers(1, 400), max_size=3))
    by_byte, by_request, by_cut = Reads(), Reads(), Reads()
    stream = b"".join(pieces)
    for number in range(len(stream)):
        by_byte.reader.feed(stream[number : number + 1])
    for piece in pieces:
        by_request.reader.feed(piece)
    at = 0
    for size in [*cut, len(stream)]:
        by_cut.reader.feed(stream[at : at + size])
        at += size

    assert by_byte.seen() == by_request.seen() == by_cut.seen()
    assert by_byte.budget.held_bytes == by_request.budget.held_bytes == sum(len(one.body) for one in by_byte.requests)


def test_a_request_with_a_known_head_is_told_by_it():
    reads = Reads()
    for body in (b"a", b"bcd", b""):
        reads.reader.feed(post(1, 0, body))

    assert [one.body for one in reads.requests] == [b"a", b"bcd", b""]
    assert [one.head is not None for one in reads.requests] == [False, True, True]
    assert reads.requests[1].fields[b"x-api-key"] == b"k"


@pytest.mark.parametrize("other", [post(1, 0, b"ab").replace(b": k", b": l"), post(1, 1, b"ab"), post(0, 0, b"ab"), GET])
def test_another_head_is_read_anew(other):
    reads = Reads()
    for piece in (post(1, 0, b"a"), other, post(1, 0, b"a")):
        reads.reader.feed(piece)

    assert [one.head is not None for one in reads.requests][:2] == [False, False]
    assert len(reads.requests) == 3


@pytest.mark.parametrize("head", range(3, len(HEADS)))
def test_heads_that_change_how_a_connection_is_read_are_read_every_time(head):
    reads = Reads()
    for _ in range(3):
        reads.reader.feed(post(head, 0, b"ab"))

    assert [one.head for one in reads.requests] == [None, None, None]


@pytest.mark.parametrize("length", [b"11", b"99999999999999999999", b"-1", b"+1", b"1 1", b"0x1", b"1,1", b""])
def test_a_length_beyond_the_limit_or_none_at_all_is_refused_behind_a_known_head_too(length):
    reads = Reads(HttpLimits(body_bytes=10))
    good = post(1, 0, b"abc")
    reads.reader.feed(good)
    reads.reader.feed(good)
    with pytest.raises(Refused):
        reads.reader.feed(good.replace(b"content-length: 3", b"content-length: " + length) + b"x" * 20)

    assert len(reads.requests) == 2
