from hypothesis import given
from hypothesis import strategies as st

from services.router.front import Wave
from services.router.wave_columns import cut, join
from tests.router.front_cases import check_columns


def wave(call_ids: list[int], cancelled: list[int] | None = None) -> Wave:
    return Wave(
        call_ids=list(call_ids),
        payloads=[b"%d" % one for one in call_ids],
        keys=[f"k{one}" for one in call_ids],
        deadlines=[float(one) for one in call_ids],
        traces=[f"t{one}" for one in call_ids],
        cancelled=list(cancelled or []),
    )


@given(st.lists(st.integers(0, 1000), unique=True), st.integers(0, 20), st.lists(st.integers(0, 1000)))
def test_cutting_and_joining_again_gives_the_same_wave_and_no_cancellation_comes_before_its_call(
    call_ids: list[int], limit: int, cancelled: list[int]
):
    first = wave(call_ids, cancelled)
    rest = cut(first, limit)
    check_columns(first)
    check_columns(rest)
    assert first.call_ids == call_ids[:limit]
    assert not set(first.cancelled) & set(rest.call_ids)
    assert sorted(first.cancelled + rest.cancelled) == sorted(cancelled)
    join(first, rest)
    first.cancelled.sort()

    assert first == wave(call_ids, sorted(cancelled))
