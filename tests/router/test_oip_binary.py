import pytest

from penstock.contracts.errors import InvalidInput
from services.router.oip_binary import cut, split


def test_a_body_without_the_header_is_json_from_end_to_end():
    assert split(b'{"a":1}', None) == (b'{"a":1}', None)


def test_the_header_says_where_the_tensors_begin():
    document, tail = split(b"{}abcd", b"2")

    assert document == b"{}"
    assert tail is not None
    assert [bytes(one) for one in cut(tail, [1, 0, 3])] == [b"a", b"", b"bcd"]


@pytest.mark.parametrize(
    "length", [b"99999999999", b"999999999999999999999", b"-1", b"abc", b"", b"0", b"7", b"1.0", b"0x2", b"+2", "²".encode()]
)
def test_lengths_that_no_body_can_have_are_refused(length):
    with pytest.raises(InvalidInput) as refused:
        split(b"{}abcd", length)

    assert refused.value.reason == "BAD_HEADER"


@pytest.mark.parametrize("sizes", [[], [3], [5], [2, 3], [4, 4]])
def test_announced_bytes_are_exactly_the_sent_ones(sizes):
    _, tail = split(b"{}abcd", b"2")
    with pytest.raises(InvalidInput) as refused:
        cut(tail, sizes)

    assert refused.value.reason == "BYTE_COUNT"


def test_tensors_without_the_header_are_refused_as_such():
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length"):
        cut(None, [4])
