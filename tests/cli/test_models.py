"""`penstock models` shows what a server holds, and changes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Run
from tests.cli.far_server import FarServer


def test_every_version_is_listed_with_its_state_and_reason(ask: Run):
    lines = ask("models", "list").output.splitlines()

    assert lines[0].split() == ["MODEL", "VERSION", "STATE", "REASON"]
    assert lines[1].split(maxsplit=3) == ["broken", "1", "UNAVAILABLE", "out of memory"]
    assert [line.split()[:2] for line in lines[2:5]] == [["doubling", "1"], ["doubling", "2"], ["doubling", "3"]]


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_list_is_a_document_for_programs(form: str, read: Any, ask: Run):
    found = read(ask("models", "list", "-o", form).stdout)

    assert found[0] == {"model": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "out of memory"}
    assert len(found) == 7


def test_a_list_may_be_of_ready_versions_only(ask: Run):
    found = json.loads(ask("models", "list", "--ready", "-o", "json").stdout)

    assert {entry["state"] for entry in found} == {"READY"}
    assert len(found) == 5


def test_versions_are_ordered_as_versions(ask: Run, far: FarServer):
    held = far.models["doubling"].versions
    held["10"] = held["v2.1"] = held["1"]
    found = json.loads(ask("models", "list", "-o", "json").stdout)

    assert [entry["version"] for entry in found if entry["model"] == "doubling"] == ["1", "2", "v2.1", "3", "10"]


def test_an_empty_repository_says_what_to_do(ask: Run, far: FarServer):
    far.models.clear()

    assert ask("models", "list").output == "no models; put one into the repository folder as MODEL/VERSION/model.onnx\n"
    assert ask("models", "stats").output == "no statistics: no version is loaded\n"


def test_a_model_is_inspected_to_the_last_figure(ask: Run):
    assert (
        ask("models", "inspect", "doubling").output
        == """\
doubling

VERSION  STATE        ALIASES   TRAFFIC  MEMORY MB  REASON
1        READY        champion  90 %          12.5
2        READY                  10 %          12.5
3        UNAVAILABLE                             –  model.onnx: no such operator 'Nope'

        NAME  TYPE  SHAPE
input   x     FP32  [any, 3]
output  y     FP32  [any, 3]

platform          onnxruntime_onnx
max_batch_size    8
dynamic_batching  max_queue_delay_microseconds: 100
response_cache    no

VERSION  ROWS A RUN  RUNS  RUN MS
1                 1     1     1.5
1                 4     3    2.17
2                 1     1     1.5
2                 4     3    2.17
"""
    )


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_an_inspection_is_a_document_for_programs(form: str, read: Any, ask: Run):
    found = read(ask("models", "inspect", "doubling", "-o", form).stdout)

    assert found["signature"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert found["versions"][2] == {
        "version": "3", "state": "UNAVAILABLE", "reason": "model.onnx: no such operator 'Nope'", "memory_bytes": None, "costs": [],
    }  # fmt: skip
    assert found["versions"][0]["costs"][0] == {"rows": 1, "executions": 1, "mean_ms": 1.5}
    assert (found["aliases"], found["traffic_basis_points"]) == ({"champion": "1"}, {"1": 9000, "2": 1000})
    assert found["configuration"]["dynamic_batching"] == {"max_queue_delay_microseconds": 100}


@pytest.mark.parametrize("wanted", [["doubling@1"], ["doubling", "--version", "1"], ["doubling@champion"]])
def test_one_version_is_inspected_by_name_or_alias(wanted: list[str], ask: Run):
    found = json.loads(ask("models", "inspect", *wanted, "-o", "json").stdout)

    assert [entry["version"] for entry in found["versions"]] == ["1"]


def test_a_model_that_failed_is_inspected_for_its_reason(ask: Run):
    ended = ask("models", "inspect", "broken")

    assert (ended.exit_code, "out of memory" in ended.output) == (0, True)


def test_two_different_versions_are_a_wrong_command_line(ask: Run):
    ended = ask("models", "inspect", "doubling@1", "--version", "2")

    assert ended.exit_code == 2
    assert ended.stderr.endswith("Error: MODEL names version '1' and --version '2': leave one out.\n")


def test_unloading_and_loading_changes_what_is_ready(ask: Run, far: FarServer):
    unloaded = ask("models", "unload", "doubling")
    ready_then = far.models["doubling"].ready
    loaded = ask("models", "load", "doubling")

    assert (unloaded.output, ready_then) == ("doubling is unloaded\n", [])
    assert loaded.output == "doubling is ready: versions 1, 2\n"


def test_statistics_are_means_of_what_was_counted(ask: Run):
    heads, line = ask("models", "stats", "shouting").output.splitlines()

    assert heads.split() == [
        "MODEL",
        "VERSION",
        "OK",
        "FAILED",
        "ROWS",
        "RUNS",
        "ROWS/RUN",
        "TOTAL",
        "MS",
        "QUEUE",
        "MS",
        "RUN",
        "MS",
        "CACHED",
    ]
    assert line.split() == ["shouting", "v1.0", "10", "1", "12", "4", "3", "3", "0.1", "2", "0"]


def test_statistics_are_a_document_for_programs(ask: Run):
    found = json.loads(ask("models", "stats", "-o", "json").stdout)

    assert [(entry["model"], entry["version"]) for entry in found][:2] == [("doubling", "1"), ("doubling", "2")]
    assert found[0]["steps"]["queue"] == {"count": 10, "total_ms": 1.0, "mean_ms": 0.1}
    assert found[0]["last_inference_time"] == 1_700_000_000.0


def test_statistics_of_an_unknown_model_are_refused(ask: Run):
    assert ask("models", "stats", "nope").exit_code == 1


def test_shells_complete_the_names_of_models(far: FarServer, own_folder: object, monkeypatch: pytest.MonkeyPatch):
    import click

    from penstock.cli.model_argument import complete_model
    from penstock.cli.models import load

    monkeypatch.setenv("PENSTOCK_GRPC", far.target)
    context = click.Context(load)

    assert complete_model(context, load.params[0], "") == ["broken", "doubling", "pairing", "shouting", "whole"]
    assert complete_model(context, load.params[0], "d") == ["doubling"]


def test_shells_complete_nothing_where_no_server_answers(own_folder: object, free_port: int, monkeypatch: pytest.MonkeyPatch):
    import click

    from penstock.cli.model_argument import complete_model
    from penstock.cli.models import load

    monkeypatch.setenv("PENSTOCK_GRPC", f"127.0.0.1:{free_port}")

    assert complete_model(click.Context(load), load.params[0], "") == []
