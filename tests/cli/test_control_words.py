"""What a command that changes the mesh refuses by itself: nothing of it reaches the controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.contracts.model_config_values import MAX_THREADS
from tests.cli.conftest import Run
from tests.cli.far_controller import FarController


@pytest.fixture
def ask(run: Run, controller: FarController) -> Run:
    return lambda *arguments, **more: run(*arguments, "--grpc", controller.target, **more)


@pytest.mark.parametrize("word", ["nowhere", "empty"])
def test_what_is_wrong_with_files_of_this_machine_is_not_laid_to_the_server(word: str, ask: Run, run: Run, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    place = str(tmp_path / word)
    told = [ask("models", "register", place, "--name", "fraud"), run("models", "digest", place)]

    assert [one.exit_code for one in told] == [1, 1]
    assert [one.stderr.splitlines()[1:] for one in told] == [[f"  where: {place} (on this machine)"]] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("traffic", "set", "fraud", "\udcff=100"),
        ("deploy", "fraud@v3.1", "--reason", "\udcff"),
        ("models", "register", "s3://bucket/fraud/3", "--name", "fraud", "--meta", "a=\udcff"),
    ],
)
def test_bytes_that_are_no_text_are_a_wrong_command_line(arguments: tuple[str, ...], ask: Run, controller: FarController):
    ended = ask(*arguments)

    assert (ended.exit_code, "no UTF-8 text" in ended.stderr, controller.requests) == (2, True, [])


@pytest.mark.parametrize("arguments", [("deploy", "fraud@v3.1", "--memory"), ("traffic", "freeze", "fraud", "--expect-revision")])
def test_a_number_that_no_field_carries_is_a_wrong_command_line(arguments: tuple[str, ...], ask: Run, controller: FarController):
    ended = ask(*arguments, str(2**63))

    assert (ended.exit_code, arguments[-1] in ended.stderr, controller.requests) == (2, True, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "fraud@v3.1"),
        ("models", "register", "s3://bucket/fraud/3", "--name", "fraud"),
        ("models", "verify", "fraud@v3.1"),
        ("republish",),
    ],
)
def test_what_has_no_revision_takes_none(arguments: tuple[str, ...], ask: Run, controller: FarController):
    ended = ask(*arguments, "--expect-revision", "3")

    assert (ended.exit_code, "No such option" in ended.stderr, controller.requests) == (2, True, [])


def test_a_configuration_that_is_no_text_is_refused(ask: Run, controller: FarController, tmp_path: Path):
    (tmp_path / "config.json").write_bytes(b"\xff")
    ended = ask("deploy", "fraud@v3.1", "--config", str(tmp_path / "config.json"))

    assert (ended.exit_code, "no UTF-8 text" in ended.stderr, controller.requests) == (2, True, [])


def test_more_threads_than_a_version_may_have_are_a_wrong_command_line(run: Run, tmp_path: Path):
    ended = run("serve", str(tmp_path), "--intra-op-threads", str(MAX_THREADS + 1))

    assert (ended.exit_code, f"0<=x<={MAX_THREADS}" in ended.stderr) == (2, True)
