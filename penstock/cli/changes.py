"""`penstock changes` and `penstock audit`: what changed, who did it, and whether the record is whole."""

from __future__ import annotations

import math
import re
import time

import click

from penstock.cli.control_options import control_of
from penstock.cli.failure import EXIT_FAILED
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def age_of(_ctx: click.Context, _option: click.Parameter, value: str | None) -> float:
    """Return the seconds of an age such as 90s, 1h or 7d, 0 when none is given.

    Raises:
        click.BadParameter: no age.
    """
    if value is None:
        return 0.0
    match = _AGE.fullmatch(value)
    age = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if not 0 < age < math.inf:
        raise click.BadParameter(f"{value!r} is no age above 0: use for example 90s, 15m, 1h or 7d.")
    return age


@click.command()
@click.option("--since", metavar="AGE", callback=age_of, help="Only changes of the last 90s, 15m, 1h, 7d …")
@click.option("--model", metavar="MODEL", default="", help="Only of this model.")
@click.option("--most", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most changes, the newest ones.")
@form_option
@uses_server
def changes(server: Server, form: Form, since: float, model: str, most: int) -> None:
    """Show what changed, newest first."""
    from penstock.cli.control_views import change_document, changes_table

    since_time = time.time() - since if since else 0.0
    with control_of(server) as control:
        found = list(control.changes(since_time=since_time, subject=f"model/{model}" if model else "", most=most).changes)
    show([change_document(one) for one in found], form, lambda: changes_table(found))


@click.command()
@click.option("--subject", metavar="SUBJECT", default="", help="Only of this subject, for example model/fraud_detector or tenant/acme.")
@click.option("--most", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most records, the newest ones.")
@click.option("--verify", is_flag=True, help="Check the chain of hashes from its beginning; the exit code is 1 when it is broken.")
@form_option
@uses_server
def audit(server: Server, form: Form, subject: str, most: int, verify: bool) -> None:
    """Show the audit records, newest first, and check that none was changed, removed or moved."""
    from penstock.cli.control_views import change_document, changes_table

    with control_of(server) as control:
        answer = control.changes(subject=subject, most=most, verify=verify)
    verdict = "" if not verify else f"\nthe chain is broken: {answer.broken}" if answer.broken else "\nthe chain holds"
    document = {"records": [change_document(one) for one in answer.changes], "broken": answer.broken or None}
    show(document, form, lambda: changes_table(answer.changes) + verdict)
    if answer.broken:
        raise click.exceptions.Exit(EXIT_FAILED)
