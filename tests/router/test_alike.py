"""What is admitted together is treated as what is admitted one by one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest

from penstock.contracts.errors import CallerLeft, DeadlineExceeded, ModelNotFound, QuotaExceeded, Unauthenticated
from penstock.oip.v2 import inference_pb2 as pb
from services.chassis.telemetry import Telemetry
from services.router.front import NO_DEADLINE, Wave
from services.router.tracing import RequestTracer
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request, standing, wave_of

TENANTS = """
[[tenants]]
name = "{name}"
requests_per_second = 0.001
burst_seconds = {burst}
models = {models}
keys = ["sha256:{hash}"]
"""
POLICIES = {"first": '["*"]', "second": '["echo"]', "foreign": '["other-*"]', "roomy": '["*"]'}
BURSTS = {"roomy": 1e6}
"""Thousandths of a request that a tenant may send at once; the others may send forty requests, and no more within a test."""


@pytest.fixture
async def stand(worker: FakeWorker, tmp_path: Path):
    path = tmp_path / "tenants.toml"
    path.write_text(
        "".join(
            TENANTS.format(name=name, models=models, hash=_hash(f"key-{name}"), burst=BURSTS.get(name, 4e4))
            for name, models in POLICIES.items()
        )
    )
    async with standing([worker]) as built:
        built.tenants.load(path)
        yield built


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def learn(stand: Stand, *requests: pb.ModelInferRequest) -> None:
    """Let layouts and keys be known; twice, for the first of a kind is parsed in full and the second scanned."""
    for turn in range(2):
        first = 9000 + turn * 100
        keys = ["key-first", "key-second", "key-foreign"]
        wave = wave_of([one for one in requests for _ in keys], first_id=first)
        wave.keys = keys * len(requests)
        stand.inference.take(stand.front, wave)
        await stand.front.until(len(wave.call_ids) * (turn + 1))
    stand.front.answers.clear()
    stand.front.errors.clear()


async def test_tenants_share_a_chunk_and_are_judged_each_by_its_own_rights_and_quota(stand: Stand, worker: FakeWorker):
    await learn(stand, request([[0, 0]], id="000"))
    worker.chunks.clear()
    wave = wave_of([request([[n, n]], id=f"{n:03d}") for n in range(120)])
    wave.keys = ["key-first", "key-second", "key-foreign"] * 40
    stand.inference.take(stand.front, wave)
    await stand.front.until(120)

    foreign = [stand.front.errors.pop(call_id) for call_id in range(3, 121, 3)]
    assert {type(error) for error in foreign} == {ModelNotFound}
    # Two of each tenant's forty were spent on learning.
    assert {type(error) for error in stand.front.errors.values()} == {QuotaExceeded}
    assert len(stand.front.answers) == 76
    assert all(answer.id == f"{call_id - 1:03d}" for call_id, answer in stand.front.answers.items())
    assert {tenant.rows_in_flight for tenant in stand.tenants.all().values()} == {0}


async def test_a_wave_of_one_layout_fills_chunks_to_the_brim(stand: Stand, worker: FakeWorker):
    await learn(stand, request([[0, 0]], id="0"), request([[0, 0]], id="00"))
    worker.chunks.clear()
    stand.tenants.of("key-roomy")
    stand.take(*(request([[n, -n]], id=str(n)) for n in range(100)), key="key-roomy")
    await stand.front.until(100)

    assert sorted(chunk.count for chunk in worker.chunks) == [36, 64]
    assert {answer.id for answer in stand.front.answers.values()} == {str(n) for n in range(100)}
    assert stand.inference.requests_in_flight == 0


async def test_one_late_stranger_with_an_odd_name_spoils_it_for_nobody_else(stand: Stand):
    await learn(stand, request([[0, 0]], id="00"))
    wave = wave_of([request([[n, n]], id="é" if n == 3 else f"{n:02d}") for n in range(10)])
    wave.keys = ["key-first"] * 10
    wave.keys[1] = "nobody's"
    wave.deadlines[2] = 0.0
    wave.cancelled = [5]
    stand.inference.take(stand.front, wave)
    await stand.front.until(9)

    assert {call_id: type(error) for call_id, error in stand.front.errors.items()} == {2: Unauthenticated, 3: DeadlineExceeded}
    assert set(stand.front.answers) == {1, 4, 6, 7, 8, 9, 10}
    assert stand.front.answers[4].id == "é"


async def test_a_broken_id_is_refused_among_sound_ones(stand: Stand):
    await learn(stand, request([[0, 0]], id="00"))
    sound = [request([[n, n]], id="00").SerializeToString() for n in range(3)]
    stand.inference.take(
        stand.front,
        Wave(
            call_ids=[1, 2, 3],
            payloads=[sound[0], sound[1].replace(b"\x1a\x0200", b"\x1a\x02\xff\xfe"), sound[2]],
            keys=["key-first"] * 3,
            deadlines=[NO_DEADLINE] * 3,
            traces=[None] * 3,
        ),
    )
    await stand.front.until(3)

    assert (set(stand.front.answers), stand.front.errors[2].reason) == ({1, 3}, "MALFORMED")


async def test_callers_that_leave_are_found_in_what_was_admitted_together(stand: Stand, worker: FakeWorker):
    await learn(stand, request([[0, 0]]))
    worker.is_mute = True
    wave = wave_of([request([[n, n]]) for n in range(4)])
    wave.keys = ["key-first"] * 4
    stand.inference.take(stand.front, wave)
    stand.inference.take(stand.front, Wave(cancelled=[2]))

    assert stand.inference.requests_in_flight == 3
    assert stand.tenants.all()["first"].rows_in_flight == 3
    assert stand.metrics.requests.of("echo", "1", "first", CallerLeft("").reason).value == 1


async def test_the_ratio_of_traces_is_kept(stand: Stand, worker: FakeWorker):
    telemetry = Telemetry("router", {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"})
    telemetry.sampler.ids = Random(5)
    async with standing([worker]) as open_stand:
        open_stand.inference._tracer = open_stand.inference._alike._tracer = RequestTracer(telemetry, clock=lambda: 0.0)
        for turn in range(50):
            open_stand.take(*(request([[n, n]]) for n in range(40)), first_id=1 + turn * 40)
        await open_stand.front.until(2000)

    assert 50 < sum(len(chunk.traces) for chunk in worker.chunks) < 160


async def test_a_traced_caller_among_others_is_traced_where_its_rows_are(stand: Stand, worker: FakeWorker):
    async with standing([worker]) as open_stand:
        telemetry = Telemetry("router", {"OTEL_TRACES_SAMPLER": "parentbased_always_off"})
        open_stand.inference._tracer = open_stand.inference._alike._tracer = RequestTracer(telemetry, clock=lambda: 0.0)
        open_stand.take(*(request([[n, n]]) for n in range(10)))
        await open_stand.front.until(10)
        worker.chunks.clear()
        wave = wave_of([request([[n, n]]) for n in range(70)], first_id=11)
        wave.traces = [f"00-{n + 1:032x}-00f067aa0ba902b7-01" if n in {3, 66} else None for n in range(70)]
        open_stand.inference.take(open_stand.front, wave)
        await open_stand.front.until(80)

    assert [chunk.count for chunk in worker.chunks] == [64, 6]
    (first,), (second,) = ([(trace.index, trace.traceparent[3:35]) for trace in chunk.traces] for chunk in worker.chunks)
    assert first == (3, f"{4:032x}")
    assert second == (2, f"{67:032x}")
