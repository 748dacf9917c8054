"""What is refused says what, where, and which command comes next: the very texts, and the exit codes."""

from __future__ import annotations

import re

import pytest

from penstock.cli.address import ServerAddress
from penstock.cli.refusals import MAKE_A_KEY, NEXT_STEPS, failure_of
from penstock.contracts.errors import STATUS, InvalidInput, ServingError, Unavailable, error_from
from tests.cli.conftest import Run
from tests.cli.far_server import FarServer

ADDRESS = ServerAddress(grpc="far:8001", metrics="far:8002", origin="--grpc")

TEXTS = [
    (
        ["models", "inspect", "doublin"],
        """\
error[MODEL_NOT_FOUND]: model 'doublin' is not known here, did you mean 'doubling'? (penstock models list)
  where: {target} (--grpc)
""",
    ),
    (
        ["predict", "doubling@9", "-d", "[[1, 2, 3]]"],
        """\
error[VERSION_NOT_FOUND]: model 'doubling' has no version '9'; it has: 1, 2, 3
  where: {target} (--grpc)
  next:  penstock models inspect doubling
""",
    ),
    (
        ["predict", "broken", "-d", "[[1]]"],
        """\
error[NO_READY_REPLICA]: model 'broken' is not ready (FAILED)
  where: {target} (--grpc)
  next:  penstock models inspect broken
""",
    ),
    (
        ["models", "load", "broken"],
        """\
error[LOAD_FAILED]: model 'broken' version '1' failed to load on worker-0: out of memory
  where: {target} (--grpc)
  next:  mend the files, then `penstock models load broken`
""",
    ),
    (
        ["predict", "doubling", "-d", '{"x": [["a"]]}'],
        """\
error[DTYPE_MISMATCH]: input 'x' takes FP32, got texts
  where: {target} (--grpc)
  next:  penstock models inspect doubling
""",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), TEXTS)
def test_a_refusal_names_what_where_and_the_next_command(arguments: list[str], text: str, ask: Run, far: FarServer):
    ended = ask(*arguments)

    assert ended.stderr == text.format(target=far.target)
    assert (ended.exit_code, ended.stdout) == (1, "")


def test_a_missing_key_is_asked_for(run: Run):
    far = FarServer(key="secret")
    refused = run("models", "list", "--grpc", far.target, "--api-key", "wrong")
    allowed = run("models", "list", "--grpc", far.target, "--api-key", "secret")
    far.stop()

    assert allowed.exit_code == 0
    assert refused.exit_code == 1
    assert refused.stderr == (f"error[UNAUTHENTICATED]: the API key is not known\n  where: {far.target} (--grpc)\n  next:  {MAKE_A_KEY}\n")


def test_a_key_is_taken_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_API_KEY", "secret")
    far = FarServer(key="secret")
    ended = run("models", "list", "--grpc", far.target)
    far.stop()

    assert ended.exit_code == 0


def test_where_no_server_is_the_next_step_depends_on_who_named_it(run: Run, free_port: int, monkeypatch: pytest.MonkeyPatch):
    named = run("models", "list", "--grpc", f"127.0.0.1:{free_port}")
    monkeypatch.setattr("penstock.cli.address.DEFAULT_GRPC", f"127.0.0.1:{free_port}")
    assumed = run("models", "list")

    refused = r"error\[UNAVAILABLE\]: no server answers \(Connection refused[^)]*\)?\)\n  where: 127.0.0.1:%d \(%s\)\n  next:  %s\n"
    assert re.fullmatch(refused % (free_port, "--grpc", "penstock doctor"), named.stderr)
    assert re.fullmatch(
        refused % (free_port, "the default", "penstock serve REPOSITORY, or name a server with --grpc HOST:PORT"), assumed.stderr
    )
    assert named.exit_code == assumed.exit_code == 1


def test_out_of_time_has_an_exit_code_of_its_own(ask: Run, far: FarServer):
    far.release.clear()
    ended = ask("predict", "doubling", "-d", "[[1, 2, 3]]", "--timeout", "200ms")

    assert ended.exit_code == 4
    assert ended.stderr == (
        "error[DEADLINE_EXCEEDED]: no answer within the time that was allowed\n"
        f"  where: {far.target} (--grpc)\n"
        "  next:  allow more with --timeout; `penstock models stats doubling` shows where time goes\n"
    )


def test_a_quota_says_when_to_come_back():
    failure = failure_of(error_from("QUOTA", "too many requests", retry_after_seconds=1.5), ADDRESS)

    assert failure.format_message() == "[QUOTA]: too many requests\n  where: far:8001 (--grpc)\n  next:  come back in 1.5 s"


@pytest.mark.parametrize("kind", STATUS)
def test_every_error_has_an_exit_code_and_stands_on_lines_of_its_own(kind: type[ServingError]):
    failure = failure_of(kind("it is so"), ADDRESS, model="m")

    assert failure.exit_code == (4 if kind.__name__ == "DeadlineExceeded" else 1)
    assert failure.format_message().count("\n") <= 2


def test_a_servers_own_unavailability_is_told_in_its_words():
    refused = failure_of(error_from("OVERLOADED", "the queue is full"), ADDRESS)
    silent = failure_of(Unavailable("failed to connect to all addresses; last error: far: Connection refused"), ADDRESS)

    assert (refused.message, silent.message) == ("the queue is full", "no server answers (Connection refused)")


def test_next_steps_begin_with_the_finer_classes():
    kinds = [kind for kind, _ in NEXT_STEPS]

    assert [kind for index, kind in enumerate(kinds) if any(issubclass(kind, before) for before in kinds[:index])] == []
    assert InvalidInput in kinds


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1h", ""])
def test_a_timeout_is_a_duration(timeout: str, ask: Run):
    ended = ask("models", "list", "--timeout", timeout)

    assert ended.exit_code == 2
    assert "is no duration above 0: use for example 500ms, 2.5s or 1m." in ended.stderr


@pytest.mark.parametrize("timeout", ["5", "2.5", "5s", "900ms", "1m"])
def test_a_duration_may_name_its_unit(timeout: str, ask: Run):
    assert ask("models", "list", "--timeout", timeout).exit_code == 0


def test_an_address_that_is_none_is_a_wrong_command_line(run: Run):
    ended = run("models", "list", "--grpc", "far:away")

    assert ended.exit_code == 2
    assert ended.stderr.endswith("Error: --grpc 'far:away' is no address: use host:port, for example 127.0.0.1:8001.\n")


def test_tls_needs_an_authority(run: Run):
    ended = run("models", "list", "--url", "https://127.0.0.1:8000")

    assert ended.exit_code == 2
    assert "speaks TLS: name the authority of its certificate with --ca FILE." in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models", "load", "\udcff"], "The value of model is no UTF-8 text."),
        (["predict", "m", "-d", "[]", "--request-id", "\udcff"], "The value of request-id is no UTF-8 text."),
        (["models", "list", "--api-key", "schlüssel"], "--api-key holds characters that no key has."),
        (["models", "inspect", "m@"], "'m@' names no version: use MODEL or MODEL@VERSION."),
    ],
)
def test_what_cannot_be_sent_is_a_wrong_command_line(arguments: list[str], says: str, ask: Run):
    ended = ask(*arguments)

    assert ended.exit_code == 2
    assert ended.stderr.endswith(f"Error: {says}\n")


@pytest.mark.parametrize(
    ("reason", "next_step"),
    [
        ("DEPLOYMENT_NOT_FOUND", "penstock deployments list"),
        ("TENANT_NOT_FOUND", "penstock tenants list"),
        ("KEY_NOT_FOUND", "penstock keys list"),
        ("INVALID_SPEC", ""),
        ("BAD_YAML", ""),
    ],
)
def test_what_is_of_no_model_sends_nobody_to_inspect_one(reason: str, next_step: str):
    assert failure_of(error_from(reason, "no"), ADDRESS).next_step == next_step
