"""`penstock doctor` tells what is wrong and how to mend it."""

from __future__ import annotations

import json

from penstock.cli.doctor import _lines, _summary
from penstock.cli.findings import Verdict, broken, fine, note, warning
from tests.cli.conftest import Run
from tests.cli.far_server import FarServer


def test_a_named_server_that_is_not_there_is_a_failure_with_a_line_that_mends_it(run: Run, free_port: int):
    ended = run("doctor", "--grpc", f"127.0.0.1:{free_port}")

    assert ended.exit_code == 1
    assert "BROKEN  server          no server answers (Connection refused" in ended.output
    assert f" at 127.0.0.1:{free_port} (--grpc)\n" in ended.output
    assert ended.output.rstrip().rpartition("\n\n")[0].endswith("fix: penstock serve REPOSITORY")
    assert "1 broken" in ended.output.splitlines()[-1]


def test_findings_are_a_document_for_programs(ask: Run, far: FarServer):
    ended = ask("doctor", "-o", "json")
    found = {finding["check"]: finding for finding in json.loads(ended.stdout)}
    answered = f"{far.target} (--grpc) answers, version 0.1.0"

    assert ended.exit_code == 0
    assert found["python"]["verdict"] == "ok"
    assert found["server"] == {"check": "server", "verdict": "ok", "found": answered, "fix": None}


def test_a_fix_stands_below_what_it_mends():
    assert _lines(fine("python", "3.11")).endswith("python          3.11")
    assert _lines(warning("clock", "late", "ntp")).endswith("clock           late\n                        fix: ntp")


def test_the_summary_counts_what_is_wrong():
    assert _summary([fine("a", "x"), note("b", "x")]) == "nothing is wrong"
    assert _summary([broken("a", "x", "y"), warning("b", "x", "y"), warning("c", "x", "y")]) == "1 broken, 2 could be better"


def test_every_verdict_has_a_colour():
    from penstock.cli.doctor import COLOURS

    assert set(COLOURS) == set(Verdict)
