import json

import numpy as np
import pytest

from examples import datasets

TABLES = {"digits/1": datasets.digits, "digits/2": datasets.digits, "breast_cancer/1": datasets.breast_cancer}

VERSIONS = pytest.mark.parametrize("version", TABLES)


def accuracy(session, table):
    labels, _ = session.run(["label", "probabilities"], {session.get_inputs()[0].name: table.held_out_rows})
    return float(np.mean(labels.ravel() == table.held_out_labels))


@pytest.mark.parametrize(("version", "floor"), [("digits/1", 0.93), ("digits/2", 0.97), ("breast_cancer/1", 0.94)])
def test_a_version_is_right_on_rows_it_never_saw(open_version, version, floor):
    assert accuracy(open_version(version), TABLES[version]()) >= floor


def test_the_second_version_of_digits_is_the_better_one(open_version):
    table = datasets.digits()

    assert accuracy(open_version("digits/2"), table) > accuracy(open_version("digits/1"), table)


@VERSIONS
def test_a_row_is_answered_alike_alone_and_among_others(open_version, version):
    session, rows = open_version(version), TABLES[version]().held_out_rows[:16]
    name = session.get_inputs()[0].name

    together = session.run(["label", "probabilities"], {name: rows})
    alone = [session.run(["label", "probabilities"], {name: rows[index : index + 1]}) for index in range(len(rows))]
    for position in range(2):
        np.testing.assert_allclose(np.concatenate([one[position] for one in alone]), together[position], rtol=1e-5, atol=1e-6)


@VERSIONS
def test_a_label_is_the_likeliest_class_and_probabilities_sum_to_one(open_version, version):
    session, table = open_version(version), TABLES[version]()
    labels, probabilities = session.run(["label", "probabilities"], {session.get_inputs()[0].name: table.held_out_rows})

    np.testing.assert_array_equal(labels.ravel(), probabilities.argmax(axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@VERSIONS
def test_golden_examples_of_another_implementation_agree(repository, open_version, version):
    session = open_version(version)
    golden = json.loads((repository / version / "golden.json").read_text())
    inputs = {name: np.array(rows, np.float32) for name, rows in golden["inputs"].items()}

    answers = dict(zip(golden["outputs"], session.run(list(golden["outputs"]), inputs), strict=True))
    for name, expected in golden["outputs"].items():
        assert answers[name].shape == np.shape(expected)
        np.testing.assert_allclose(answers[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("table", [datasets.digits, datasets.breast_cancer])
def test_no_held_out_row_is_among_those_trained_on(table):
    split = table()
    trained_on = {row.tobytes() for row in split.train_rows}

    assert not [row for row in split.held_out_rows if row.tobytes() in trained_on]
    assert set(split.held_out_labels) == set(split.train_labels)


def test_there_are_as_many_labels_as_classes(repository, open_version):
    for version in TABLES:
        labels = (repository / version).parent.joinpath("labels.txt").read_text().splitlines()
        assert len(labels) == open_version(version).get_outputs()[1].shape[-1]
