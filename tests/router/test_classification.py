import numpy as np
import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType, fp32_to_bf16
from services.router.classification import check_count, classify


def scores(*, datatype=DataType.FP32, labels=(), shape=(-1, 3)):
    return TensorSpec(name="scores", datatype=datatype, shape=shape, labels=labels)


def test_the_best_classes_come_first_with_score_index_and_label():
    array = np.array([[0.25, 0.5, 0.125]], dtype=np.float32)

    found = classify(array, scores(labels=("cat", "dog", "owl")), 2, has_batch_dimension=True)

    assert found.tolist() == [[b"0.500000:1:dog", b"0.250000:0:cat"]]


def test_every_row_is_classified_by_itself():
    array = np.array([[1, 0, 0], [0, 0, 1]], dtype=np.float32)

    assert classify(array, scores(), 1, has_batch_dimension=True).tolist() == [[b"1.000000:0"], [b"1.000000:2"]]


def test_without_a_batch_dimension_all_elements_are_one_list():
    found = classify(np.array([3.0, 9.0]), scores(shape=(2,)), 2, has_batch_dimension=False)

    assert found.tolist() == [b"9.000000:1", b"3.000000:0"]


def test_equal_scores_keep_the_order_of_their_indices():
    found = classify(np.array([[1.0, 2.0, 2.0, 1.0]]), scores(shape=(-1, 4)), 4, has_batch_dimension=True)

    assert [text.split(b":")[1] for text in found[0]] == [b"1", b"2", b"0", b"3"]


def test_nan_is_never_the_best():
    found = classify(np.array([[np.nan, -5.0, 1.0]]), scores(), 3, has_batch_dimension=True)

    assert [text.split(b":")[1] for text in found[0]] == [b"2", b"1", b"0"]


def test_integer_scores_have_no_decimals_and_unsigned_ones_sort_as_numbers():
    found = classify(np.array([[0, 200, 3]], dtype=np.uint8), scores(datatype=DataType.UINT8), 2, has_batch_dimension=True)

    assert found.tolist() == [[b"200:1", b"3:2"]]


def test_bf16_bit_patterns_are_scores():
    bits = fp32_to_bf16(np.array([[0.5, 2.0, -1.0]], dtype=np.float32))

    assert classify(bits, scores(datatype=DataType.BF16), 1, has_batch_dimension=True).tolist() == [[b"2.000000:1"]]


def test_inner_dimensions_are_one_list_of_classes():
    found = classify(np.arange(8.0).reshape(2, 2, 2), scores(shape=(-1, 2, 2)), 1, has_batch_dimension=True)

    assert found.tolist() == [[b"3.000000:3"], [b"7.000000:3"]]


def test_an_empty_batch_gives_an_empty_result():
    assert classify(np.empty((0, 3)), scores(), 2, has_batch_dimension=True).shape == (0, 2)


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_counts_that_no_row_can_give_are_refused(count):
    with pytest.raises(InvalidInput, match="from 1 to 3"):
        classify(np.zeros((1, 3)), scores(), count, has_batch_dimension=True)
    with pytest.raises(InvalidInput, match="from 1 to 3"):
        check_count(scores(), count, has_batch_dimension=True)


@pytest.mark.parametrize("datatype", [DataType.BYTES, DataType.BOOL])
def test_outputs_without_scores_are_refused(datatype):
    with pytest.raises(InvalidInput, match="no scores"):
        check_count(scores(datatype=datatype), 1, has_batch_dimension=True)


def test_a_count_is_left_to_the_answer_when_the_signature_does_not_fix_the_classes():
    assert check_count(scores(shape=(-1, -1)), 1000, has_batch_dimension=True) == 1000
