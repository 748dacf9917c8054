"""Third-party clients, as their users use them, against `penstock serve`.

The scripts are plain programs of those users: they import their client and NumPy, take addresses as arguments, and fail with an
assertion. Each runs once, in its client's own environment; while it runs, the interpreter notes which of the client's public methods it
calls, so that what a client can do and no script does is seen.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.clients.running import HERE, LEFT_OUT, SCRIPTS, SURFACES, Runs, public_methods

# The first of them may have to install a client from an empty cache.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PACKAGES = {
    "tritonclient": {"tritonclient", "numpy", "ml_dtypes"},
    "openai": {"openai", "numpy"},
    "kserve": {"kserve", "numpy", "httpx", "grpc"},
    "grpc_tools": {"grpc", "google", "grpc_health", "grpc_reflection"},
}
"""What scripts of an environment may import; tritonclient brings ml_dtypes for BF16, KServe's clients raise errors of httpx and grpc."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_of_a_client_user_passes(script: str, runs: Runs):
    outcome = runs.outcome_of(script)

    assert outcome.code == 0, outcome.printed


@pytest.mark.parametrize("surface", SURFACES)
def test_every_public_method_of_a_client_is_called_or_left_out_for_a_reason(surface: str, runs: Runs):
    entered = frozenset().union(*(runs.outcome_of(script).entered for script in SURFACES[surface]["scripts"]))
    public = public_methods(surface)
    left_out = LEFT_OUT.get(SURFACES[surface].get("left_out", ""), {})

    missing = {name for name, place in public.items() if place not in entered}
    excused = {name for name in missing if any(fnmatchcase(name, pattern) for pattern in left_out)}
    print(f"\n{surface}: {len(public) - len(missing)} of {len(public)} public methods called, {len(excused)} left out for a reason")

    assert sorted(missing - excused) == []
    assert [pattern for pattern in left_out if not any(fnmatchcase(name, pattern) for name in missing)] == []
    assert len(missing) < len(public), "no public method was called at all"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_imports_its_client_and_nothing_of_ours(script: str):
    tree = ast.parse((HERE / "scripts" / f"{script}.py").read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "." * node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    foreign = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    assert foreign <= PACKAGES[SCRIPTS[script]["environment"]]


def test_every_script_is_run_and_answers_for_a_surface():
    assert {path.stem for path in (HERE / "scripts").glob("*.py")} == set(SCRIPTS)
    assert {script for surface in SURFACES.values() for script in surface["scripts"]} == set(SCRIPTS)


def test_no_client_is_installed_beside_us():
    assert [name for name in ("tritonclient", "openai", "kserve") if importlib.util.find_spec(name)] == []


def test_a_wrong_answer_fails_the_run_and_its_calls_still_count(runs: Runs, tmp_path: Path):
    script = tmp_path / "wrong.py"
    script.write_text("import tritonclient.http as http\nassert http.InferInput('x', [1], 'FP32').shape() == [2], 'a wrong answer'\n")

    outcome = runs.run(script, [], "tritonclient")

    assert outcome.code == 1
    assert "AssertionError: a wrong answer" in outcome.printed
    called = {name for name, place in public_methods("tritonclient.http").items() if place in outcome.entered}
    assert called == {"InferInput.shape"}
