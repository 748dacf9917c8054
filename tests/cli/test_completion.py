"""Shells get a script, and by it the names they ask for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("shell", "holds"), [("bash", "complete -o nosort -F"), ("zsh", "#compdef penstock"), ("fish", "complete --no-files")]
)
def test_each_shell_gets_its_script(shell: str, holds: str, run: Run):
    ended = run("completion", shell)

    assert (ended.exit_code, holds in ended.output, "_PENSTOCK_COMPLETE" in ended.output) == (0, True, True)


def test_other_shells_are_refused(run: Run):
    assert run("completion", "csh").exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("penstock mo", ["plain,models"]),
        (
            "penstock models ",
            [
                "plain,register",
                "plain,alias",
                "plain,digest",
                "plain,show",
                "plain,verify",
                "plain,list",
                "plain,inspect",
                "plain,load",
                "plain,unload",
                "plain,stats",
            ],
        ),
        ("penstock models list --re", ["plain,--ready"]),
        ("penstock models list -o ", ["plain,table", "plain,json", "plain,yaml"]),
    ],
)
def test_what_was_begun_is_completed(typed: str, offered: list[str]):
    words = {"_PENSTOCK_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    command = [sys.executable, "-P", "-c", "from penstock.cli.main import main; main()"]
    ended = subprocess.run(command, env={**os.environ, **words}, capture_output=True, text=True, check=False, timeout=50)

    assert sorted(ended.stdout.split()) == sorted(offered), ended.stderr
