"""Manifests that cannot be, over both faces and the command line; tests/controller/test_manifests.py has the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli.main import program
from penstock.v1 import controller_pb2 as pb
from tests.controller.test_manifests import ID1, ID2, ID3, ID42, OTHERS, ours
from tests.hostile.control_plane import Controller, Row, is_refused, refused_by_grpc, refused_by_http

pytestmark = pytest.mark.timeout(300)

TOO_LARGE = {"5 MB", "5 MB of JSON", "10,000 levels", "10,000 levels of JSON", "30,000 values", "30,000 values of JSON", "1,000 documents"}
NO_MESSAGE = {"a lone surrogate"}
"""What no protobuf can carry, and no JSON of ours either."""


def applied(claim: str, manifest: str, reason: str, status: int, **more: str) -> Row:
    http = ("POST", "/apply", {"manifest": manifest})
    return Row(claim=claim, reason=reason, status=status, http=http, rpc=pb.ApplyRequest(manifest=manifest), **more)  # type: ignore[arg-type]


SPECS = [
    applied(f"{group} {name}".strip(), text, "INVALID_SPEC", 422, pointer=pointer)
    for group, rows in (("ID1", ID1), ("ID2", ID2), ("ID3", ID3), ("", OTHERS))
    for name, (text, pointer) in rows.items()
]
DANGERS = [
    applied(f"ID42 {name}", text, "REQUEST_TOO_LARGE", 413, code="RESOURCE_EXHAUSTED", says="the limit is" if "MB" in name else "than")
    if name in TOO_LARGE
    else applied(f"ID42 {name}", text, "BAD_YAML", 400, says="the manifest is")
    for name, text in ID42.items()
    if name not in NO_MESSAGE | {"a control character"}
]
STATES = [
    applied("ID4 unknown model", ours(name="ghost"), "MODEL_NOT_FOUND", 404, code="NOT_FOUND", says="'ghost'"),
    applied("ID4 unknown version", ours({"version": "v9"}), "VERSION_NOT_FOUND", 404, code="NOT_FOUND", says="'v9'"),
    applied(
        "ID35 pin of nobody",
        ours({"version": "v1", "pins": {"nobody": "v1"}}),
        "TENANT_NOT_FOUND",
        404,
        code="NOT_FOUND",
        says="no tenant 'nobody'",
    ),
    applied("ID37 fallback to itself", ours({"version": "v1", "fallback": ["v1"]}), "INVALID_ARGUMENT", 400, says="its own fallback"),
    applied("ID37 cycle", ours({"version": "v1", "fallback": ["v2", "v2"]}), "INVALID_ARGUMENT", 400, says="'v2'"),
    applied("ID36 shadow to itself", ours({"version": "v1", "shadow": {"version": "v1"}}), "INVALID_ARGUMENT", 400, says="itself"),
]
REFUSED_AND_NOTED = [
    ("ID6 failed version", ours({"version": "failed"}), "VERSION_NOT_DEPLOYABLE"),
    ("ID37 schema", ours({"version": "v1", "fallback": ["odd"]}), "CONFLICT"),
]


@pytest.mark.parametrize("row", [*SPECS, *DANGERS, *STATES], ids=lambda row: row.claim)
def test_a_manifest_that_cannot_be_is_refused_and_nothing_of_it_is_done(row: Row, controller: Controller):
    is_refused(row, controller)


@pytest.mark.parametrize("row", REFUSED_AND_NOTED, ids=lambda row: row[0])
def test_what_the_state_forbids_undoes_the_whole_manifest_and_is_noted(row: tuple[str, str, str], controller: Controller):
    claim, text, reason = row
    both = f"{ours({'version': 'v1', 'replicas': 3}, 'lone')}\n---\n{text}"
    is_refused(
        Row(
            claim=claim,
            reason=reason,
            status=409,
            code="FAILED_PRECONDITION",
            is_noted=True,
            http=("POST", "/apply", {"manifest": both}),
            rpc=pb.ApplyRequest(manifest=both),
        ),
        controller,
    )


def test_id42_a_control_character_is_refused(controller: Controller):
    refused_by_grpc(Row(claim="NUL", reason="BAD_VALUE", status=400, rpc=pb.ApplyRequest(manifest="a: \0"), says="NUL"), controller)
    bell = applied("bell", "a: \x07", "BAD_YAML", 400)
    refused_by_http(bell, controller)
    refused_by_grpc(bell, controller)
    controller.assert_unharmed()


def cli(controller: Controller, *arguments: str, stdin: str | None = None) -> Result:
    where = ("--grpc", controller.grpc, "--api-key", controller.key)
    return CliRunner().invoke(program, [*arguments, *where], input=stdin, catch_exceptions=False, prog_name="penstock")


COMMANDS = {
    "ID1 unknown field": (("apply", "-f", "-"), ours({"version": "v1", "trafic": 10}), "/0/spec/trafic"),
    "ID2 unknown kind": (("apply", "-f", "-"), ours(kind="Rollout"), "is not known here"),
    "ID8 sum 99": (("traffic", "set", "fraud", "v1=50", "v2=49"), None, "100"),
    "ID8 no number": (("traffic", "set", "fraud", "v1=nan", "v2=50"), None, "'nan' is no percentage"),
    "ID9 unknown version": (("traffic", "set", "fraud", "v1=99", "v9=1"), None, "v9"),
    "ID5 latest": (("deploy", "fraud@latest"), None, "a deployment is of one version"),
    "ID6 failed version": (("deploy", "fraud@failed"), None, "is failed"),
    "ID29 never healthy": (("rollback", "fraud", "--to", "idle"), None, "never healthy"),
    "ID32 stale revision": (("traffic", "set", "fraud", "v1=100", "--expect-revision", "77"), None, "read it again"),
    "ID42 a bomb": (("apply", "-f", "-"), ID42["a bomb of anchors"], "write it out"),
    "ID4 unknown model": (("deploy", "ghost@v1"), None, "no model 'ghost'"),
}


@pytest.mark.parametrize("row", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_says_what_was_refused_and_ends_with_a_failure(
    row: tuple[tuple[str, ...], str | None, str], controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    arguments, stdin, says = row
    before = controller.kept()
    ended = cli(controller, *arguments, stdin=stdin)
    after = controller.kept()

    assert ended.exit_code not in (0, None), ended.output
    assert says in " ".join(ended.output.split()), ended.output
    assert "Traceback" not in ended.output
    assert {table: rows for table, rows in before.items() if table != "audit"} == {k: v for k, v in after.items() if k != "audit"}
    controller.assert_unharmed()
