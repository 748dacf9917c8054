"""`penstock rollback`: put the previous versions back, in one action."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.failure import EXIT_TIMEOUT
from penstock.cli.model_argument import only_model_argument, version_option
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write


@click.command()
@only_model_argument
@version_option
@click.option(
    "--break-glass",
    "past",
    is_flag=True,
    help="Past the controller: sign the route and publish it yourself; needs --key, and --bootstrap or --router.",
)
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Operator's private key, with --break-glass.")
@click.option("--bootstrap", metavar="HOST:PORT", default="", help="Kafka, with --break-glass.")
@click.option(
    "--bus",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="How Kafka is reached, as [bus] of a router's settings says it (TOML or JSON). Also by PENSTOCK_BUS__TLS and its like.",
)
@click.option(
    "--router", "routers", multiple=True, metavar="TARGET", help="Admin service of a router, with --break-glass when Kafka is down."
)
@writes
@form_option
@uses_server
def rollback(server: Server, form: Form, write: Write, model: str, version: str | None, **glass: Any) -> None:
    """Put the shares back that were in force before the last change of them; the same command again takes that back.

    Prints the seconds until every live router confirmed; the exit code is 4 when one did not.
    """
    from penstock.cli.control_views import change_document, confirmations_text, difference, route_document

    if glass.pop("past"):
        if write.dry_run or write.reason or write.expected_revision:
            raise click.UsageError("--dry-run, --reason and --expect-revision are the controller's: leave them out with --break-glass.")
        _break_glass(form, model, version or "", glass)
        return
    if any(glass.values()):
        raise click.UsageError("--key, --bootstrap, --bus and --router go with --break-glass.")
    with control_of(server) as control:
        answer = control.rollback(model, version or "", write)
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


def _break_glass(form: Form, model: str, version: str, glass: Mapping[str, Any]) -> None:
    from penstock.cli.break_glass import roll_back, told

    key, bootstrap, bus, routers = glass["key"], glass["bootstrap"], glass["bus"], glass["routers"]
    if key is None or bool(bootstrap) == bool(routers):
        raise click.UsageError("--break-glass needs --key FILE, and either --bootstrap or --router.")
    if bus and routers:
        raise click.UsageError("--bus goes with --bootstrap.")
    where = [f"--bootstrap={bootstrap}", *([f"--bus={bus}"] if bus else [])] if bootstrap else [f"--router={one}" for one in routers]
    answer = roll_back(model, version, key, where)
    show(answer, form, lambda: told(answer))
    if None in answer["confirmations"].values() or not answer["confirmations"]:
        raise click.exceptions.Exit(EXIT_TIMEOUT)
