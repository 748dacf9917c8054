"""Commands that change the mesh, where something is missing: a version, a router's word, a key."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.cli.far_controller import FarController


@pytest.fixture
def ask(run: Run, controller: FarController) -> Run:
    return lambda *arguments, **more: run(*arguments, "--grpc", controller.target, **more)


@pytest.mark.parametrize(
    "arguments",
    [
        ("traffic", "set", "fraud", "v3.0=100"),
        ("traffic", "kill", "fraud", "v3.0"),
        ("traffic", "freeze", "fraud"),
        ("freeze", "--model", "fraud"),
    ],
)
def test_a_change_of_traffic_that_a_router_did_not_confirm_is_out_of_time(
    arguments: tuple[str, ...], ask: Run, controller: FarController
):  # fmt: skip
    controller.silent_router = True
    ended = ask(*arguments)

    assert (ended.exit_code, "no word from router-1" in ended.output) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("traffic", "pin", "fraud", "", "--tenant", "acme"),
        ("models", "alias", "set", "fraud", "champion", ""),
        ("rollback", "fraud", "--to", ""),
        ("rollback", "fraud", "--to", "", "--break-glass", "--key", "k", "--router", "r"),
    ],
)
def test_an_empty_version_never_leaves_the_machine(arguments: tuple[str, ...], ask: Run, controller: FarController):
    assert (ask(*arguments).exit_code, controller.requests) == (2, [])


def test_a_dry_run_of_a_key_shows_none(ask: Run):
    output = ask("tenants", "create-key", "acme", "--dry-run").output

    assert ("nothing was changed (dry run)" in output, "shown this once" in output) == (True, False)


def test_a_key_whose_answer_was_lost_is_told_with_the_next_step(ask: Run, controller: FarController):
    controller.secret = ""
    ended = ask("tenants", "create-key", "acme")

    assert (ended.exit_code, "penstock tenants revoke-key acme k-1" in ended.output) == (1, True)


@pytest.mark.parametrize("life", ["0d", "0.0s", "9" * 400 + "d"])
def test_a_key_that_would_be_over_before_it_begins_is_a_wrong_command_line(life: str, ask: Run, controller: FarController):
    assert ask("tenants", "create-key", "acme", "--life", life).exit_code == 2
    assert controller.requests == []
