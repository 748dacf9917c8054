"""`penstock rollback`: put the previous versions back, in one action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.failure import EXIT_TIMEOUT
from penstock.cli.model_argument import only_model_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write


@click.command()
@only_model_argument
@click.option("--to", "version", metavar="VERSION", default="", help="Give all the traffic to this version instead.")
@writes
@form_option
@uses_server
def rollback(server: Server, form: Form, write: Write, model: str, version: str) -> None:
    """Put the shares back that were in force before the last change of them; the same command again takes that back.

    Prints the seconds until every live router confirmed; the exit code is 4 when one did not.
    """
    from penstock.cli.control_views import change_document, confirmations_text, difference, route_document

    with control_of(server) as control:
        answer = control.rollback(model, version, write)
    is_whole = answer.elapsed_seconds >= 0 or write.dry_run
    document = {
        "route": route_document(answer.route),
        "change": change_document(answer.change),
        "elapsed_seconds": answer.elapsed_seconds if is_whole else None,
        "confirmations": {one.router_id: one.seconds if one.seconds >= 0 else None for one in answer.confirmations},
    }
    told = "nothing was changed (dry run)" if write.dry_run else confirmations_text(answer.confirmations)
    show(document, form, lambda: f"{difference(answer.change)}\n{told}")
    if not is_whole:
        raise click.exceptions.Exit(EXIT_TIMEOUT)
