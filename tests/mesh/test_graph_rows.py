"""Rows of one request go their own ways through a graph, and each is answered as if it had been sent alone."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, OutputContract, ServingError
from penstock.contracts.graph_order import graph_of
from penstock.contracts.graphs import Combine, Comparison, Condition, Default, Graph, OnFailure, Step
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType, join_bytes, split_bytes
from services.mesh.graph_plan import Asked, Begun, Over, defaults_of, inputs_for, next_steps, outputs_of
from services.mesh.graph_rows import Part, Rows, every_row, together
from services.mesh.graph_tensors import TensorValue
from tests.mesh.test_graph_plan import at, combine, fp32, graph, model

DEFAULT = Default(datatype=DataType.FP32, shape=(1,), raw=struct.pack("<f", -1.0))
COMPARISONS = st.sampled_from(list(Comparison))


@dataclass
class Walk:
    """One request that was seen through a graph, its models being sums of what they read, times their number."""

    made: Graph
    rows: Sequence[float]
    failing: frozenset[str] = frozenset()
    ends: list[int] = field(default_factory=lambda: [0])
    """Which of the running steps ends next, in turn."""
    asked_rows: Counter[str] = field(default_factory=Counter[str])

    def answer(self) -> list[float]:
        asked = Asked(inputs={"a": fp32(*self.rows)}, parameters={"p": True}.get, rows=len(self.rows))
        over: dict[str, Over] = {}
        running: list[Begun] = []
        for turn in range(50):
            coming = next_steps(self.made, asked, over, running)
            over |= coming.over
            outputs = outputs_of(self.made, asked, over)
            if outputs is not None:
                return np.frombuffer(outputs[0].raw, "<f4").tolist()
            for begun in coming.begin:
                assert begun.step.name not in self.asked_rows
                assert not begun.rows.is_none
                self.asked_rows[begun.step.name] = begun.rows.count
                running.append(begun)
            ended = running.pop(self.ends[turn % len(self.ends)] % len(running))
            over[ended.step.name] = self._ended(ended, asked, over)
        raise AssertionError

    def _ended(self, ended: Begun, asked: Asked, over: dict[str, Over]) -> Over:
        step, rows = ended.step, None if ended.rows.is_all else ended.rows
        if step.name in self.failing and step.on_failure is OnFailure.SKIP:
            return Over(is_skipped=True)
        if step.name in self.failing and step.on_failure is OnFailure.DEFAULT:
            return Over(tensors=defaults_of(self.made, step, ended.rows.count), rows=rows)
        tensors = inputs_for(ended, asked, over)
        assert {value.shape[0] for value in tensors.values()} == {ended.rows.count}
        total = sum(np.frombuffer(value.raw, "<f4") for value in tensors.values())
        return Over(tensors={"y": fp32(*(np.float32(1 + int(step.name[1:])) * total))}, rows=rows)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs of models and combinations, whose steps wait for tensors, for parameters, and for one another."""
    steps: list[Step] = []
    for index in range(draw(st.integers(2, 6))):
        before = [f"{step.name}.{'y' if step.model else 'output'}" for step in steps]
        reads = draw(st.lists(st.sampled_from(["a", *before]), min_size=1, max_size=3, unique=True))
        compared = st.builds(
            Condition, source=st.sampled_from(["a", "a", *before]).map(at), comparison=COMPARISONS, value=st.sampled_from([1.0, 2.0])
        )
        kinds = [st.none(), compared, compared, compared]
        kinds += [st.sampled_from([Condition(otherwise=step.name) for step in steps])] if steps else []
        when = draw(st.one_of(kinds))
        if draw(st.integers(0, 3)) == 0:
            defaults = draw(st.sampled_from([{}, {"output": DEFAULT}]))
            steps.append(combine(f"s{index}", draw(st.sampled_from(list(Combine))), *reads, when=when, defaults=defaults))
            continue
        on_failure = draw(st.sampled_from([OnFailure.FAIL, *OnFailure]))
        steps.append(
            model(f"s{index}", *reads, when=when, on_failure=on_failure, defaults={"y": DEFAULT} if on_failure is OnFailure.DEFAULT else {})
        )
    read = {name for step in steps for name in step.reads}
    free = [f"{step.name}.{'y' if step.model else 'output'}" for step in steps if step.name not in read]
    defaults = draw(st.sampled_from([{}, {"output": DEFAULT}]))
    return graph("last.output", *steps, combine("last", draw(st.sampled_from([Combine.FIRST, *Combine])), *free, "a", defaults=defaults))


@given(
    graphs(),
    st.permutations([0.0, 1.0, 2.0, 3.0, float("nan")]),
    st.frozensets(st.sampled_from([f"s{n}" for n in range(6)]), max_size=2),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_rows_together_are_answered_as_each_row_alone(made: Graph, rows: list[float], failing: frozenset[str], ends: list[int]):
    alone = [Walk(made, [row], failing, ends).answer()[0] for row in rows]

    np.testing.assert_array_equal(Walk(made, rows, failing, ends).answer(), alone)


BRANCHES = graph(
    "e.output",
    model("s1", "a", when=Condition(source=at("a"), comparison=Comparison.ABOVE, value=0.5)),
    model("s2", "a", when=Condition(otherwise="s1")),
    combine("e", Combine.FIRST, "s1.y", "s2.y"),
)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=8))
def test_every_row_runs_through_one_branch_and_a_branch_without_rows_is_not_asked(rows: list[float]):
    walk = Walk(BRANCHES, rows)

    assert walk.answer() == [2 * row if row > 0.5 else 3 * row for row in rows]
    high = sum(row > 0.5 for row in rows)
    assert walk.asked_rows == +Counter({"s1": high, "s2": len(rows) - high})


def test_both_branches_begin_together():
    asked = Asked(inputs={"a": fp32(0.0, 1.0, 0.0)}, parameters={}.get, rows=3)

    coming = next_steps(BRANCHES, asked, {}, ())

    assert {one.step.name: one.rows.mask.tolist() for one in coming.begin} == {"s1": [False, True, False], "s2": [True, False, True]}


def test_a_stand_in_of_a_step_that_may_be_skipped_waits_for_its_end():
    first = model("s1", "a", when=Condition(source=at("a"), comparison=Comparison.ABOVE, value=0.5), on_failure=OnFailure.SKIP)
    made = graph("e.output", first, model("s2", "a", when=Condition(otherwise="s1")), combine("e", Combine.FIRST, "s1.y", "s2.y"))
    walk = Walk(made, [0.0, 1.0], frozenset({"s1"}))

    assert walk.answer() == [0.0, 3.0]
    assert walk.asked_rows == {"s1": 1, "s2": 2}


def test_a_row_without_a_branch_is_named_and_a_default_stands_for_it():
    low = Condition(source=at("a"), comparison=Comparison.BELOW, value=0.5)
    with_nothing = graph("e.output", model("s1", "a", when=low), combine("e", Combine.FIRST, "s1.y"))
    with_default = graph("e.output", model("s1", "a", when=low), combine("e", Combine.MEAN, "s1.y", defaults={"output": DEFAULT}))

    with pytest.raises(OutputContract, match="output 'z' ran for row 1 of the request") as refused:
        Walk(with_nothing, [0.0, 1.0, 0.25]).answer()

    assert refused.value.reason == "NO_BRANCH"
    assert Walk(with_default, [0.0, 1.0, 0.25]).answer() == [0.0, -1.0, 0.5]


def test_elements_of_a_request_without_rows_have_to_agree():
    specs = (TensorSpec(name="a", datatype=DataType.FP32, shape=(2,)), TensorSpec(name="z", datatype=DataType.FP32, shape=(2,)))
    when = Condition(source=at("a"), comparison=Comparison.ABOVE, value=0.5)
    steps = [model("s1", "a", when=when), combine("e", Combine.FIRST, "s1.y", "a")]
    made = graph_of(Signature(inputs=specs[:1], outputs=specs[1:]), [at("e.output")], steps)
    asked = Asked(inputs={"a": TensorValue(DataType.FP32, (2,), struct.pack("<2f", 0.0, 1.0))}, parameters={}.get, rows=1)

    with pytest.raises(InvalidInput) as refused:
        next_steps(made, asked, {}, ())

    assert refused.value.reason == "MIXED_ROWS"


@st.composite
def tensors(draw: st.DrawFn) -> TensorValue:
    kind = draw(st.sampled_from([DataType.FP32, DataType.BOOL, DataType.BF16, DataType.INT64, DataType.BYTES]))
    shape = (draw(st.integers(1, 6)), *draw(st.lists(st.integers(0, 3), max_size=2)))
    count = int(np.prod(shape))
    if kind is DataType.BYTES:
        return TensorValue(kind, shape, join_bytes(draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))))
    assert kind.itemsize is not None
    return TensorValue(kind, shape, draw(st.binary(min_size=count * kind.itemsize, max_size=count * kind.itemsize)))


@given(tensors(), st.data())
def test_a_tensor_taken_apart_and_put_together_is_the_same(value: TensorValue, data: st.DataObject):
    every = every_row(value.shape[0])
    ways = np.array(data.draw(st.lists(st.integers(0, 2), min_size=value.shape[0], max_size=value.shape[0])))
    whole = Part(value=value, rows=every)
    parts = [whole.of(Rows(ways == way)) for way in range(3) if (ways == way).any()]

    assert sum(part.value.shape[0] for part in parts) == value.shape[0]
    assert sum(len(part.value.raw) for part in parts) == len(value.raw)
    assert together(parts, every, "s").value == value


def test_rows_are_taken_in_their_order():
    texts = TensorValue(DataType.BYTES, (3, 1), join_bytes([b"a", b"bb", b"ccc"]))
    taken = Part(value=texts, rows=every_row(3)).of(Rows(np.array([True, False, True])))

    assert split_bytes("", 2, taken.value.raw) == [b"a", b"ccc"]


@pytest.mark.parametrize(
    ("other", "kind", "reason"),
    [
        (TensorValue(DataType.INT64, (1, 1), bytes(8)), OutputContract, "OUTPUT_CONTRACT"),
        (TensorValue(DataType.FP32, (1, 2), bytes(8)), InvalidInput, "MIXED_ROWS"),
        (TensorValue(DataType.FP32, (2, 1), bytes(8)), OutputContract, "OUTPUT_CONTRACT"),
    ],
)
def test_rows_that_fit_into_no_tensor_are_refused(other: TensorValue, kind: type[ServingError], reason: str):
    first = Part(value=fp32(1.0), rows=Rows(np.array([True, False])))

    with pytest.raises(kind) as refused:
        together([first, Part(value=other, rows=Rows(np.array([False, True])))], every_row(2), "s")

    assert refused.value.reason == reason
