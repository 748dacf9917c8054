"""`penstock`: the program and its commands.

`penstock --version` and `penstock --help` import click and nothing else of weight: a command's module comes in when it is used.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from penstock.cli.lazy_group import LazyCommand, LazyGroup

SECTIONS = {
    "Serve": {"serve": "Serve a model repository folder."},
    "Ask and look": {
        "predict": "Ask a model once.",
        "models": "List, inspect, load and register models; statistics.",
        "status": "Show how a server is doing, once or all the time.",
    },
    "Deploy": {
        "deploy": "Bring a registered version up.",
        "deployments": "List, scale and delete deployments.",
        "traffic": "Show and change who gets which version.",
        "rollback": "Put the previous versions back, in one action.",
        "freeze": "Stop a tenant, a model, or every change.",
        "apply": "Make the mesh be as a document says.",
        "plan": "Show where every replica goes, and why.",
    },
    "Answer for it": {
        "changes": "Show what changed.",
        "audit": "Show and verify the audit records.",
        "tenants": "List, change and freeze tenants; their keys.",
        "mesh": "Show controllers, routers and workers.",
        "republish": "Fill topics again that have lost what is in force.",
    },
    "Run real servers": {
        "up": "Run Kafka, Temporal, Redis and PostgreSQL here.",
        "ps": "List what the stacks run.",
        "logs": "Print what they write.",
        "down": "End a stack.",
    },
    "Set up": {
        "doctor": "Check this machine and the running server.",
        "keys": "Make API keys; list those of a mesh.",
        "completion": "Print the completion script of a shell.",
    },
}
"""Commands with what the list says of them; each is the function of its own name in the module of its own name."""

MODULES = {"audit": "changes", "plan": "apply", "mesh": "apply"}
"""Commands that stand beside another one in its module."""

COMMANDS = {
    name: LazyCommand(place=f"penstock.cli.{MODULES.get(name, name)}:{name}", section=section, summary=summary)
    for section, summaries in SECTIONS.items()
    for name, summary in summaries.items()
}

LATER = frozenset({
    "batch", "bench", "config", "dlq", "explain", "rollout", "top", "topics",
})  # fmt: skip
"""Commands that later versions bring."""


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"penstock {installed_version()}")
        ctx.exit()


def installed_version() -> str:
    """Return the version of the installed distribution.

    Installers write it into the name of a folder on the path (PEP 427); importlib.metadata, which knows more forms, takes 40 ms to import.
    """
    for folder in sys.path:
        found = next(Path(folder).glob("penstock-*.dist-info"), None)
        if found is not None:
            return found.name.removeprefix("penstock-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("penstock")


program = LazyGroup(
    name="penstock",
    table=COMMANDS,
    later=LATER,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
    help="Serve machine-learning models, ask them, and see how they are doing.",
    epilog="`penstock COMMAND --help` says more. Commands that ask a server find the running `serve` or `up` by themselves.",
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version and exit."
        )
    ],
)


def main() -> None:
    """Run the program; what the machine refuses on the way is told in a line."""
    if sys.stdout is None:
        # Closed by whoever called: nobody wants to read anything, and no file that is opened later may be taken for it.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  it is the output until the end
    try:
        program(prog_name="penstock")
    except OSError as error:
        _refused(error)


def _refused(error: OSError) -> NoReturn:
    from penstock.cli.failure import Failure

    what = error.strerror or str(error)
    Failure(f"{error.filename}: {what}" if error.filename else what).show()
    if error.errno == errno.ENOSPC and not error.filename:
        # What could not be printed would be tried again at the end, and told as an error of the interpreter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(Failure.exit_code)
