"""Triton's ensembles are read into graphs, and what Triton refuses is refused by step and tensor."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.declared_graphs import declared_graph, graph_config
from penstock.contracts.ensembles import from_ensemble, says_ensemble
from penstock.contracts.errors import InvalidInput, NotImplementedHere, ServingError
from penstock.contracts.graphs import Source
from penstock.contracts.model_config import Specific
from penstock.oip.v2 import model_config_pb2 as pb

PRE = '{ model_name: "pre" model_version: -1 input_map { key: "x" value: "RAW" } output_map { key: "y" value: "clean" } }'
NET = '{ model_name: "net.v2" model_version: 3 input_map { key: "x" value: "clean" } output_map { key: "y" value: "SCORE" } }'
HEAD = """
name: "chain"
platform: "ensemble"
max_batch_size: 4
input [ { name: "RAW" data_type: TYPE_STRING dims: [1] } ]
output [ { name: "SCORE" data_type: TYPE_FP32 dims: [2] } ]
"""


def ensemble(*steps: str, head: str = HEAD, more: str = "") -> str:
    return f"{head} ensemble_scheduling {{ step [ {', '.join(steps)} ] {more} }}"


def test_maps_become_edges_whatever_order_the_steps_are_written_in():
    version = from_ensemble(ensemble(NET, PRE))

    pre, net = version.graph.steps
    assert (pre.name, pre.model, pre.version, pre.inputs) == ("pre", "pre", "", {"x": Source(tensor="RAW")})
    assert (net.name, net.model, net.version, net.inputs) == ("net_v2", "net.v2", "3", {"x": Source(step="pre", tensor="y")})
    assert version.graph.outputs == (Source(step="net_v2", tensor="y"),)
    assert (version.config.name, version.graph.signature.max_batch_size) == ("chain", 4)
    assert version.graph.signature.inputs[0].shape == (-1, 1)


def test_a_tensor_feeds_several_steps_and_an_output():
    both = '{ model_name: "pre" model_version: -1 input_map [ { key: "l" value: "clean" }, { key: "r" value: "RAW" } ] '
    both += 'output_map { key: "z" value: "SCORE" } }'
    head = HEAD + 'output [ { name: "clean" data_type: TYPE_FP32 dims: [2] } ]'

    graph = from_ensemble(ensemble(PRE, both, head=head)).graph

    assert [step.name for step in graph.steps] == ["pre", "pre_2"]
    assert graph.steps[1].inputs == {"l": Source(step="pre", tensor="y"), "r": Source(tensor="RAW")}
    assert graph.outputs == (Source(step="pre_2", tensor="z"), Source(step="pre", tensor="y"))


def test_clients_read_the_ensemble_as_it_was_written_and_routers_the_graph():
    version = from_ensemble(ensemble(PRE, NET))

    config = graph_config(version)

    assert declared_graph(config) == version.graph
    told = pb.ModelConfig.FromString(config)
    assert told.platform == "ensemble"
    assert [(step.model_name, step.model_version) for step in told.ensemble_scheduling.step] == [("pre", -1), ("net.v2", 3)]
    assert dict(told.ensemble_scheduling.step[1].output_map) == {"y": "SCORE"}


def test_a_version_policy_and_parameters_are_the_ensembles_own():
    head = HEAD + 'version_policy { specific { versions: [2] } } parameters { key: "team" value { string_value: "a" } }'

    config = from_ensemble(ensemble(PRE, NET, head=head, more="max_inflight_requests: 3")).config

    assert config.version_policy == Specific(versions=("2",))
    assert config.parameters == {"team": "a"}
    assert config.ignored == ("ensemble_scheduling.max_inflight_requests",)


def test_what_is_meant_as_an_ensemble_is_told_from_other_models():
    assert says_ensemble(ensemble(PRE))
    assert says_ensemble('platform: "ensemble"')
    assert says_ensemble("ensemble_scheduling { step { model_nam")
    assert not says_ensemble('name: "my_ensemble" # no ensemble_scheduling')
    assert not says_ensemble("max_batch_size: {")


NO_INPUTS = '{ model_name: "m" model_version: -1 output_map { key: "y" value: "SCORE" } }'
NO_OUTPUTS = '{ model_name: "m" model_version: -1 input_map { key: "x" value: "RAW" } }'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ensemble(), "needs steps"),
        (ensemble(PRE, NET, head=HEAD.replace('"ensemble"', '"onnxruntime_onnx"')), "platform"),
        (ensemble(PRE, NET, head=HEAD + 'backend: "python"'), "it has no backend"),
        (ensemble("{ model_version: -1 }"), r"step\[0\]: needs 'model_name'"),
        (ensemble(NO_INPUTS), r"step\[0\] \(m\): needs 'input_map'"),
        (ensemble(NO_OUTPUTS), r"step\[0\] \(m\): needs 'output_map'"),
        (ensemble(PRE, NET.replace("model_version: 3", "")), r"step\[1\] \(net.v2\): 'model_version' 0 is neither a version nor -1"),
        (ensemble(PRE, NET.replace("3", "-2")), "'model_version' -2"),
        (ensemble(PRE, NET.replace('"net.v2"', '"net.v2" model_namespace: "a"')), "'model_namespace' is not served"),
        (ensemble(PRE, NET.replace("clean", "dirty")), r"step\[1\] \(net.v2\).input_map\[x\]: reads tensor 'dirty'"),
        (
            ensemble(PRE, NET.replace("SCORE", "clean")),
            r"output_map\[y\]: writes tensor 'clean', which .*step\[0\] \(pre\)",
        ),
        (ensemble(PRE, NET.replace("SCORE", "RAW")), r"output_map\[y\]: writes tensor 'RAW', which is an input"),
        (ensemble(PRE, NET.replace("SCORE", "LOST")), "output.SCORE: is in no 'output_map'"),
        (ensemble(PRE, NET.replace('"SCORE" }', '"SCORE" } output_map { key: "w" value: "idle" }')), "'idle', which nothing reads"),
        (ensemble(PRE, NET, head=HEAD + 'input { name: "MORE" data_type: TYPE_FP32 dims: [1] }'), "input.MORE: is in no 'input_map'"),
        (ensemble(PRE.replace("RAW", "SCORE"), NET, head=HEAD.replace("RAW", "clean")), "writes tensor 'clean'"),
        (
            ensemble(PRE.replace('"RAW" }', '"RAW" } input_map { key: "w" value: "SCORE" }'), NET),
            r"circle: .*step\[0\] \(pre\) for tensor 'SCORE', .*step\[1\] \(net.v2\) for tensor 'clean'",
        ),
        (ensemble(PRE, NET, head=HEAD + "instance_group { count: 2 }"), "instance_groups: is nothing that a graph has"),
        (ensemble(PRE, NET, head=HEAD.replace("dims: [2]", 'dims: [2] label_filename: "l.txt"')), "of a graph has a name"),
        (ensemble(PRE, NET, head=HEAD + "nonsense: 1"), "config.pbtxt"),
    ],
)
def test_an_ensemble_that_could_not_run_is_refused_with_step_and_tensor(text: str, told: str):
    with pytest.raises(InvalidInput, match=told):
        from_ensemble(text)


def test_other_settings_of_triton_are_refused_as_for_every_model():
    with pytest.raises(NotImplementedHere, match="decoupled"):
        from_ensemble(ensemble(PRE, NET, head=HEAD + "model_transaction_policy { decoupled: true }"))


def test_an_ensemble_has_no_more_steps_than_a_graph():
    many = [PRE.replace("clean", f"t{n}").replace("RAW", f"t{n - 1}" if n else "RAW") for n in range(40)]

    with pytest.raises(ServingError, match="1 to 32 steps"):
        from_ensemble(ensemble(*many, NET.replace("clean", "t39")))


def test_the_example_in_the_documentation_is_an_ensemble():
    text = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text()
    example = text.split("```protobuf\n")[1].split("```")[0]

    assert [step.name for step in from_ensemble(example).graph.steps] == ["tokenize", "classify"]
