"""`penstock doctor`: is this machine fit to serve, and does the server answer?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from penstock.cli.failure import EXIT_FAILED, colour
from penstock.cli.findings import Finding, Verdict
from penstock.cli.output import Form, as_json, as_yaml, form_option
from penstock.cli.serve_records import runtime_folder
from penstock.cli.server_options import Server, uses_server

COLOURS = {Verdict.OK: "green", Verdict.NOTE: "cyan", Verdict.WARNING: "yellow", Verdict.BROKEN: "red"}


@click.command()
@form_option
@uses_server
def doctor(server: Server, form: Form) -> None:
    """Check this machine and the running server, with a line that mends what is wrong; the exit code is 1 when something is broken."""
    findings: list[Finding] = []
    for finding in _findings(server):
        findings.append(finding)
        if form is Form.TABLE:
            click.echo(_lines(finding), color=colour())
    if form is not Form.TABLE:
        document = [finding.document() for finding in findings]
        click.echo(as_json(document) if form is Form.JSON else as_yaml(document).rstrip("\n"))
    else:
        click.echo(f"\n{_summary(findings)}")
    if any(finding.verdict is Verdict.BROKEN for finding in findings):
        raise click.exceptions.Exit(EXIT_FAILED)


def _findings(server: Server) -> Iterator[Finding]:
    from penstock.cli.machine_checks import machine_findings
    from penstock.cli.package_checks import package_findings
    from penstock.cli.server_checks import server_findings

    yield from machine_findings(runtime_folder())
    yield from package_findings()
    yield from server_findings(server)


def _lines(finding: Finding) -> str:
    verdict = click.style(f"{finding.verdict.value:<7}", fg=COLOURS[finding.verdict], bold=finding.verdict is Verdict.BROKEN)
    fix = f"\n{'':24}fix: {finding.fix}" if finding.fix else ""
    return f"{verdict} {finding.check:<15} {finding.found}{fix}"


def _summary(findings: Sequence[Finding]) -> str:
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in (Verdict.WARNING, Verdict.BROKEN)}
    if not any(counts.values()):
        return "nothing is wrong"
    return f"{counts[Verdict.BROKEN]} broken, {counts[Verdict.WARNING]} could be better"
