"""`penstock predict` asks what was written down, in whatever form, and prints the answer row by row."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.cli.conftest import Run
from tests.cli.far_server import FarServer

ROWS = [[1, 2, 3], [4, 5, 6]]
DOUBLED = [{"y": [2.0, 4.0, 6.0]}, {"y": [8.0, 10.0, 12.0]}]


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


FILES: dict[str, bytes] = {
    "rest.json": json.dumps({"inputs": [{"x": row} for row in ROWS]}).encode(),
    "rows.json": json.dumps([{"x": row} for row in ROWS]).encode(),
    "bare.json": json.dumps(ROWS).encode(),
    "columns.json": json.dumps({"x": ROWS}).encode(),
    "wrapped.json": json.dumps({"inputs": {"x": ROWS}}).encode(),
    "array.npy": npy(np.array(ROWS, dtype=np.float32)),
    "doubles.npy": npy(np.array(ROWS, dtype=np.float64)),
    "integers.npy": npy(np.array(ROWS)),
    "named.npz": npz(x=np.array(ROWS, dtype=np.float32)),
    "rows.csv": b"1,2,3\n4,5,6\n",
    "headed.csv": b"one,two,three\n1, 2, 3\n4, 5, 6\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_asks_the_same(name: str, tmp_path: Path, ask: Run):
    (tmp_path / name).write_bytes(FILES[name])
    ended = ask("predict", "doubling", "-d", f"@{tmp_path / name}", "-o", "json")

    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["outputs"] == DOUBLED


@pytest.mark.parametrize("name", ["rest.json", "bare.json", "array.npy", "named.npz"])
def test_the_standard_input_is_known_by_its_first_bytes(name: str, ask: Run):
    ended = ask("predict", "doubling", "-d", "@-", "-o", "json", stdin=FILES[name])

    assert json.loads(ended.stdout)["outputs"] == DOUBLED


def test_an_answer_has_the_shape_of_the_rest_call(ask: Run):
    found = json.loads(ask("predict", "doubling", "-d", "[[1, 2, 3]]", "--request-id", "r-1", "-o", "json").stdout)

    assert found.pop("latency_ms") > 0
    assert found == {"model": "doubling", "version": "2", "request_id": "r-1", "outputs": [{"y": [2.0, 4.0, 6.0]}]}


def test_an_answer_is_yaml_on_request(ask: Run):
    found = yaml.safe_load(ask("predict", "doubling", "-d", "[[1, 2, 3]]", "-o", "yaml").stdout)

    assert (found["version"], found["outputs"]) == ("2", [{"y": [2.0, 4.0, 6.0]}])


def test_an_answer_is_a_table_for_people(ask: Run):
    summary, _, *lines = ask("predict", "doubling", "-d", json.dumps(ROWS)).output.splitlines()

    assert summary.startswith("doubling@2: 2 rows in ")
    assert lines == ["ROW  Y", "  0  [2 4 6]", "  1  [8 10 12]"]


def test_several_inputs_come_by_rows_columns_and_lines(ask: Run, tmp_path: Path):
    (tmp_path / "f.csv").write_text("b,a\n0.5,1\n1.5,-3\n")
    questions = ['[{"a": 1, "b": 0.5}, {"a": -3, "b": 1.5}]', '{"a": [1, -3], "b": [[0.5], [1.5]]}', f"@{tmp_path / 'f.csv'}"]
    answers = [json.loads(ask("predict", "pairing", "-d", one, "-o", "json").stdout)["outputs"] for one in questions]

    assert answers == [[{"a": [2]}, {"a": [-6]}]] * 3


def test_texts_and_bytes_come_back(ask: Run):
    given = json.dumps(["grüezi", {"b64": "/w=="}])
    found = json.loads(ask("predict", "shouting", "-d", given, "-o", "json").stdout)

    assert found["outputs"] == [{"text": ["GRüEZI"]}, {"text": [{"b64": "/w=="}]}]


def test_a_cell_of_a_file_may_be_long(ask: Run, tmp_path: Path):
    (tmp_path / "long.csv").write_text("x" * 200_000 + "\n")
    ended = ask("predict", "shouting", "-d", f"@{tmp_path / 'long.csv'}", "-o", "json")

    assert json.loads(ended.stdout)["outputs"] == [{"text": ["X" * 200_000]}]


def test_a_model_without_rows_answers_whole(ask: Run):
    for given in ('{"x": [[1, 2], [3, 4]]}', '[{"x": [[1, 2], [3, 4]]}]', "[[[1, 2], [3, 4]]]"):
        found = json.loads(ask("predict", "whole", "-d", given, "-o", "json").stdout)
        assert found["outputs"] == [{"y": [[2.0, 4.0], [6.0, 8.0]]}]


def test_what_the_body_says_holds_unless_an_option_says_otherwise(ask: Run, far: FarServer):
    body = {
        "inputs": ROWS,
        "params": {"version": "1", "priority": 2},
        "request_id": "body",
        "routing_key": "k",
        "outputs": ["y"],
        "timeout_ms": 9000,
    }
    ask("predict", "doubling", "-d", json.dumps(body))
    ask("predict", "doubling@2", "-d", json.dumps(body), "--request-id", "option", "--routing-key", "other")
    by_body, by_option = far.requests

    assert (by_body.model_version, by_body.id, by_body.parameters["routing_key"].string_param) == ("1", "body", "k")
    assert by_body.parameters["priority"].int64_param == 2
    assert [output.name for output in by_body.outputs] == ["y"]
    assert (by_option.model_version, by_option.id, by_option.parameters["routing_key"].string_param) == ("2", "option", "other")


def test_the_bodys_time_is_the_calls(ask: Run, far: FarServer):
    far.release.clear()

    assert ask("predict", "doubling", "-d", '{"inputs": [[1, 2, 3]], "timeout_ms": 200}').exit_code == 4


def test_outputs_are_chosen(ask: Run, far: FarServer):
    ask("predict", "doubling", "-d", "[[1, 2, 3]]", "--output", "y")

    assert [output.name for output in far.requests[0].outputs] == ["y"]


UNKNOWN_FIELD = "the value of -d: 'param' is unknown; a body has inputs, outputs, params, request_id, routing_key, timeout_ms."


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[1, 2", "the value of -d, line 1, column 6: Expecting ',' delimiter (a file is named @file)."),
        ("@{folder}/none.json", "{folder}/none.json: No such file or directory."),
        ("@{folder}", "{folder}: Is a directory."),
        ("@{folder}/x.parquet", "{folder}/x.parquet: '.parquet' is not read; use .json, .npy, .npz, .csv."),
        ("@{folder}/objects.npy", "{folder}/objects.npy holds no arrays of numbers or texts."),
        ("@{folder}/cut.npz", "{folder}/cut.npz holds no arrays of numbers or texts."),
        ("@{folder}/uneven.csv", "{folder}/uneven.csv must hold lines of equally many values."),
        ("@{folder}/latin.json", "{folder}/latin.json is no UTF-8 text."),
        ('{"inputs": [[1]], "param": {}}', UNKNOWN_FIELD),
        ('{"inputs": [[1]], "timeout_ms": true}', "the value of -d: 'timeout_ms' is of the wrong type."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_wrong_command_line(given: str, says: str, ask: Run, tmp_path: Path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npz").write_bytes(FILES["named.npz"][:50])
    (tmp_path / "uneven.csv").write_text("1,2\n3\n")
    (tmp_path / "latin.json").write_bytes(b'{"x": ["\xe4"]}')
    ended = ask("predict", "doubling", "-d", given.replace("{folder}", str(tmp_path)))

    assert ended.exit_code == 2
    assert ended.stderr.endswith(f"Error: Invalid value for -d: {says.replace('{folder}', str(tmp_path))}\n")


def test_a_question_without_inputs_is_a_wrong_command_line(ask: Run):
    assert ask("predict", "doubling").exit_code == 2


def test_the_demos_call_is_understood(run: Run, far: FarServer, tmp_path: Path):
    """`--url` may be the gRPC face without a scheme."""
    (tmp_path / "rows.json").write_bytes(FILES["rest.json"])
    ended = run("predict", "doubling", "-d", f"@{tmp_path / 'rows.json'}", "--version", "1", "--url", far.target, "-o", "json")

    assert json.loads(ended.stdout)["outputs"] == DOUBLED
