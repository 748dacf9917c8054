"""A configuration and its graph agree, or the refusal names both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.contracts.model_config import (
    DEFAULT_MAX_BATCH_SIZE,
    DynamicBatching,
    GraphSignature,
    GraphTensor,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
    from_json,
    from_pbtxt,
    from_toml,
    to_json,
)
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType
from tests.contracts.graphs import FIXED, ROWS, completed, graph, tensor


def test_everything_comes_from_the_graph_when_nothing_is_configured():
    model = completed(None)

    assert model.signature.inputs == (TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 30), symbols=("N", "")),)
    assert model.signature.outputs == (TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 2)),)
    assert model.config == ModelConfig(
        name="m",
        max_batch_size=DEFAULT_MAX_BATCH_SIZE,
        inputs=(TensorConfig(name="x", datatype=DataType.FP32, dims=(30,)),),
        outputs=(TensorConfig(name="y", datatype=DataType.FP32, dims=(2,)),),
        instance_groups=(InstanceGroup(name="m_0"),),
        batching=DynamicBatching(),
        default_model_filename="model.onnx",
    )


def test_configured_dims_decide_between_the_two_readings():
    without = completed(from_pbtxt('input { name: "x" dims: [30] }'))
    included = completed(from_pbtxt('input { name: "x" dims: [-1, 30] }'))

    assert (without.config.max_batch_size, without.signature.inputs[0].shape) == (64, (-1, 30))
    assert (included.config.max_batch_size, included.signature.inputs[0].shape) == (0, (-1, 30))


def test_a_maximum_of_zero_means_no_batch_dimension():
    model = completed(from_pbtxt("max_batch_size: 0"))

    assert (model.config.max_batch_size, model.config.inputs[0].dims) == (0, (-1, 30))
    assert model.config.batching is None


def test_a_configured_maximum_leaves_the_batch_dimension_out_of_dims():
    model = completed(from_pbtxt('max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 30 } output { name: "y" dims: 2 }'))

    assert model.signature.max_batch_size == 8
    assert [spec.shape for spec in (*model.signature.inputs, *model.signature.outputs)] == [(-1, 30), (-1, 2)]


def test_a_model_without_inputs_has_no_rows_to_count():
    told = graph(outputs=(tensor("y", "N", 2),))

    assert completed(None, of=told).signature.max_batch_size == 0
    with pytest.raises(InvalidInput, match="is 4, but the model takes no input"):
        completed(from_toml("max_batch_size = 4"), of=told)


def test_a_preferred_size_above_the_default_raises_it():
    assert completed(from_toml("dynamic_batching.preferred_batch_size = [128]")).config.max_batch_size == 128


def test_models_of_one_row_and_configured_batching_are_left_alone():
    assert completed(from_toml("max_batch_size = 1")).config.batching is None
    config = from_toml("dynamic_batching.max_queue_delay_microseconds = 7")
    assert completed(config).config.batching == DynamicBatching(max_queue_delay_microseconds=7)


def test_dims_may_be_narrower_than_the_graph():
    wide = graph(tensor("x", "N", "length", 3))

    model = completed(from_toml("max_batch_size = 4\n[[input]]\nname = 'x'\ndims = [16, 3]"), wide)

    assert model.signature.inputs[0] == TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 16, 3), symbols=("N", "", ""))


def test_only_configured_outputs_are_served_but_all_required_inputs():
    two = graph(tensor("x", "N", 3), tensor("z", "N"), outputs=(tensor("a", "N"), tensor("b", "N")))

    model = completed(from_toml("input = [{name = 'z'}]\noutput = [{name = 'b'}]"), two)

    assert [spec.name for spec in model.signature.inputs] == ["z", "x"]
    assert [spec.name for spec in model.signature.outputs] == ["b"]


def test_a_weight_that_can_be_overridden_is_an_input_only_when_configured():
    with_weight = graph(tensor("x", "N", 3), tensor("w", "N", 3, optional=True))

    assert [spec.name for spec in completed(None, with_weight).signature.inputs] == ["x"]
    asked = completed(from_toml("input = [{name = 'x'}, {name = 'w', optional = true}]"), with_weight)
    assert [(spec.name, spec.optional) for spec in asked.signature.inputs] == [("x", False), ("w", True)]


def test_labels_belong_to_their_output():
    config = from_toml("output = [{name = 'y', label_filename = 'labels.txt'}]")

    model = completed(config, labels={"y": ["cat", "dog"]})

    assert model.signature.outputs[0].labels == ("cat", "dog")


def test_a_reshape_shows_callers_one_shape_and_the_graph_another():
    scalars = graph(tensor("x", "N"), outputs=(tensor("y", "N", 2, 3),))
    config = from_toml(
        "input = [{name = 'x', dims = [1], reshape.shape = []}]\noutput = [{name = 'y', dims = [6], reshape.shape = [2, 3]}]"
    )

    model = completed(config, scalars)

    assert model.config.max_batch_size == 64
    assert (model.signature.inputs[0].shape, model.signature.outputs[0].shape) == ((-1, 1), (-1, 6))
    assert model.reshapes == {"x": (), "y": (2, 3)}


def test_without_a_reshape_callers_and_graph_see_the_same():
    assert completed(None).reshapes == {}


def test_outputs_that_are_no_tensors_can_be_left_out():
    zipmap = GraphTensor(name="probabilities", onnx_type="seq(map(int64,tensor(float)))", shape=())
    forest = graph(tensor("x", "N", 3), outputs=(tensor("label", "N", kind="int64"), zipmap))

    with pytest.raises(NotImplementedHere, match="zipmap=False"):
        completed(None, forest)
    assert completed(from_toml("output = [{name = 'label'}]"), forest).signature.outputs[0].datatype is DataType.INT64


def test_an_input_that_is_no_tensor_is_refused_without_advice_for_outputs():
    texts = graph(GraphTensor(name="x", onnx_type="seq(tensor(string))", shape=()), outputs=(tensor("y", "N"),))

    with pytest.raises(NotImplementedHere, match=r"^input 'x' of the model is seq\(tensor\(string\)\), .*: export it as a plain tensor$"):
        completed(None, texts)


CONTRADICTIONS = [
    ("name = 'other'", ROWS, ["name: is 'other'", "folder is 'm'"]),
    ("max_batch_size = 8", FIXED, ["max_batch_size: is 8", "'x' of the model has the shape [1, 30]"]),
    (
        "max_batch_size = 8",
        graph(tensor("x", "N", 3), outputs=(tensor("y"),)),
        ["max_batch_size: is 8", "'y' of the model has the shape []"],
    ),
    ("input = [{name = 'X'}]", ROWS, ["'X' is configured", "has no such input", "the model has 'x'"]),
    ("input = [{name = 'feature'}]", graph(tensor("features", "N", 3)), ["did you mean 'features'?"]),
    ("output = [{name = 'z'}]", ROWS, ["'z' is configured", "has no such output"]),
    ("input = [{name = 'x', data_type = 'INT64'}]", ROWS, ["TYPE_INT64 in the configuration", "TYPE_FP32 in the model"]),
    ("max_batch_size = 4\ninput = [{name = 'x', dims = [31]}]", ROWS, ["input 'x'.dims", "[31] in the configuration", "[30] in the model"]),
    ("max_batch_size = 4\ninput = [{name = 'x', dims = [-1]}]", ROWS, ["[-1] in the configuration", "[30] in the model"]),
    ("max_batch_size = 4\ninput = [{name = 'x', dims = [-1, 30]}]", ROWS, ["[-1, 30] in the configuration", "without the batch dimension"]),
    ("max_batch_size = 0\ninput = [{name = 'x', dims = [30]}]", ROWS, ["[30] in the configuration", "[-1, 30] in the model"]),
    (
        "input = [{name = 'x', dims = [30]}]\noutput = [{name = 'y', dims = [-1, 2]}]",
        ROWS,
        ["'y' includes the batch dimension and 'x' does not"],
    ),
    ("input = [{name = 'x', optional = true}]", ROWS, ["input 'x'.optional", "no value of its own"]),
    ("input = [{name = 'x', dims = [29], reshape.shape = [30]}]", ROWS, ["[30] has other elements than dims [29]"]),
    ("input = [{name = 'x', dims = [31], reshape.shape = [31]}]", ROWS, ["[31] in the configuration", "[30] in the model"]),
    ("dynamic_batching.preferred_batch_size = [4]", FIXED, ["4 is more than max_batch_size 0"]),
]


@pytest.mark.parametrize(("text", "of", "words"), CONTRADICTIONS, ids=[case[0] for case in CONTRADICTIONS])
def test_a_contradiction_is_refused_and_both_sides_are_named(text: str, of: GraphSignature, words: list[str]):
    with pytest.raises(InvalidInput) as caught:
        completed(from_toml(text), of)

    assert [word for word in words if word not in caught.value.message] == []


SIZES = st.integers(1, 9) | st.none() | st.sampled_from(["N", "M"])
GRAPHS = st.builds(
    lambda inputs, outputs: GraphSignature(
        inputs=tuple(tensor(f"i{index}", *shape) for index, shape in enumerate(inputs)),
        outputs=tuple(tensor(f"o{index}", *shape) for index, shape in enumerate(outputs)),
    ),
    st.lists(st.lists(SIZES, max_size=3), min_size=1, max_size=3),
    st.lists(st.lists(SIZES, max_size=3), min_size=1, max_size=3),
)


@given(GRAPHS, st.booleans())
def test_a_completed_configuration_completes_to_itself(of: GraphSignature, through_json: bool):
    once = completed(None, of)

    again = completed(from_json(to_json(once.config)) if through_json else once.config, of)

    assert again == once


@given(GRAPHS)
def test_a_signature_always_has_the_graphs_ranks(of: GraphSignature):
    signature = completed(None, of).signature

    given_shapes = [one.sizes for one in (*of.inputs, *of.outputs)]
    assert [spec.shape for spec in (*signature.inputs, *signature.outputs)] == given_shapes
