"""The planner of graphs begins every step once, as soon as it can, and none that need not run."""

from __future__ import annotations

import struct
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import DeadlineExceeded, InvalidInput, ModelNotFound, NoReadyReplica, OutputContract
from penstock.contracts.graph_order import graph_of
from penstock.contracts.graphs import COMBINED, Combine, Comparison, Condition, Default, Graph, OnFailure, Source, Step
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType, join_bytes
from services.mesh.graph_plan import Asked, Begun, Over, defaults_of, next_steps, outputs_of, told_of
from services.mesh.graph_rows import every_row
from services.mesh.graph_tensors import TensorValue, combined

SPECS = (TensorSpec(name="a", datatype=DataType.FP32, shape=(-1, 1)), TensorSpec(name="z", datatype=DataType.FP32, shape=(-1, 1)))
SIGNATURE = Signature(inputs=SPECS[:1], outputs=SPECS[1:], max_batch_size=8)


def fp32(*values: float) -> TensorValue:
    return TensorValue(DataType.FP32, (len(values), 1), struct.pack(f"<{len(values)}f", *values))


def asked(*values: float, **parameters: object) -> Asked:
    return Asked(inputs={"a": fp32(*values)}, parameters=parameters.get, rows=len(values))  # type: ignore[arg-type]


def at(name: str) -> Source:
    step, _, tensor = name.rpartition(".")
    return Source(step=step, tensor=tensor)


def model(name: str, *reads: str, **more: object) -> Step:
    return Step(name=name, model="m", inputs={f"x{index}": at(read) for index, read in enumerate(reads)}, **more)  # type: ignore[arg-type]


def combine(name: str, how: Combine, *reads: str, **more: object) -> Step:
    return Step(name=name, combine=how, of=tuple(map(at, reads)), **more)  # type: ignore[arg-type]


def names(begun: Collection[Begun]) -> list[str]:
    return [one.step.name for one in begun]


def going(made: Graph, name: str) -> list[Begun]:
    return [Begun(step=step, rows=every_row(1)) for step in made.steps if step.name == name]


def graph(origin: str, *steps: Step) -> Graph:
    return graph_of(SIGNATURE, [at(origin)], steps)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs whose last step reads whatever else nobody reads; some steps are skipped when they fail, some wait for parameters."""
    names = [f"s{index}" for index in range(draw(st.integers(1, 7)))]
    steps: list[Step] = []
    for index, name in enumerate(names):
        reads = draw(st.lists(st.sampled_from(["a", *(f"{one}.y" for one in names[:index])]), min_size=1, max_size=3, unique=True))
        when = draw(st.sampled_from([None, Condition(parameter="p"), *(Condition(otherwise=one) for one in names[:index])]))
        steps.append(model(name, *reads, when=when, on_failure=draw(st.sampled_from([OnFailure.FAIL, OnFailure.SKIP]))))
    read = {source.step for step in steps for source in step.sources} | {step.when.otherwise for step in steps if step.when is not None}
    last = combine("last", Combine.FIRST, *(f"{name}.y" for name in names if name not in read), "a")
    return graph("last.output", *steps, last)


@given(graphs(), st.data())
def test_every_step_begins_at_most_once_after_what_it_reads_and_the_graph_ends(made: Graph, data: st.DataObject):
    request = asked(1.0, **({"p": True} if data.draw(st.booleans()) else {}))
    over: dict[str, Over] = {}
    running: dict[str, Begun] = {}
    begun: list[str] = []
    for _ in range(100):
        coming = next_steps(made, request, over, running.values())
        assert not coming.over.keys() & (over.keys() | running.keys())
        over |= coming.over
        for one in coming.begin:
            assert all(not over[source.step].is_skipped for source in one.step.sources if source.step)
        begun += names(coming.begin)
        running |= {one.step.name: one for one in coming.begin}
        found = outputs_of(made, request, over)
        if found is not None:
            break
        ended = data.draw(st.sampled_from(sorted(running)))
        step = running.pop(ended).step
        is_lost = step.on_failure is OnFailure.SKIP and data.draw(st.booleans())
        over[ended] = Over(is_skipped=True) if is_lost else Over(tensors={"y": fp32(2.0)})

    assert found is not None
    assert len(begun) == len(set(begun))


def test_branches_begin_together_and_what_joins_them_waits_for_all():
    made = graph("join.y", model("left", "a"), model("right", "a"), model("join", "left.y", "right.y"))

    first = next_steps(made, asked(1.0), {}, ())
    half = next_steps(made, asked(1.0), {"left": Over(tensors={"y": fp32(1.0)})}, going(made, "right"))
    both = next_steps(made, asked(1.0), {name: Over(tensors={"y": fp32(1.0)}) for name in ("left", "right")}, ())

    assert names(first.begin) == ["left", "right"]
    assert half.begin == ()
    assert names(both.begin) == ["join"]


@pytest.mark.parametrize(
    ("comparison", "value", "rows", "runs"),
    [
        (Comparison.AT_LEAST, 0.5, (0.5, 0.9), True),
        (Comparison.AT_LEAST, 0.5, (0.4, 0.1), False),
        (Comparison.BELOW, 0.5, (0.4,), True),
        (Comparison.EQUAL, 2, (2.0,), True),
        (Comparison.UNEQUAL, 2, (2.0,), False),
        (Comparison.ABOVE, 2, (2.0,), False),
        (Comparison.AT_MOST, 2, (2.0,), True),
    ],
)
def test_a_condition_is_decided_by_all_rows(comparison: Comparison, value: float, rows: tuple[float, ...], runs: bool):
    when = Condition(source=at("a"), comparison=comparison, value=value)
    made = graph("e.output", model("s", "a", when=when), combine("e", Combine.FIRST, "s.y", "a"))

    coming = next_steps(made, asked(*rows), {}, ())

    assert names(coming.begin) == (["s"] if runs else [])
    assert ("s" in coming.over) is not runs


def test_a_row_that_disagrees_with_itself_about_a_condition_is_refused_by_step_and_row():
    when = Condition(source=at("a"), comparison=Comparison.ABOVE, value=0.5)
    made = graph("e.output", model("s", "a", when=when), combine("e", Combine.FIRST, "s.y", "a"))
    pairs = TensorValue(DataType.FP32, (2, 2), struct.pack("<4f", 0.9, 0.8, 0.1, 0.9))

    with pytest.raises(InvalidInput, match="step 's' on a holds for some elements of row 1") as refused:
        next_steps(made, Asked(inputs={"a": pairs}, parameters={}.get, rows=2), {}, ())

    assert refused.value.reason == "MIXED_ROWS"


@pytest.mark.parametrize(("given", "runs"), [({}, False), ({"tier": "gold"}, True), ({"tier": "tin"}, False), ({"tier": 1}, False)])
def test_a_parameter_decides_when_the_request_has_it(given: dict[str, object], runs: bool):
    made = graph("e.output", model("s", "a", when=Condition(parameter="tier", value="gold")), combine("e", Combine.FIRST, "s.y", "a"))

    assert bool(next_steps(made, asked(1.0, **given), {}, ()).begin) is runs


def test_the_first_tensor_is_taken_before_what_comes_later_is_there():
    made = graph("e.output", model("quick", "a"), model("slow", "a"), combine("e", Combine.FIRST, "quick.y", "slow.y"))

    coming = next_steps(made, asked(1.0), {"quick": Over(tensors={"y": fp32(7.0)})}, going(made, "slow"))

    assert coming.over["e"].tensors[COMBINED] == fp32(7.0)


def test_what_was_skipped_does_not_count_in_a_mean():
    made = graph("e.output", model("l", "a", on_failure=OnFailure.SKIP), model("r", "a"), combine("e", Combine.MEAN, "l.y", "r.y"))

    coming = next_steps(made, asked(1.0), {"l": Over(is_skipped=True), "r": Over(tensors={"y": fp32(3.0)})}, ())

    assert coming.over["e"].tensors[COMBINED] == fp32(3.0)


def test_an_output_that_no_condition_left_is_refused():
    made = graph("e.output", model("s", "a", when=Condition(parameter="p")), combine("e", Combine.FIRST, "s.y"))

    with pytest.raises(OutputContract) as refused:
        outputs_of(made, asked(1.0), next_steps(made, asked(1.0), {}, ()).over)

    assert refused.value.reason == "NO_BRANCH"


def test_an_output_of_another_type_than_declared_is_refused():
    made = graph("s.y", model("s", "a"))
    wrong = TensorValue(DataType.INT64, (1, 1), bytes(8))

    with pytest.raises(OutputContract, match=r"INT64\[1,1\]"):
        outputs_of(made, asked(1.0), {"s": Over(tensors={"y": wrong})})


def test_declared_values_stand_for_every_row():
    default = Default(datatype=DataType.FP32, shape=(1,), raw=struct.pack("<f", 0.5))
    step = model("s", "a", on_failure=OnFailure.DEFAULT, defaults={"y": default})
    made = graph("s.y", step)

    assert defaults_of(made, step, 3)["y"] == fp32(0.5, 0.5, 0.5)


def test_combinations_of_numbers_and_texts():
    texts = [TensorValue(DataType.BYTES, (1, 2), join_bytes([*map(str.encode, pair)])) for pair in ("ab", "cb", "ad", "ce")]

    assert combined(Combine.MEAN, [fp32(1.0, 2.0), fp32(3.0, 6.0)], "s") == fp32(2.0, 4.0)
    assert combined(Combine.VOTE, [fp32(1.0, 5.0), fp32(2.0, 6.0), fp32(2.0, 5.0)], "s") == fp32(2.0, 5.0)
    assert combined(Combine.VOTE, texts, "s").raw == join_bytes([b"a", b"b"])
    with pytest.raises(OutputContract, match="alike"):
        combined(Combine.VOTE, [fp32(1.0), fp32(1.0, 2.0)], "s")


@pytest.mark.parametrize(
    ("error", "reads", "kind", "reason"),
    [
        (DeadlineExceeded("too late"), "a", DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (ModelNotFound("no such model"), "a", NoReadyReplica, "NO_READY_REPLICA"),
        (InvalidInput("a shape", reason="SHAPE_MISMATCH"), "a", InvalidInput, "SHAPE_MISMATCH"),
        (InvalidInput("a shape", reason="SHAPE_MISMATCH"), "b.y", OutputContract, "OUTPUT_CONTRACT"),
        (InvalidInput("priority 9", reason="BAD_PARAMETER"), "b.y", InvalidInput, "BAD_PARAMETER"),
    ],
)
def test_a_failed_step_is_named_and_blamed_on_whom_it_concerns(error: Exception, reads: str, kind: type, reason: str):
    told = told_of("g@1", model("s", reads), error)  # type: ignore[arg-type]

    assert type(told) is kind
    assert told.reason == reason
    assert told.message.startswith("graph g@1: step 's' (m): ")
