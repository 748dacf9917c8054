import pytest

from penstock.contracts.errors import InvalidInput
from services.router.front import Affinity
from services.router.grpc_metadata import REQUEST_ID_LIMIT, first_value, read_metadata

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ((), (None, None)),
        ((("user-agent", "x"), ("x-api-key", "k"), ("traceparent", TRACE)), ("k", TRACE)),
        ((("authorization", "Bearer abc"),), ("abc", None)),
        ((("authorization", "bearer   abc "),), ("abc", None)),
        ((("authorization", "Basic abc"),), (None, None)),
        ((("authorization", "Bearer "),), (None, None)),
        ((("authorization", "Bearer"),), (None, None)),
        ((("authorization", "Bearer b"), ("x-api-key", "k")), ("k", None)),
        ((("x-api-key", "k1"), ("x-api-key", "k2"), ("traceparent", "a"), ("traceparent", "b")), ("k1", "a")),
        ((("authorization", "Bearer b1"), ("authorization", "Bearer b2")), ("b1", None)),
        ((("x-api-key", b"bytes"), ("x-tenant-id", "forged")), (None, None)),
        ((("x-request-id", "r" * REQUEST_ID_LIMIT),), (None, None)),
    ],
)
def test_key_and_trace_are_read_and_the_first_of_repeated_names_counts(
    metadata: tuple[tuple[str, str | bytes], ...], expected: tuple[str | None, str | None]
):
    assert read_metadata(metadata) == (*expected, None)


def test_whom_a_call_is_for_is_read():
    assert read_metadata((("x-user-id", "u"), ("x-user-id", "other"))) == (None, None, Affinity("u", None))
    assert read_metadata((("x-session-affinity", "s"),)) == (None, None, Affinity(None, "s"))


@pytest.mark.parametrize("value", ["x" * (REQUEST_ID_LIMIT + 1), "a\r\nb", "\x1b[31mred", "tab\t"])
def test_a_request_id_that_could_forge_a_log_line_is_refused_without_being_repeated(value: str):
    with pytest.raises(InvalidInput) as refused:
        read_metadata((("x-request-id", value),))

    assert refused.value.reason == "BAD_ID"
    assert value not in refused.value.message


def test_the_first_value_of_a_name_counts():
    assert first_value((("a", "1"), ("b", "2"), ("b", "3")), "b") == "2"
    assert first_value((("a-bin", b"1"),), "a-bin") is None
