"""Failures in colour for people, without it for everybody else."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from penstock.cli.failure import Failure, colour
from penstock.cli.main import program
from tests.cli.conftest import Run


def test_no_colour_where_no_terminal_is(run: Run):
    assert "\x1b" not in run("models", "list", "--grpc", "127.0.0.1:1").output


def test_no_color_holds_even_at_a_terminal(own_folder: object, monkeypatch: pytest.MonkeyPatch):
    arguments = ["models", "list", "--grpc", "127.0.0.1:1"]
    at_a_terminal = CliRunner().invoke(program, arguments, color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = CliRunner().invoke(program, arguments, color=True)

    assert at_a_terminal.stderr.startswith("\x1b[31m\x1b[1merror\x1b[0m[UNAVAILABLE]: ")
    assert plain.stderr.startswith("error[UNAVAILABLE]: ")
    assert colour() is False


def test_a_failure_says_no_more_than_it_knows():
    assert Failure("it is so").format_message() == ": it is so"
    assert Failure("it is so", where="here", next_step="this").format_message() == ": it is so\n  where: here\n  next:  this"
