"""Graphs run through the front door: what is the caller's goes with every step, and failures are named."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.contracts.errors import (
    DeadlineExceeded,
    InvalidInput,
)
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from penstock.oip.v2 import inference_pb2 as pb
from tests.mesh.conftest import SIGNATURE
from tests.router.graph_stand import DOUBLE, PAIR, TRIPLE, GraphStand, graph, graph_standing, rows_of, single
from tests.router.inference_stand import request


@pytest.fixture
async def graphs(tmp_path: Path) -> AsyncIterator[GraphStand]:
    async with graph_standing(tmp_path) as stand:
        yield stand


async def test_steps_feed_one_another_and_the_answer_names_who_gave_them(graphs: GraphStand):
    graphs.hold(graph(PAIR))

    answer = await graphs.ask([1.0, 2.0], [3.0, 4.0], id="call-7")

    assert graphs.stand.dispatch.counters.sent_requests == 3, "workers were sent the steps alone"
    # double@2 serves who names no version of double and is an echo here: (1 + 3) / 2.
    assert rows_of(answer) == [[2.0, 4.0], [6.0, 8.0]]
    assert (answer.model_name, answer.model_version, answer.id) == ("graph", "1", "call-7")
    told = {name: value.string_param for name, value in answer.parameters.items()}
    assert told == {
        "penstock.step.pre": "double@2",
        "penstock.step.l": "double@2",
        "penstock.step.r": "triple@1",
        "penstock.step.mean": "combined",
    }
    assert graphs.stand.inference.requests_in_flight == 0


async def test_a_pinned_step_gets_its_version_and_another_one_the_route(graphs: GraphStand):
    graphs.hold(graph(single("double", 'version = "1"'), origin="only.y"))

    assert rows_of(await graphs.ask()) == [[2.0, 4.0]]
    assert graphs.replicas_asked() == [DOUBLE]


async def test_many_requests_of_a_graph_share_the_waves_and_chunks_of_their_steps(graphs: GraphStand):
    graphs.hold(graph(PAIR))

    graphs.stand.take(*(request([[n, -n]], model="graph", id=f"call-{n}") for n in range(64)))
    await graphs.until(lambda: len(graphs.stand.front.answers) + len(graphs.stand.front.errors) == 64)

    assert not graphs.stand.front.errors
    for call_id, answer in graphs.stand.front.answers.items():
        assert rows_of(answer) == [[2.0 * (call_id - 1), -2.0 * (call_id - 1)]]
        assert answer.id == f"call-{call_id - 1}"
    assert len(graphs.worker.chunks) < 3 * 64 / 4


async def test_priority_deadline_and_parameters_go_with_every_step(graphs: GraphStand):
    levels = ReplicaStatus(
        replica_id=DOUBLE + 1, model="levels", version="1", state=ReplicaState.READY, signature=SIGNATURE, digest="l", priority_levels=3
    )
    graphs.hold(levels, graph(single("levels"), origin="only.y"))
    asked = request([[1.0, 2.0]], model="graph")
    asked.parameters["priority"].int64_param = 3
    deadline = time.monotonic() + 50

    graphs.stand.take(asked, deadline=deadline)
    await graphs.until(lambda: bool(graphs.stand.front.answers or graphs.stand.front.errors))

    assert not graphs.stand.front.errors
    (chunk,) = graphs.worker.chunks
    assert chunk.priority_level == 3
    assert struct.unpack("<Q", chunk.deadlines)[0] == pytest.approx(deadline * 1e6, abs=2)


async def test_a_step_may_take_its_share_of_the_deadline_and_no_more(graphs: GraphStand):
    graphs.hold(graph(single("mute", "timeout_seconds = 0.2"), origin="only.y"))

    error = await graphs.ask(deadline=time.monotonic() + 50)

    assert isinstance(error, DeadlineExceeded)
    assert error.message.startswith("graph graph@1: step 'only' (mute): ")


async def test_a_step_that_fails_for_good_fails_the_request_and_cancels_the_others(graphs: GraphStand):
    graphs.hold(
        graph(single("failing", name="f") + single("mute", name="m") + '[[step]]\nname = "mean"\ncombine = "mean"\nof = ["f.y", "m.y"]')
    )

    error = await graphs.ask()
    await graphs.until(lambda: bool(graphs.worker.cancels))

    assert type(error).__name__ == "ExecutionFailed"
    assert error.message == "graph graph@1: step 'f' (failing): it broke"
    assert graphs.stand.inference.requests_in_flight == 0


@pytest.mark.parametrize(
    ("more", "rows", "told"),
    [
        (("on_failure = 'skip'",), [[3.0, 6.0]], "skipped: EXECUTION_FAILED"),
        (
            ("on_failure = 'default'", "default.y = { data_type = 'FP32', value = [1.0, 0.0] }"),
            [[2.0, 3.0]],
            "default: EXECUTION_FAILED",
        ),
    ],
)
async def test_a_step_that_may_fail_is_left_out_or_stood_in_for(graphs: GraphStand, more: tuple[str, ...], rows: object, told: str):
    joined = '[[step]]\nname = "mean"\ncombine = "mean"\nof = ["f.y", "t.y"]'
    graphs.hold(graph(single("failing", *more, name="f") + single("triple", name="t") + joined))

    answer = await graphs.ask()

    assert rows_of(answer) == rows
    assert answer.parameters["penstock.step.f"].string_param == told


@pytest.mark.parametrize(
    ("tier", "rows", "asked"), [("gold", [[3.0, 6.0]], [TRIPLE]), ("tin", [[2.0, 4.0]], [DOUBLE]), (None, [[2.0, 4.0]], [DOUBLE])]
)
async def test_a_parameter_of_the_request_chooses_the_branch(graphs: GraphStand, tier: str | None, rows: object, asked: list[int]):
    branches = single("triple", "when = { parameter = 'tier', is = '==', value = 'gold' }", name="t")
    branches += single("double", "version = '1'", "when = { otherwise = 't' }", name="d")
    graphs.hold(graph(branches + '[[step]]\nname = "mean"\ncombine = "first"\nof = ["t.y", "d.y"]'))
    sent = request([[1.0, 2.0]], model="graph")
    if tier is not None:
        sent.parameters["tier"].string_param = tier

    graphs.stand.take(sent)
    await graphs.until(lambda: bool(graphs.stand.front.answers or graphs.stand.front.errors))

    assert rows_of(graphs.stand.front.answers[1]) == rows
    assert graphs.replicas_asked() == asked


OTHERWISE = (
    single("double", "version = '1'", "when = { otherwise = 't' }", name="d")
    + '[[step]]\nname = "mean"\ncombine = "first"\nof = ["t.y", "d.y"]'
)
BRANCHES = single("triple", "when = { tensor = 'x', is = '>', value = 0.5 }", name="t") + OTHERWISE


async def test_rows_that_decide_differently_go_their_own_ways_and_come_back_in_order(graphs: GraphStand):
    graphs.hold(graph(BRANCHES))

    answer = await graphs.ask([1.0, 2.0], [0.0, 0.5], [4.0, 5.0])

    assert rows_of(answer) == [[3.0, 6.0], [0.0, 1.0], [12.0, 15.0]]
    shapes = {chunk.replica_id: struct.unpack("<2q", chunk.inputs[0].shape) for chunk in graphs.worker.chunks}
    assert shapes == {TRIPLE: (2, 2), DOUBLE: (1, 2)}
    told = {name: value.string_param or value.int64_param for name, value in answer.parameters.items()}
    assert told == {
        "penstock.step.t": "triple@1",
        "penstock.step.t.rows": 2,
        "penstock.step.d": "double@1",
        "penstock.step.d.rows": 1,
        "penstock.step.mean": "combined",
    }


async def test_what_is_the_callers_goes_with_the_rows_of_every_branch(graphs: GraphStand):
    levels = ReplicaStatus(
        replica_id=DOUBLE + 1, model="levels", version="1", state=ReplicaState.READY, signature=SIGNATURE, digest="l", priority_levels=3
    )
    graphs.hold(levels, graph(BRANCHES.replace("triple", "levels")))
    asked = request([[1.0, 2.0], [0.0, 0.0]], model="graph")
    asked.parameters["priority"].int64_param = 3
    deadline = time.monotonic() + 50

    graphs.stand.take(asked, deadline=deadline)
    await graphs.until(lambda: bool(graphs.stand.front.answers or graphs.stand.front.errors))

    assert not graphs.stand.front.errors
    assert {chunk.replica_id: chunk.priority_level for chunk in graphs.worker.chunks} == {DOUBLE + 1: 3, DOUBLE: 0}
    for chunk in graphs.worker.chunks:
        assert struct.unpack("<Q", chunk.deadlines)[0] == pytest.approx(deadline * 1e6, abs=2)


async def test_a_branch_that_fails_is_stood_in_for_in_its_own_rows(graphs: GraphStand):
    default = "default.y = { data_type = 'FP32', value = [7.0, 8.0] }"
    graphs.hold(graph(BRANCHES.replace('model = "triple"', 'model = "failing"\non_failure = "default"\n' + default.replace("'", '"'))))

    assert rows_of(await graphs.ask([1.0, 2.0], [0.0, 0.5])) == [[7.0, 8.0], [0.0, 1.0]]


async def test_a_row_that_disagrees_with_itself_is_refused_by_graph_step_and_row(graphs: GraphStand):
    graphs.hold(graph(BRANCHES))

    error = await graphs.ask([1.0, 1.0], [0.0, 1.0])

    assert isinstance(error, InvalidInput)
    assert error.reason == "MIXED_ROWS"
    assert error.message.startswith("graph graph@1: the condition of step 't' on x holds for some elements of row 1")


async def test_the_request_of_a_graph_is_the_same_in_whatever_order_its_fields_come(graphs: GraphStand):
    graphs.hold(graph(single("triple", "when = { parameter = 'tier', is = '==', value = 'gold' }", name="t") + OTHERWISE))
    usual, behind = request([[1.0, 2.0]], model="graph"), pb.ModelInferRequest()
    behind.parameters["tier"].string_param = "gold"

    graphs.stand.take(usual.SerializeToString() + behind.SerializeToString())
    await graphs.until(lambda: bool(graphs.stand.front.answers or graphs.stand.front.errors))

    assert graphs.replicas_asked() == [TRIPLE]
