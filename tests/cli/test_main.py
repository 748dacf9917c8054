"""The program: its list of commands, what it says to slips of the pen, and how little it loads to say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from penstock.cli.main import COMMANDS, LATER, program
from tests.cli.conftest import Run

IMPORTED = """
import contextlib, io, json, sys
from penstock.cli.main import program
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    program(sys.argv[1:], prog_name="penstock")
print(json.dumps([printed.getvalue(), sorted(sys.modules)]))
"""


def test_the_version_is_that_of_the_distribution(run: Run):
    assert run("--version").output == f"penstock {version('penstock')}\n"


@pytest.mark.parametrize("question", ["--version", "--help", "modles"])
def test_simple_questions_import_nothing_of_weight(question: str):
    ended = subprocess.run([sys.executable, "-P", "-c", IMPORTED, question], capture_output=True, text=True, check=True, timeout=50)
    _, imported = json.loads(ended.stdout)

    assert {name for name in imported if name.split(".")[0] == "penstock"} == {
        "penstock", "penstock.cli", "penstock.cli.lazy_group", "penstock.cli.main",
    }  # fmt: skip
    assert {"numpy", "grpc", "google.protobuf", "asyncio", "http.client"} & set(imported) == set()


def test_the_help_lists_every_command_in_its_section(run: Run):
    lines = run("--help").output.splitlines()

    assert [line for line in lines if line.endswith(":")] == [
        "Options:",
        "Serve:",
        "Ask and look:",
        "Deploy:",
        "Answer for it:",
        "Run real servers:",
        "Set up:",
    ]
    for name, command in COMMANDS.items():
        assert f"  {name:<11}  {command.summary}" in lines


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str, run: Run):
    command = program.get_command(click.Context(program), name)
    shown = run(name, "--help")

    assert command is not None
    assert command.name == name
    assert (shown.exit_code, shown.output.startswith(f"Usage: penstock {name}")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["modles"], "There is no command 'modles'. Did you mean 'models'?"),
        (["models", "lsit"], "There is no command 'lsit'. Did you mean 'list'?"),
        (["keys", "creat"], "There is no command 'creat'. Did you mean 'create'?"),
        (["xyzzy"], "There is no command 'xyzzy'."),
        (["rollout", "digits@3"], "'rollout' is not available in this version of penstock."),
    ],
)
def test_an_unknown_command_is_a_wrong_command_line(arguments: list[str], says: str, run: Run):
    ended = run(*arguments)

    assert ended.exit_code == 2
    assert ended.stderr.endswith(f"Error: {says}\n")


def test_a_misspelt_option_is_recognised(run: Run):
    ended = run("models", "list", "--reday")

    assert ended.exit_code == 2
    assert "--ready" in ended.stderr


def test_commands_of_later_versions_are_not_listed(run: Run):
    listed = {line.split()[0] for line in run("--help").output.splitlines() if line.strip()}

    assert set(COMMANDS) <= listed
    assert LATER & listed == set()
    assert LATER & set(COMMANDS) == set()


def test_without_a_command_the_help_is_shown(run: Run):
    assert run().output.startswith("Usage: penstock [OPTIONS] COMMAND [ARGS]...")


@pytest.mark.parametrize(("output", "code", "errors"), [(">/dev/full", 1, "error: No space left on device\n"), (">&-", 0, "")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_nothing_is_told_in_a_line_and_one_that_is_closed_not_at_all(
    output: str, code: int, errors: str, unbuffered: str, tmp_path: Path
):
    program = str(Path(sys.executable).with_name("penstock"))
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered, "XDG_STATE_HOME": str(tmp_path), "NO_COLOR": "1"}
    ended = subprocess.run(
        ["sh", "-c", f'"$0" ps {output}', program], env=environment, capture_output=True, text=True, timeout=50, check=False
    )

    assert (ended.returncode, ended.stderr) == (code, errors)
