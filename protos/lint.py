"""Checks the contracts' style, and that they did not change in a way that breaks who speaks them.

    python -m protos.lint                      check; exit 1 and print `file:line: rule: message` for every finding
    python -m protos.lint --update-baseline    accept the contracts as they are now as what others speak
    python -m protos.lint --root FOLDER        check the proto files of another folder

Style rules live in `protos/style.py`, rules of change in `protos/changes.py`; the baseline is `protos/baseline/contracts.json`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from protos import changes, style
from protos.descriptors import ROOT, CompileError, Finding, fail, read_descriptors

BASELINE = "baseline/contracts.json"
"""Where the accepted contracts are, below the folder that is checked."""


def main(arguments: list[str] | None = None) -> int:
    """Check or accept; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m protos.lint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--update-baseline", action="store_true", help="accept the contracts as they are now")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the proto files")
    options = parser.parse_args(arguments)
    try:
        if options.update_baseline:
            changes.write_baseline(read_descriptors(options.root), options.root / BASELINE)
            return 0
        findings = lint(options.root)
    except CompileError as error:
        return fail(str(error))
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return fail(f"{len(findings)} findings") if findings else 0


def lint(root: Path = ROOT) -> list[Finding]:
    """Return everything that is wrong with the proto files below `root`, in the order of files and lines."""
    descriptors = read_descriptors(root)
    found = [finding for file in descriptors.file for finding in style.check(file)]
    found += changes.check(descriptors, root / BASELINE)
    return sorted(set(found))


if __name__ == "__main__":
    sys.exit(main())
