"""Build real models, serve them, ask in every way, and judge the answers: `python -m examples.demo`.

Rows that no model has seen go over gRPC, HTTP and the command line. Whatever is wrong is said at the end and makes the exit code 1: an
accuracy below its floor, two ways that disagree, a refused call, a server that does not stop clean.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from examples import minilm
from examples.build import DEFAULT_REPOSITORY, build_models
from examples.examination import IN_FLIGHT, Examination, Finding, trials
from examples.served import Server, ServerFailure, serving
from examples.ways import OverCommandLine, OverGrpc, OverHttp, OverOpenAi, Way
from penstock import Client


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Build, serve and examine the example models.")
    parser.add_argument("--models", type=Path, default=DEFAULT_REPOSITORY, metavar="FOLDER", help="model repository (default: %(default)s)")
    repository = parser.parse_args(arguments).models
    console, examination, started_at = Console(highlight=False), Examination(), time.monotonic()
    try:
        _run(repository, examination, console)
    except ServerFailure as failure:
        examination.complaints.append(str(failure))
    if examination.findings:
        console.print(_table(examination.findings))
    for complaint in examination.complaints:
        console.print(f"wrong: {complaint}", style="red", markup=False, soft_wrap=True)
    verdict = f"{len(examination.complaints)} wrong" if examination.complaints else "every answer as it should be"
    console.print(f"{verdict}, {time.monotonic() - started_at:.0f} s")
    return 1 if examination.complaints else 0


def _run(repository: Path, examination: Examination, console: Console) -> None:
    for name, was_built in build_models(repository).items():
        console.print(f"{name}: {'built' if was_built else 'already built'}")
    questions, started_at = trials(), time.monotonic()
    with serving(repository, [(trial.model, trial.version) for trial in questions]) as server:
        console.print(f"ready after {time.monotonic() - started_at:.1f} s; the server says:")
        console.print(server.running.printed().rstrip(), style="dim", markup=False, soft_wrap=True)
        with Client(server.grpc_target) as client:
            for trial in questions:
                console.print(f"asking {trial.model} {trial.version} in every way …")
                examination.run(trial, _ways(server, client, is_text=trial.model == minilm.NAME))
        for line in server.running.troubles() if examination.complaints else ():
            console.print(f"the server's log: {line}", style="yellow", markup=False, soft_wrap=True)
    console.print("stopped: code 0 after SIGTERM, no process left")


def _ways(server: Server, client: Client, *, is_text: bool) -> list[Way]:
    http = OverHttp(server)
    return [OverGrpc(client), http, *([OverOpenAi(http)] if is_text else []), OverCommandLine(server)]


def _table(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table that fits 80 columns."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title="Held-out rows, answered by the server",
        caption=f"calls/s with {IN_FLIGHT} in flight; client and server share cores",
    )
    for heading in ("model", "way"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "a call", "accuracy", "p50 ms", "p99 ms", "calls/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for found in findings:
        rate = "–" if found.calls_per_second is None else f"{found.calls_per_second:,.0f}"
        asked = (f"{found.trial.model} {found.trial.version}", found.way.name, str(len(found.trial.rows)), str(found.way.rows_a_call))
        table.add_row(*asked, f"{found.accuracy:.1%}", _milliseconds(found.p50_ms), _milliseconds(found.p99_ms), rate)
    return table


def _milliseconds(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.2f}"


if __name__ == "__main__":
    sys.exit(main())
