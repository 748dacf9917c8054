"""The bytecode that setup leaves, so that no process compiles what it imports."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "setup" / "bytecode.py"


def test_bytecode_is_written_even_where_python_is_told_to_write_none(tmp_path: Path) -> None:
    package = tmp_path / "tried"
    (package / "versions").mkdir(parents=True)
    sources = {
        "__init__.py": "",
        "sound.py": "import tried.needed",
        "needed.py": "",
        "lacking.py": "import no_package_of_this_name",
        "__main__.py": "raise SystemExit('a program was run')",
        "env.py": "raise SystemExit('a script was run')",
        "versions/0001_first.py": "raise SystemExit('a migration was run')",
    }
    for name, text in sources.items():
        (package / name).write_text(text)
    code = f"import runpy, pathlib; runpy.run_path({str(SCRIPT)!r})['leave'](pathlib.Path({str(tmp_path)!r}), ('tried',))"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPYCACHEPREFIX", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "tried.lacking" in done.stderr
    written = {path.name.partition(".")[0] for path in package.rglob("*.pyc")}
    assert written >= {"__init__", "sound", "needed"}
    assert not written & {"__main__", "env", "0001_first"}


def test_all_that_servers_and_command_line_import_is_looked_at() -> None:
    names = set(runpy.run_path(str(SCRIPT))["modules"](ROOT, ("penstock", "services")))
    assert {"services.router.app", "services.worker.app", "services.embedded.app", "penstock.cli.main", "penstock"} <= names
    assert not [name for name in names if name.endswith(("__main__", ".env"))]
