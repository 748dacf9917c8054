"""`penstock deployments`: what runs, how much of it, and how it is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write


@click.group(cls=SuggestingGroup)
def deployments() -> None:
    """List, scale and delete deployments."""


@deployments.command("list")
@click.argument("model", metavar="[MODEL]", required=False, default="")
@click.option("--retired", is_flag=True, help="Those too that hold no replica any more.")
@form_option
@uses_server
def list_deployments(server: Server, form: Form, model: str, retired: bool) -> None:
    """List deployments with status, replicas and share of the traffic."""
    from penstock.cli.control_views import deployment_document, deployments_table

    with control_of(server) as control:
        found = control.deployments(model, retired=retired)
    show([deployment_document(one) for one in found], form, lambda: deployments_table(found))


@deployments.command()
@click.argument("deployment_id", metavar="ID")
@click.argument("replicas", type=click.IntRange(1, 1000))
@writes
@form_option
@uses_server
def scale(server: Server, form: Form, write: Write, deployment_id: str, replicas: int) -> None:
    """Change how many replicas a deployment has."""
    from penstock.cli.control_views import change_document, difference

    with control_of(server) as control:
        change = control.scale(deployment_id, replicas, write).change
    show(change_document(change), form, lambda: difference(change))


@deployments.command()
@click.argument("deployment_id", metavar="ID")
@click.option("--force", is_flag=True, help="Also when it has traffic; the other versions share that.")
@writes
@form_option
@uses_server
def delete(server: Server, form: Form, write: Write, deployment_id: str, force: bool) -> None:
    """Take a deployment away."""
    from penstock.cli.control_views import change_document, difference

    with control_of(server) as control:
        change = control.undeploy(deployment_id, write, force=force).change
    show(change_document(change), form, lambda: difference(change))
