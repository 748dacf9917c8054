"""The inference path from a front to a worker's socket and back."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    VersionNotFound,
)
from penstock.oip.v2 import inference_pb2 as pb
from penstock.v1.link_pb2 import Answer, Chunk
from services.router.front import Wave
from tests.mesh.conftest import FakeWorker, echo
from tests.router.inference_stand import Stand, request, standing, wave_of


@pytest.fixture
async def stand(worker: FakeWorker):
    async with standing([worker]) as built:
        yield built


def rows_of(answer: pb.ModelInferResponse) -> list[list[float]]:
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(tuple(answer.outputs[0].shape)).tolist()


async def test_every_call_gets_its_own_row_back_and_its_own_id(stand: Stand):
    stand.take(*(request([[n, -n]], id=f"call-{n}") for n in range(200)))
    await stand.front.until(200)

    assert not stand.front.errors
    for call_id, answer in stand.front.answers.items():
        assert rows_of(answer) == [[call_id - 1, 1 - call_id]]
        assert answer.id == f"call-{call_id - 1}"
        assert (answer.model_name, answer.model_version) == ("echo", "1")
        assert (answer.outputs[0].name, answer.outputs[0].datatype) == ("y", "FP32")


async def test_a_wave_of_one_shape_travels_in_chunks_of_64(stand: Stand, worker: FakeWorker):
    stand.take(*(request([[n, n]]) for n in range(150)))
    await stand.front.until(150)

    assert [chunk.count for chunk in worker.chunks] == [64, 64, 22]


async def test_shapes_do_not_mix_in_a_chunk(stand: Stand, worker: FakeWorker):
    stand.take(request([[1, 2]]), request([[3, 4], [5, 6]]), request([[7, 8]]))
    await stand.front.until(3)

    assert sorted((chunk.count, chunk.rows_per_request) for chunk in worker.chunks) == [(1, 2), (2, 1)]
    assert rows_of(stand.front.answers[2]) == [[3, 4], [5, 6]]


async def test_a_bad_call_fails_alone(stand: Stand):
    wrong = request([[1, 2]])
    wrong.inputs[0].shape[1] = 3
    stand.take(request([[1, 2]]), wrong, request([[3, 4]]))
    await stand.front.until(3)

    assert sorted(stand.front.answers) == [1, 3]
    assert stand.front.errors[2].reason == "SHAPE_MISMATCH"


def typed() -> pb.ModelInferRequest:
    asked = pb.ModelInferRequest(model_name="echo")
    tensor = asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([5, 6])
    return asked


def reordered() -> bytes:
    """The same fields in another order, which protobuf allows."""
    whole = request([[5, 6]])
    head, tail = pb.ModelInferRequest(model_name="echo"), pb.ModelInferRequest()
    tail.CopyFrom(whole)
    tail.ClearField("model_name")
    return tail.SerializeToString() + head.SerializeToString()


@pytest.mark.parametrize("asked", [typed(), reordered(), request([[5, 6]], id="x" * 200)], ids=["typed", "reordered", "long id"])
async def test_an_unusual_layout_gets_the_same_answer(stand: Stand, asked: pb.ModelInferRequest | bytes):
    stand.take(asked)
    await stand.front.until(1)

    assert rows_of(stand.front.answers[1]) == [[5, 6]]


@pytest.mark.parametrize(
    ("asked", "kind", "reason"),
    [
        (b"\xff\xff\xff", InvalidInput, "MALFORMED"),
        (request([[1, 2]], model="ecco"), ModelNotFound, "MODEL_NOT_FOUND"),
        (request([[1, 2]], model="../x"), InvalidInput, "BAD_NAME"),
        (request([[1, 2]], model_version="9"), VersionNotFound, "VERSION_NOT_FOUND"),
        (request([[1, 2]], model_version="latest2"), VersionNotFound, "VERSION_NOT_FOUND"),
        (request([[1, 2]], id="a\nb"), InvalidInput, "BAD_ID"),
        (request([[1, 2]], id="x" * 300), InvalidInput, "BAD_ID"),
        (pb.ModelInferRequest(model_name="echo"), InvalidInput, "MISSING_INPUT"),
    ],
)
async def test_what_cannot_be_served_is_refused_at_once(stand: Stand, asked: pb.ModelInferRequest | bytes, kind: type, reason: str):
    stand.take(asked)

    assert isinstance(stand.front.errors[1], kind)
    assert stand.front.errors[1].reason == reason


async def test_an_unknown_model_is_met_with_the_nearest_name(stand: Stand):
    stand.take(request([[1, 2]], model="ech"))

    assert "did you mean 'echo'" in stand.front.errors[1].message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sys.x", {"bool_param": True}),
        ("triton_x", {"bool_param": True}),
        ("timeout", {"string_param": "1"}),
        ("timeout", {"int64_param": -1}),
        ("priority", {"int64_param": -1}),
        ("sequence_id", {"int64_param": 3}),
        ("routing_key", {"int64_param": 3}),
    ],
)
async def test_a_reserved_or_wrong_parameter_is_refused_by_name(stand: Stand, name: str, value: dict[str, object]):
    asked = request([[1, 2]])
    asked.parameters[name].CopyFrom(pb.InferParameter(**value))  # type: ignore[arg-type]
    stand.take(request([[1, 2]]), asked, asked)

    assert [stand.front.errors[call].reason for call in (2, 3)] == ["BAD_PARAMETER"] * 2
    assert stand.front.errors[2].field == name


async def test_a_deadline_in_the_past_is_refused_and_the_timeout_parameter_shortens_it(stand: Stand, worker: FakeWorker):
    worker.answer = lambda chunk: None
    asked = request([[1, 2]])
    asked.parameters["timeout"].int64_param = 20_000
    stand.take(asked, first_id=1)
    stand.take(request([[1, 2]]), first_id=2, deadline=time.monotonic() - 1)

    assert isinstance(stand.front.errors[2], DeadlineExceeded)
    await stand.front.until(2)
    assert isinstance(stand.front.errors[1], DeadlineExceeded)
    assert stand.inference.requests_in_flight == 0


async def test_a_caller_who_leaves_frees_what_it_held(stand: Stand, worker: FakeWorker):
    worker.answer = lambda chunk: None
    stand.take(request([[1, 2]]), request([[3, 4]]))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    worker.arrived.clear()
    left = Wave(cancelled=[2])
    stand.inference.take(stand.front, left)
    await asyncio.wait_for(worker.arrived.wait(), 5)

    assert [cancel.index for cancel in worker.cancels] == [1]
    assert stand.inference.requests_in_flight == 1
    assert stand.tenants.all()["anonymous"].rows_in_flight == 1


async def test_a_call_cancelled_in_its_own_wave_is_never_sent(stand: Stand, worker: FakeWorker):
    wave = wave_of([request([[1, 2]]), request([[3, 4]])])
    wave.cancelled = [1]
    stand.inference.take(stand.front, wave)
    await stand.front.until(1)

    assert list(stand.front.answers) == [2]
    assert [chunk.count for chunk in worker.chunks] == [1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.text(alphabet="abc", max_size=3), st.sampled_from(["", "1", "latest"]), st.booleans()), max_size=40
    )
)
def test_any_mix_of_requests_is_answered_right(mix: list[tuple[int, str, str, bool]]):
    async def scenario() -> None:
        with tempfile.TemporaryDirectory() as folder:
            far = await FakeWorker(Path(folder) / "w.sock", "worker-0", "instance-0").start()
            try:
                async with standing([far]) as stand:
                    asked = []
                    for number, (rows, identity, version, has_parameter) in enumerate(mix):
                        one = request(np.full((rows, 2), number).tolist() or np.empty((0, 2)), id=identity, model_version=version)
                        if has_parameter:
                            one.parameters["mine"].string_param = "anything"
                        asked.append(one)
                    stand.take(*asked)
                    await stand.front.until(len(mix))
                    for number, (rows, identity, _, _) in enumerate(mix):
                        answer = stand.front.answers[number + 1]
                        assert answer.id == identity
                        assert rows_of(answer) == [[number, number]] * rows
                    assert stand.inference.requests_in_flight == 0
            finally:
                far.kill()

    asyncio.run(scenario())


def classified(count: int) -> pb.ModelInferRequest:
    asked = request([[1, 2]])
    asked.outputs.add(name="y").parameters["classification"].int64_param = count
    return asked


async def test_more_classes_than_the_model_has_are_refused_before_a_worker_is_asked(stand: Stand, worker: FakeWorker):
    stand.take(classified(3), classified(2))
    await stand.front.until(2)

    assert stand.front.errors[1].reason == "BAD_PARAMETER"
    assert list(stand.front.answers) == [2]
    assert [chunk.count for chunk in worker.chunks] == [1]


async def test_an_answer_that_cannot_be_told_fails_its_own_callers_and_leaves_the_link_up(stand: Stand, worker: FakeWorker):
    def narrow(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id, count=chunk.count)
        answer.outputs.add(shape=np.array([1, 1], "<i8").tobytes(), raw=bytes(4 * chunk.count))
        return answer

    worker.answer = narrow
    stand.take(classified(2), classified(2))
    await stand.front.until(2)
    worker.answer = echo
    stand.take(request([[5, 6]]), first_id=10)
    await stand.front.until(3)

    assert [stand.front.errors[call].reason for call in (1, 2)] == ["BAD_PARAMETER"] * 2
    assert rows_of(stand.front.answers[10]) == [[5, 6]]
    assert len(worker.connections) == 1
    assert stand.inference.requests_in_flight == 0


async def test_a_mistake_in_telling_an_answer_is_an_internal_error_of_its_own_callers(
    stand: Stand, worker: FakeWorker, caplog: pytest.LogCaptureFixture
):
    def shapeless(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id, count=chunk.count)
        answer.outputs.add(shape=b"odd", raw=bytes(8 * chunk.count))
        return answer

    worker.answer = shapeless
    stand.take(classified(2))
    await stand.front.until(1)

    assert (stand.front.errors[1].reason, stand.front.errors[1].message) == ("INTERNAL", "internal error")
    assert len(worker.connections) == 1
