"""`penstock freeze`: stop one tenant, one model, or every change of the mesh, with one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.control import Control
    from penstock.client.writes import Write


@click.command()
@click.option("--tenant", metavar="NAME", help="Answer nothing of this tenant.")
@click.option("--model", metavar="NAME", help="Let this model answer nobody.")
@click.option("--writes", "all_writes", is_flag=True, help="Refuse every change but rollbacks, kill switches, freezes and revocations.")
@click.option("--off", is_flag=True, help="Take the freeze back.")
@writes
@form_option
@uses_server
def freeze(
    server: Server, form: Form, write: Write, tenant: str | None, model: str | None, all_writes: bool, off: bool
) -> None:  # fmt: skip
    """Freeze a tenant, a model, or all writes: one of them; --off takes it back. Models answer while writes are frozen.

    For a model it prints how many routers confirmed it; the exit code is 4 when one did not.
    """
    from penstock.cli.control_views import change_document, difference
    from penstock.cli.traffic import show_change

    if (tenant, model, all_writes or None).count(None) != 2:
        raise click.UsageError("Name one of --tenant, --model and --writes.")
    if model is not None:
        with control_of(server) as control:
            answer = control.freeze(model, write, frozen=not off)
        show_change(answer, form)
        return
    with control_of(server) as control:
        change = _frozen(control, write, tenant, is_on=not off)
    after = "\nnothing was changed (dry run)" if change.dry_run else ""
    show(change_document(change), form, lambda: difference(change) + after)


def _frozen(control: Control, write: Write, tenant: str | None, *, is_on: bool) -> Any:
    if tenant is not None:
        return control.set_tenant(tenant, "", write, frozen=is_on).change
    return control.freeze_writes(write, frozen=is_on).change
