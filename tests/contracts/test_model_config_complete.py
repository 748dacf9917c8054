"""A configuration and its graph agree, or the refusal names both sides."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from penstock.contracts.errors import InvalidInput, NotImplementedHere
from penstock.contracts.model_config import (
    DEFAULT_MAX_BATCH_SIZE,
    CompletedModel,
    DynamicBatching,
    GraphSignature,
    GraphTensor,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
    TextOptions,
    complete,
    from_json,
    from_pbtxt,
    from_toml,
    to_json,
)
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType

Shape = tuple[int | str | None, ...]


def tensor(name: str, *shape: int | str | None, kind: str = "float", optional: bool = False) -> GraphTensor:
    return GraphTensor(name=name, onnx_type=f"tensor({kind})", shape=shape, optional=optional)


def graph(*tensors: GraphTensor, outputs: tuple[GraphTensor, ...] | None = None) -> GraphSignature:
    return GraphSignature(inputs=tensors, outputs=(tensor("y", None, 2),) if outputs is None else outputs)


ROWS = graph(tensor("x", "N", 30))
FIXED = graph(tensor("x", 1, 30), outputs=(tensor("y", 1, 2),))


def completed(config: ModelConfig | None, of: GraphSignature = ROWS, **options: object) -> CompletedModel:
    return complete(config, of, name="m", **options)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("of", "rows"),
    [
        (ROWS, 64),
        (graph(tensor("x", "a", 3), tensor("z", "b")), 64),
        (graph(tensor("x", None, None)), 64),
        (graph(tensor("x", -1, 3)), 64),
        (FIXED, 0),
        (graph(tensor("x", "N", 3), tensor("z", 4)), 0),
        (graph(tensor("x", "N", 3), outputs=(tensor("y"),)), 0),
        (graph(tensor("x", "N", 3), outputs=(tensor("y", 1, 2),)), 0),
        (graph(tensor("x", "N", "N")), 0),
        (graph(tensor("x", "N", 3), tensor("z", "M", "N")), 0),
        (graph(outputs=(tensor("y", 3),)), 0),
    ],
    ids=str,
)
def test_the_graph_says_whether_the_first_dimension_counts_rows(of: GraphSignature, rows: int):
    model = completed(None, of)

    assert (model.config.max_batch_size, model.signature.max_batch_size) == (rows, rows)
    assert model.signature.has_batch_dimension is (rows > 0)


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


def warmup(batch_size: int = 1, name: str = "x", kind: str = "FP32", dims: str = "[30]") -> str:
    inputs = f"{{{name} = {{data_type = '{kind}', dims = {dims}, random_data = true}}}}"
    return f"model_warmup = [{{name = 'w', batch_size = {batch_size}, inputs = {inputs}}}]"


@pytest.mark.parametrize(
    ("text", "of", "message"),
    [
        (warmup(batch_size=65), ROWS, "is 65, but must be 1 to max_batch_size 64"),
        (warmup(batch_size=0), ROWS, "is 0, but must be 1 to max_batch_size 64"),
        (warmup(batch_size=2, dims="[1, 30]"), FIXED, "is 2, but the model has no batch dimension"),
        (warmup(name="z"), ROWS, "names inputs that the model does not have: 'z'"),
        (warmup(), graph(tensor("x", "N", 30), tensor("z", "N")), "leaves out inputs: 'z'"),
        (warmup(kind="FP64"), ROWS, "is TYPE_FP64, but the input is TYPE_FP32"),
        (warmup(dims="[31]"), ROWS, "are [31], but the input has [30]"),
        (warmup(dims="[1, 30]"), ROWS, "are [1, 30], but the input has [30]"),
    ],
)
def test_a_warmup_that_the_model_cannot_take_is_refused(text: str, of: GraphSignature, message: str):
    with pytest.raises(InvalidInput) as caught:
        completed(from_toml(text), of)

    assert message in caught.value.message


def test_a_warmup_that_fits_is_kept():
    assert completed(from_toml(warmup(batch_size=64))).config.warmup[0].batch_size == 64
    assert completed(from_toml(warmup(batch_size=0, dims="[1, 30]")), FIXED).config.warmup[0].batch_size == 0


TOKENS = (tensor("input_ids", "B", "T", kind="int64"), tensor("attention_mask", "B", "T", kind="int64"))
SENTENCES = graph(*TOKENS, outputs=(tensor("last_hidden_state", "B", "T", 384), tensor("pooler_output", "B", 384)))


def test_a_sentence_model_beside_its_tokenizer_reads_text_and_gives_embeddings():
    model = completed(None, SENTENCES, has_tokenizer=True)

    assert model.signature.inputs == (TensorSpec(name="text", datatype=DataType.BYTES, shape=(-1,), symbols=("B",), is_text=True),)
    assert model.signature.outputs == (TensorSpec(name="embedding", datatype=DataType.FP32, shape=(-1, 384), symbols=("B", "")),)
    assert model.signature.max_batch_size == 64
    assert model.config.text == TextOptions()
    assert model.text is not None
    assert (model.text.inputs, model.text.output, model.text.is_pooled) == (("input_ids", "attention_mask"), "last_hidden_state", False)
    assert (model.text.size, model.text.token_datatype, model.text.datatype) == (384, DataType.INT64, DataType.FP32)


def test_a_graph_that_pools_by_itself_is_not_pooled_again():
    pooled = graph(*TOKENS, outputs=(tensor("token_embeddings", "B", "T", 8), tensor("sentence_embedding", "B", 8)))

    model = completed(None, pooled, has_tokenizer=True)

    assert model.text is not None
    assert (model.text.output, model.text.is_pooled, model.text.size) == ("sentence_embedding", True, 8)


def test_a_classifier_or_language_model_beside_a_tokenizer_keeps_its_own_tensors():
    for logits in (tensor("logits", "B", 2), tensor("logits", "B", "T", 30522)):
        model = completed(None, graph(*TOKENS, outputs=(logits,)), has_tokenizer=True)

        assert model.text is None
        assert [spec.name for spec in model.signature.inputs] == ["input_ids", "attention_mask"]


def test_a_table_text_serves_an_output_of_any_name():
    model = completed(from_toml("[text]\npooling = 'cls'"), graph(*TOKENS, outputs=(tensor("hidden", "B", "T", 8),)), has_tokenizer=True)

    assert model.text is not None
    assert model.text.output == "hidden"
    assert model.config.text == model.text.options


@pytest.mark.parametrize(
    ("of", "has_tokenizer", "message"),
    [
        (SENTENCES, False, "the version folder has no file 'tokenizer.json'"),
        (ROWS, True, "the model's inputs are x"),
        (graph(tensor("input_ids", "B", "T")), True, "not all INT64 or all INT32"),
        (graph(tensor("input_ids", "B", kind="int64")), True, "not all INT64 or all INT32"),
        (graph(*TOKENS, outputs=(tensor("y", "B", kind="int64"),)), True, "none of the model's outputs"),
    ],
)
def test_a_table_text_that_the_model_cannot_serve_is_refused(of: GraphSignature, has_tokenizer: bool, message: str):
    with pytest.raises(InvalidInput) as caught:
        completed(from_toml("[text]"), of, has_tokenizer=has_tokenizer)

    assert message in caught.value.message


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


def test_a_real_session_is_understood():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.INT32)]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)
    values = [helper.make_tensor_value_info(name, kind, ["rows", size]) for name, kind, size in (("x", 1, 3), ("y", TensorProto.INT32, 2))]
    weights = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2])
    made = helper.make_graph(nodes, "g", [values[0], weights], [values[1]], [weight])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    of = GraphSignature.of(session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())

    assert of.inputs == (tensor("x", "rows", 3), tensor("w", 3, 2, optional=True))
    signature = completed(None, of).signature
    assert signature.inputs == (TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 3), symbols=("rows", "")),)
    assert signature.outputs == (TensorSpec(name="y", datatype=DataType.INT32, shape=(-1, 2), symbols=("rows", "")),)
