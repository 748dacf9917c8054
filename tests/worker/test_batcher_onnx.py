"""The batcher on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from services.worker.batch_policy import BatchPolicy
from services.worker.batcher import Batcher
from services.worker.execution import ExecutionRules
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.work import PriorityClass
from tests.worker import models
from tests.worker.batchers import CHEAP, WaitingSink, batcher_of
from tests.worker.works import raw_work, signature, template, text_share, work


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


def tensors(*specs: tuple[str, DataType, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in specs)


async def run_on(model: bytes, shape: Signature, *chunks, wait: Callable | None = None, **kwargs) -> Batcher:
    session = open_session(model, SessionConfig())
    policy = kwargs.pop("policy", BatchPolicy(max_batch_size=shape.max_batch_size))
    async with batcher_of(session, rules=ExecutionRules(signature=shape), policy=policy, **kwargs) as batcher:
        for chunk in chunks:
            batcher.submit(chunk)
        await chunks[0].sink.reported(sum(chunk.count for chunk in chunks))
    return batcher


async def test_a_real_model_sums_every_row_of_its_own_request(sink):
    shape = Signature(inputs=tensors(("x", DataType.FP32, (-1, 3))), outputs=tensors(("sum", DataType.FP32, (-1, 1))), max_batch_size=16)
    generator = np.random.default_rng(1)
    chunks = []
    for number in range(12):
        rows = number % 3 + 1
        values = generator.normal(size=(number % 4 + 1, rows * 3)).astype(np.float32).tolist()
        chunks.append((values, rows))

    def chunk_of(number, values, rows):
        raw = np.float32(values).tobytes()
        shaped = template(rows=rows, width=3)
        return raw_work(number, [raw[at * rows * 12 : (at + 1) * rows * 12] for at in range(len(values))], shaped, sink=sink)

    await run_on(models.row_sum(), shape, *(chunk_of(number, *one) for number, one in enumerate(chunks)), costs=CHEAP)

    for number, (values, rows) in enumerate(chunks):
        for position, one in enumerate(values):
            expected = np.float32(one).reshape(rows, 3).sum(axis=1)
            assert np.allclose(sink.array(number, position), expected, atol=1e-5)


async def test_texts_go_through_a_real_model_and_a_bad_one_fails_alone(sink):
    shape = Signature(inputs=tensors(("x", DataType.BYTES, (-1, 1))), outputs=tensors(("y", DataType.BYTES, (-1, 1))), max_batch_size=8)
    shares = [text_share("häuser"), text_share(b"\xff\xfe"), text_share("")]

    await run_on(models.echo_bytes(), shape, raw_work(1, shares, template(datatype=DataType.BYTES), sink=sink))

    assert {key: answer[0] for key, answer in sink.answers.items()} == {(1, 0): shares[0], (1, 2): shares[2]}
    assert sink.errors[1, 1].reason == "NOT_TEXT"


async def test_a_model_without_batch_dimension_runs_each_request_alone(sink):
    shape = Signature(inputs=tensors(("x", DataType.FP32, (3,))), outputs=tensors(("y", DataType.FP32, (3,))), max_batch_size=0)
    one = template(width=3)
    flat = type(one.inputs[0])(name="x", datatype=DataType.FP32, shape=(3,), request_bytes=12)
    shaped = type(one)(inputs=(flat,), outputs=(0,), rows=1, group="flat")
    shares = [np.float32([at, at, at]).tobytes() for at in range(4)]

    batcher = await run_on(models.no_batch(), shape, raw_work(1, shares, shaped, sink=sink), costs=CHEAP)

    assert [sink.array(1, at) for at in range(4)] == [[2.0 * at] * 3 for at in range(4)]
    assert batcher.statistics.execution_count == 4


async def test_a_real_poison_row_fails_alone(sink):
    shape = Signature(inputs=tensors(("index", DataType.INT64, (-1, 1))), outputs=tensors(("y", DataType.FP32, (-1, 1))), max_batch_size=32)
    shares = [np.int64([99 if at == 5 else at % 10]).tobytes() for at in range(16)]

    await run_on(models.poisonable(), shape, raw_work(1, shares, template(datatype=DataType.INT64, name="index"), sink=sink))

    assert {key: error.reason for key, error in sink.errors.items()} == {(1, 5): "POISON_ROW"}
    assert "idx" not in sink.errors[1, 5].message
    assert all(sink.array(1, at) == [float(at % 10)] for at in range(16) if at != 5)


async def test_bulk_and_online_work_of_a_real_model_all_get_their_answers(sink):
    shape = signature(2, max_batch_size=16)
    online = [work(number, [[float(number), 1.0]], sink=sink) for number in range(10)]
    bulk = [work(100 + number, [[float(at), 2.0] for at in range(40)], sink=sink, priority_class=PriorityClass.BULK) for number in range(3)]

    await run_on(models.identity(), shape, *bulk, *online)

    assert len(sink.answers) == 130
    assert all(sink.array(100 + number, at) == [float(at), 2.0] for number in range(3) for at in range(40))
