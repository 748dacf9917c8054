"""A graph.toml says what runs, in which order, and is refused where it could not."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.declared_graphs import declared_graph, graph_config
from penstock.contracts.errors import InvalidInput
from penstock.contracts.graph_edges import edge_problems
from penstock.contracts.graph_order import may_be_skipped
from penstock.contracts.graph_text import from_json, from_toml
from penstock.contracts.graphs import Combine, Comparison, OnFailure, Source
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType

TENSORS = """
max_batch_size = 8
[[input]]
name = "a"
data_type = "FP32"
dims = [2]
[[output]]
name = "z"
data_type = "FP32"
dims = [2]
from = "{origin}"
"""


def toml(*steps: str, origin: str = "last.y") -> str:
    return TENSORS.format(origin=origin) + "".join(f"[[step]]\n{step}\n" for step in steps)


def model(name: str, reads: str = "a", *more: str) -> str:
    return "\n".join((f'name = "{name}"', f'model = "m_{name}"', f'inputs = {{ x = "{reads}" }}', *more))


def test_everything_that_can_be_said_is_read():
    text = toml(
        model("gate", "a", 'version = "3"', "timeout_seconds = 0.5"),
        model("left", "a", 'when = { tensor = "gate.y", is = ">=", value = 0.5 }'),
        model(
            "right", "a", 'when = { otherwise = "left" }', 'on_failure = "default"', "default.y = { data_type = 'FP32', value = [1, 2] }"
        ),
        'name = "either"\ncombine = "first"\nof = ["left.y", "right.y"]',
        origin="either.output",
    )

    graph = from_toml(text).graph

    gate, left, right, either = graph.steps
    assert (gate.model, gate.version, gate.timeout_seconds) == ("m_gate", "3", 0.5)
    assert left.when is not None
    assert (left.when.source, left.when.comparison, left.when.value) == (Source(step="gate", tensor="y"), Comparison.AT_LEAST, 0.5)
    assert (right.on_failure, right.defaults["y"].shape, len(right.defaults["y"].raw)) == (OnFailure.DEFAULT, (2,), 8)
    assert (either.combine, either.of) == (Combine.FIRST, (Source(step="left", tensor="y"), Source(step="right", tensor="y")))
    assert graph.signature.max_batch_size == 8
    assert graph.signature.inputs[0].shape == (-1, 2)


def test_steps_are_ordered_whatever_order_they_are_written_in():
    graph = from_toml(toml(model("last", "mid.y"), model("mid", "first.y"), model("first"))).graph

    assert [step.name for step in graph.steps] == ["first", "mid", "last"]


def test_a_graph_travels_in_the_configuration_and_comes_out_the_same():
    version = from_toml(toml(model("first"), model("last", "first.y", 'version = "2"')))

    assert from_json(version.text) == version
    assert declared_graph(graph_config(version)) == version.graph


def test_the_example_in_the_documentation_is_a_graph():
    text = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]

    assert [step.name for step in from_toml(example).graph.steps] == ["net", "forest", "blend"]


def test_a_configuration_without_a_graph_declares_none():
    assert declared_graph(b"") is None
    assert declared_graph(b"\xff penstock.graph") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (toml(model("last", "next.y"), model("next", "last.y")), "circle"),
        (toml(model("last", "nobody.y")), "no step 'nobody'"),
        (toml(model("last", "b")), "neither an input"),
        (toml(model("last"), model("last")), "given twice"),
        (toml(model("last"), model("idle")), "read by nothing"),
        (toml(), "1 to 32 steps"),
        (toml(*(model(f"s{n}", f"s{n - 1}.y" if n else "a") for n in range(20)), model("last", "s19.y")), "the limit is 12"),
        (toml(model("last", "a", 'when = { parameter = "tier", is = "==", value = "gold" }')), "may be skipped"),
        (toml(model("last", "a", 'on_failure = "skip"')), "may be skipped"),
        (toml(model("last", "a", 'on_failure = "default"')), "goes with on_failure"),
        (toml(model("last", "a", 'on_failure = "default"', "default.q = { data_type = 'FP32', value = [1] }")), "says nothing of y"),
        (toml(model("last", "a", 'on_failure = "maybe"')), "is not one of"),
        (toml('name = "last"\ncombine = "first"\nof = ["a"]\ndefault.y = { data_type = "FP32", value = [1, 2] }'), "is for 'output'"),
        (toml(model("last", "a", "timeout_seconds = 0")), "timeout_seconds"),
        (toml(model("last", "a", 'combine = "mean"')), "either 'model' or 'combine'"),
        (toml(model("last", "a", "retries = 3")), "unknown key"),
        (toml(model("last", "a", 'when = { tensor = "a", is = ">", value = "x" }')), "needs a number"),
        (toml(model("last", "a", 'when = { tensor = "a", parameter = "b" }')), "names one of"),
        (toml(model("last")) + "[response_cache]\nenable = true\n", "nothing that a graph has"),
        (toml(model("last")).replace('from = "last.y"', ""), "must say where it comes from"),
        (toml(model("last")).replace("dims = [2]", "dims = [2]\noptional = true", 1), "a graph has a name"),
        (toml('name = "last"\ncombine = "mean"\nof = ["a"]'), "gives 'output' alone"),
        ("[[step]", "graph.toml"),
    ],
)
def test_what_could_not_run_is_refused_with_the_place(text: str, told: str):
    with pytest.raises(InvalidInput, match=told.replace("[", r"\[")):
        from_toml(text)


def test_a_step_and_the_one_that_stands_for_it_leave_nothing_out():
    stands_for = toml(
        model("sure", "a", 'on_failure = "skip"'),
        model("spare", "a", 'when = { otherwise = "sure" }'),
        'name = "last"\ncombine = "first"\nof = ["sure.y", "spare.y"]',
        origin="last.output",
    )
    graph = from_toml(stands_for).graph

    assert may_be_skipped(graph) == {"sure", "spare"}


PARTIAL = (
    model("some", "a", "when = { parameter = 'p' }"),
    'name = "last"\ncombine = "first"\nof = ["some.y"]\ndefault.output = { data_type = "FP32", value = [0.5, 0.5] }',
)


def test_a_combination_with_a_default_leaves_nothing_out():
    graph = from_toml(toml(*PARTIAL, origin="last.output")).graph

    assert may_be_skipped(graph) == {"some"}


def test_a_default_of_a_combination_has_to_be_like_its_tensors():
    graph = from_toml(toml(*PARTIAL, origin="last.output").replace("[0.5, 0.5]", "[0.5]")).graph

    assert any("its default is FP32[-1,1]" in problem for problem in edge_problems(graph, {"some": FITTING}))


def spec(name: str, *shape: int, kind: DataType = DataType.FP32) -> TensorSpec:
    return TensorSpec(name=name, datatype=kind, shape=shape)


FITTING = Signature(inputs=(spec("x", -1, 2),), outputs=(spec("y", -1, 2),), max_batch_size=64)


def test_edges_that_fit_have_no_problems():
    graph = from_toml(toml(model("first"), model("last", "first.y"))).graph

    assert edge_problems(graph, {}) == ()
    assert edge_problems(graph, {"first": FITTING, "last": FITTING}) == ()


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (Signature(inputs=(spec("x", -1, 3),), outputs=(spec("y", -1, 2),), max_batch_size=64), "takes x FP32[-1,3]"),
        (Signature(inputs=(spec("x", -1, 2, kind=DataType.INT64),), outputs=(spec("y", -1, 2),), max_batch_size=64), "takes x INT64"),
        (Signature(inputs=(spec("q", -1, 2),), outputs=(spec("y", -1, 2),), max_batch_size=64), "has no input 'x'"),
        (Signature(inputs=(spec("x", -1, 2), spec("w", -1, 1)), outputs=(spec("y", -1, 2),), max_batch_size=64), "needs input 'w'"),
        (Signature(inputs=(spec("x", -1, 2),), outputs=(spec("p", -1, 2),), max_batch_size=64), "gives no output 'y'"),
        (Signature(inputs=(spec("x", -1, 2),), outputs=(spec("y", -1, 5),), max_batch_size=64), "output z FP32[-1,2] of the graph"),
        (Signature(inputs=(spec("x", -1, 2),), outputs=(spec("y", -1, 2),), max_batch_size=4), "takes 4 rows at once, the graph 8"),
        (Signature(inputs=(spec("x", 1, 2),), outputs=(spec("y", 1, 2),)), "takes no rows at once"),
    ],
)
def test_edges_that_do_not_fit_are_named(signature: Signature, told: str):
    graph = from_toml(toml(model("last"))).graph

    assert any(told in problem for problem in edge_problems(graph, {"last": signature}))
