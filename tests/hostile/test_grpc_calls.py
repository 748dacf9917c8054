"""Hostile gRPC calls: the right code and reason, the processes as before, the next good request served, memory flat.

A row's name is its number in the gRPC matrix of the reliability goals. Where the engines of gRPC differ, the row says how: pygrpc-native
0.5.0 has no limit of its own for messages, so they are refused by us, after they were read, and penstock-front says the same by their
prefix; metadata over the limit both refuse by HTTP status 431, which clients see as UNKNOWN, and far over it by ending the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from services.router.grpc_engine import Engine
from tests.hostile.stand import GOOD, MESSAGE_LIMIT_BYTES, Outcome, Target, good_request

pytestmark = pytest.mark.timeout(180)

Code = grpc.StatusCode
SERVED: Outcome = (Code.OK, None)
INVALID = Code.INVALID_ARGUMENT
TOO_LARGE: Outcome = (Code.RESOURCE_EXHAUSTED, None)
LATE: Outcome = (Code.DEADLINE_EXCEEDED, None)
ECHO = b"\x0a\x04echo"
BIG = 64 << 20
"""Bytes that a compressed message blows up to."""


@dataclass(frozen=True)
class Row:
    """One hostile call."""

    name: str
    payload: Callable[[], bytes]
    native: Outcome
    grpcio: Outcome | None = None
    """Where it differs."""
    columns: Outcome | None = None
    """Where penstock-front differs from pygrpc-native."""
    how: dict[str, Any] = field(default_factory=dict)
    is_cheap: bool = True
    """Whether it is among those that are repeated a thousand times."""

    def expected(self, target: Target) -> Outcome:
        """Return what the engine of this target owes."""
        other = {Engine.GRPCIO: self.grpcio, Engine.COLUMNS: self.columns}.get(target.engine)
        return self.native if other is None else other


def good() -> bytes:
    return GOOD


def changed(change: Callable[[pb.ModelInferRequest], object]) -> Callable[[], bytes]:
    """Return a builder of a good request with one change."""

    def build() -> bytes:
        request = good_request()
        change(request)
        return request.SerializeToString()

    return build


def typed(**values: Any) -> Callable[[], bytes]:
    """Return a builder of a request with typed contents."""

    def fill(request: pb.ModelInferRequest) -> None:
        del request.raw_input_contents[:]
        request.inputs[0].contents.MergeFrom(pb.InferTensorContents(**values))

    return changed(fill)


def nested(depth: int) -> bytes:
    """Return an unknown field with messages in messages."""
    inner = b""
    for _ in range(depth):
        inner = b"\x7a" + bytes([len(inner) & 127 | 128, len(inner) >> 7]) + inner
    return inner


def shared(where: str) -> Callable[[], bytes]:
    def add(request: pb.ModelInferRequest) -> None:
        tensor = request.inputs[0] if where == "input" else request.outputs.add(name="y")
        tensor.parameters["shared_memory_region"].string_param = "secret-region"

    return changed(add)


def metadata(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"metadata": pairs}


MALFORMED: Outcome = (INVALID, "MALFORMED")
TOO_MANY: Outcome = (INVALID, "BAD_VALUE")
OUR_LIMIT: Outcome = (Code.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
REFUSED_BY_431: Outcome = (Code.UNKNOWN, None)
GZIP = {"compression": grpc.Compression.Gzip}

ROWS = [
    Row("IG1 message over the limit", lambda: GOOD + b"\x3a\x80\x80\xc0\x02" + bytes(5 << 20), OUR_LIMIT, TOO_LARGE, is_cheap=False),
    Row("IG2 gzip bomb", lambda: bytes(BIG), OUR_LIMIT, TOO_LARGE, how=GZIP, is_cheap=False),
    Row("IG3 random bytes", lambda: b"\xff\xfe\xfd" * 20, MALFORMED),
    Row("IG3 many random bytes", lambda: b"\xff\xfe\xfd" * 20_000, MALFORMED),
    Row("IG3 nothing", lambda: b"", (INVALID, "BAD_NAME")),
    Row("IG3 cut off", lambda: GOOD[:-1], MALFORMED),
    Row("IG4 groups in groups", lambda: GOOD + b"\x7b" * 200 + b"\x7c" * 200, MALFORMED),
    Row("IG4 many groups in groups", lambda: GOOD + b"\x7b" * 100_000, MALFORMED),
    Row("IG4 messages in messages of an unknown field are bytes", lambda: GOOD + nested(200), SERVED),
    Row("IG5 a million inputs", lambda: ECHO + b"\x2a\x00" * 10**6, TOO_MANY, is_cheap=False),
    Row("IG5 a million outputs", lambda: GOOD + b"\x32\x00" * 10**6, TOO_MANY, is_cheap=False),
    Row("IG5 a million tensors", lambda: GOOD + b"\x3a\x00" * 10**6, TOO_MANY, is_cheap=False),
    Row("IG5 a million parameters", lambda: ECHO + b"\x22\x00" * 10**6 + GOOD, (INVALID, "BAD_PARAMETER"), is_cheap=False),
    Row(
        "IG5 a shape of a million sizes",
        lambda: ECHO + b"\x2a\xc4\x84\x3d\x1a\xc0\x84\x3d" + b"\1" * 10**6,
        (INVALID, "SHAPE_MISMATCH"),
        is_cheap=False,
    ),
    Row("IG6 100,000 unknown fields", lambda: GOOD + b"\x98\x06\x01" * 10**5, MALFORMED),
    Row("IG6 a thousand unknown fields", lambda: GOOD + b"\x98\x06\x01" * 1000, SERVED),
    Row("IG7 raw and typed contents", changed(lambda r: r.inputs[0].contents.fp32_contents.extend([1, 2, 3])), TOO_MANY),
    Row("IG8 more tensors than inputs", changed(lambda r: r.raw_input_contents.append(bytes(12))), (INVALID, "BYTE_COUNT")),
    Row("IG9 eleven bytes of FP32", changed(lambda r: r.raw_input_contents.__setitem__(0, bytes(11))), (INVALID, "BYTE_COUNT")),
    Row("IG10 FP32 as integers", typed(int64_contents=[1, 2, 3]), (INVALID, "DTYPE_MISMATCH")),
    Row("IG11 two typed fields", typed(int64_contents=[1, 2, 3], fp32_contents=[1, 2, 3]), (INVALID, "DTYPE_MISMATCH")),
    Row("IG12 metadata of 7 KiB", good, SERVED, how=metadata(("a", "x" * 7168))),
    Row("IG12 metadata of 9 KiB", good, REFUSED_BY_431, TOO_LARGE, how=metadata(("a", "x" * 9216)), is_cheap=False),
    Row("IG12 metadata of 17 KiB", good, REFUSED_BY_431, TOO_LARGE, how=metadata(("a", "x" * 17_408)), is_cheap=False),
    Row(
        "IG12 1,000 entries",
        good,
        (Code.UNAVAILABLE, None),
        TOO_LARGE,
        how=metadata(*((f"a{n}", "x") for n in range(1000))),
        is_cheap=False,
    ),
    Row("IG13 time that is over", good, LATE, how={"timeout": -1}),
    Row("IG13 ten years", good, SERVED, how={"timeout": 10 * 365 * 86_400}),
    Row("IG14 unknown method", good, (Code.UNIMPLEMENTED, None), how={"path": "/inference.GRPCInferenceService/Nope"}),
    Row("IG14 unknown service", good, (Code.UNIMPLEMENTED, None), how={"path": "/a.B/C"}),
    Row("IG14 no path", good, (Code.UNIMPLEMENTED, None), how={"path": "/"}),
    Row("IG23 a tenant's name is no key", good, SERVED, how=metadata(("x-tenant-id", "root"))),
    Row("IG23 id of 300 characters", good, (INVALID, "BAD_ID"), how=metadata(("x-request-id", "x" * 300))),
    Row("IG26 shared memory for an input", shared("input"), (Code.UNIMPLEMENTED, "SHARED_MEMORY")),
    Row("IG26 shared memory for an output", shared("output"), (Code.UNIMPLEMENTED, "SHARED_MEMORY")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_hostile_call_is_refused_by_code_and_reason(row: Row, target: Target):
    outcome = target.call(row.payload(), **row.how)

    assert outcome == row.expected(target)
    target.assert_unharmed()


def test_every_row_has_a_name_of_its_own():
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_name_of_shared_memory_is_never_repeated(target: Target):
    with pytest.raises(grpc.RpcError) as refused:
        target.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(shared("input")(), timeout=30)

    assert "secret-region" not in f"{refused.value.details()}{refused.value.trailing_metadata()}"


def test_a_request_id_of_a_megabyte_costs_its_sender_the_connection_or_the_call(target: Target):
    with grpc.insecure_channel(target.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        code, _ = target.call(GOOD, channel=channel, **metadata(("x-request-id", "x" * 10**6)))

    # The native engine ends the connection (too_many_continuations), grpcio the call.
    assert code is (Code.RESOURCE_EXHAUSTED if target.engine is Engine.GRPCIO else Code.UNAVAILABLE)
    target.assert_unharmed()


def test_a_gzip_bomb_costs_grpcio_no_memory_and_the_native_engine_what_it_blows_up_to_and_no_longer(target: Target):
    before = target.resident_bytes()
    target.forget_peak()
    at_rest = target.peak_bytes()
    for _ in range(3):
        code, _ = target.call(bytes(BIG), **GZIP)
        assert code is Code.RESOURCE_EXHAUSTED
    grown = target.peak_bytes() - at_rest

    # pygrpc-native 0.5.0 has no limit of its own: where that matters, put grpcio or a proxy in front. What it took it gives back.
    assert grown <= (3 * BIG if target.engine is Engine.PYGRPC else 4 * MESSAGE_LIMIT_BYTES)
    target.assert_memory_returns_to(before)
    target.assert_unharmed()


@pytest.mark.parametrize("row", [row for row in ROWS if row.name[:3] in {"IG5", "IG6"}], ids=lambda row: row.name)
def test_messages_that_would_blow_up_when_parsed_take_no_time(row: Row, target: Target):
    payload = row.payload()
    before = target.router_cpu_seconds()
    for _ in range(5):
        target.call(payload)

    # Ticks of the kernel are 10 ms; the goal is 50 ms a message, for all threads of the router and with the receiving of megabytes.
    assert (target.router_cpu_seconds() - before) / 5 < 0.05


def test_a_thousand_hostile_calls_leave_memory_as_it_was(target: Target):
    rows = [(row.payload(), row.how, row.expected(target)) for row in ROWS if row.is_cheap]

    def bombard(count: int) -> None:
        for number in range(count):
            payload, how, expected = rows[number % len(rows)]
            assert target.call(payload, **how) == expected

    bombard(300)
    before = target.resident_bytes()
    bombard(1000)

    target.assert_memory_returns_to(before)
    target.assert_unharmed()


def test_what_is_remembered_of_callers_has_a_bound(target: Target):
    def described(number: int) -> bytes:
        request = good_request()
        request.inputs[0].parameters["k"].string_param = f"{number:07}" * 20_000
        return request.SerializeToString()

    before = target.resident_bytes()
    for number in range(100):
        assert target.call(described(number)) == SERVED
        assert target.call(GOOD, metadata=[("x-api-key", f"{number:07}" * 1000)]) == SERVED

    target.assert_memory_returns_to(before)
