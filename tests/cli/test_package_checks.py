"""Installed packages, and what ONNX Runtime can really do."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from penstock.cli.findings import Verdict
from penstock.cli.package_checks import installed, judge_native_front, judge_providers, package_findings


def test_the_providers_of_this_machine_are_probed():
    found = {finding.check: finding for finding in package_findings()}

    assert found["onnxruntime"].found == f"onnxruntime {version('onnxruntime')}"
    assert (found["providers"].verdict, "CPUExecutionProvider" in found["providers"].found) == (Verdict.OK, True)
    assert found["pygrpc-native"].verdict is Verdict.OK


def test_noise_before_the_probes_answer_does_not_matter():
    found = judge_providers(0, 'warning: no GPU\n["CUDAExecutionProvider", "CPUExecutionProvider"]\n', "")

    assert (found.verdict, found.found) == (Verdict.OK, "CUDAExecutionProvider, CPUExecutionProvider")


@pytest.mark.parametrize(
    ("code", "complaints", "says"),
    [(1, "Traceback\nModuleNotFoundError: No module named 'structlog'\n", "No module named 'structlog'"), (-11, "", "ended with code -11")],
)
def test_a_probe_that_fails_is_broken(code: int, complaints: str, says: str):
    found = judge_providers(code, "", complaints)

    assert (found.verdict, says in found.found) == (Verdict.BROKEN, True)


@pytest.mark.parametrize(
    ("found", "is_there", "is_server", "verdict"),
    [
        ("pygrpc-native 0.5.0", True, True, Verdict.OK),
        (None, False, True, Verdict.WARNING),
        ("pygrpc-native 0.5.0", False, True, Verdict.WARNING),
        (None, False, False, Verdict.NOTE),
    ],
)
def test_the_native_front_is_missed_by_servers_only(found: str | None, is_there: bool, is_server: bool, verdict: Verdict):
    assert judge_native_front(found, is_there=is_there, is_server=is_server).verdict is verdict


def test_the_first_installed_distribution_is_named():
    assert installed("no-such-distribution", "click") == f"click {version('click')}"
    assert installed("no-such-distribution") is None
