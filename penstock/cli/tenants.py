"""`penstock tenants`: who may call, how much, and with which keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.changes import age_of
from penstock.cli.control_options import control_of, writes
from penstock.cli.failure import Failure
from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write

tenant_argument = click.argument("tenant", metavar="TENANT")
force_option = click.option("--force", is_flag=True, help="Do it even if no administrator's key stays in force.")


@click.group(cls=SuggestingGroup)
def tenants() -> None:
    """List, change and freeze tenants; make and revoke their keys."""


@tenants.command("list")
@form_option
@uses_server
def list_tenants(server: Server, form: Form) -> None:
    """List tenants with their settings and the number of keys in force."""
    from penstock.cli.control_views import tenant_document, tenants_table

    with control_of(server) as control:
        found = control.tenants()
    show([tenant_document(one) for one in found], form, lambda: tenants_table(found))


@tenants.command("set")
@tenant_argument
@click.argument("settings", metavar="JSON", default="{}")
@force_option
@writes
@form_option
@uses_server
def set_tenant(
    server: Server, form: Form, write: Write, tenant: str, settings: str, force: bool
) -> None:  # fmt: skip
    """Make a tenant, or replace its settings: a JSON object in the words of the tenants file."""
    with control_of(server) as control:
        _show(control.set_tenant(tenant, settings, write, force=force).change, form)


@tenants.command()
@tenant_argument
@click.option("--off", is_flag=True, help="Answer it again.")
@force_option
@writes
@form_option
@uses_server
def freeze(
    server: Server, form: Form, write: Write, tenant: str, off: bool, force: bool
) -> None:  # fmt: skip
    """Answer nothing of a tenant any more."""
    with control_of(server) as control:
        _show(control.set_tenant(tenant, "", write, frozen=not off, force=force).change, form)


@tenants.command("create-key")
@tenant_argument
@click.option("--life", metavar="AGE", callback=age_of, help="Time until it is refused, for example 90d. [default: for ever]")
@writes
@form_option
@uses_server
def create_key(server: Server, form: Form, write: Write, tenant: str, life: float) -> None:
    """Make a key and show it once."""
    with control_of(server) as control:
        answer = control.create_key(tenant, life, write)
    if answer.change.dry_run:
        _show(answer.change, form)
        return
    if not answer.key:
        made = answer.record.key_id
        raise Failure(
            f"key {made} of {tenant} was made, and lost with the answer that did not arrive: it is shown once",
            reason="KEY_LOST",
            next_step=f"penstock tenants revoke-key {tenant} {made}; then make another one",
        )
    document = {"tenant": tenant, "key": answer.key, "id": answer.record.key_id}
    show(
        document,
        form,
        lambda: f"key, shown this once:\n  {answer.key}\nits id, for `penstock tenants revoke-key`:\n  {answer.record.key_id}",
    )


@tenants.command("revoke-key")
@tenant_argument
@click.argument("key_id", metavar="KEY_ID")
@force_option
@writes
@form_option
@uses_server
def revoke_key(
    server: Server, form: Form, write: Write, tenant: str, key_id: str, force: bool
) -> None:  # fmt: skip
    """Refuse a key from now on; routers know within a second."""
    with control_of(server) as control:
        _show(control.revoke_key(tenant, key_id, write, force=force).change, form)


def _show(change: Any, form: Form) -> None:
    from penstock.cli.control_views import change_document, difference

    after = "\nnothing was changed (dry run)" if change.dry_run else ""
    show(change_document(change), form, lambda: difference(change) + after)
