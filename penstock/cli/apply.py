"""`penstock apply`, `penstock plan` and `penstock mesh`: the wanted state, what it would take, and who is there."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.documents import text_of
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write


@click.command()
@click.option("-f", "--file", "source", type=click.File("r", encoding="utf-8"), required=True, help="YAML or JSON; - reads the input.")
@writes
@form_option
@uses_server
def apply(server: Server, form: Form, write: Write, source: IO[str]) -> None:
    """Make the mesh be as a document says: a Deployment of ours, or an InferenceService of KServe."""
    from penstock.cli.control_views import change_document, changes_table

    manifest = text_of(source)
    with control_of(server) as control:
        answer = control.apply(manifest, write)
    document = {"changes": [change_document(one) for one in answer.changes], "pending": list(answer.pending)}
    waits = [f"pending: {what}" for what in answer.pending]
    show(document, form, lambda: "\n".join([changes_table(answer.changes), *waits]))


@click.command()
@click.argument("model", metavar="[MODEL]", required=False, default="")
@form_option
@uses_server
def plan(server: Server, form: Form, model: str) -> None:
    """Show where every replica stands or would go, and why; nothing is changed."""
    from penstock.cli.control_views import placements_table

    with control_of(server) as control:
        found = control.plan(model)
    document = [
        {
            "action": one.action,
            "model": one.model,
            "version": one.version,
            "worker": one.worker_id or None,
            "memory_bytes": one.memory_bytes,
            "reason": one.reason,
        }
        for one in found
    ]
    show(document, form, lambda: placements_table(found))


@click.command()
@form_option
@uses_server
def mesh(server: Server, form: Form) -> None:
    """Show the controllers, routers and workers that are there."""
    from penstock.cli.control_views import members_table

    with control_of(server) as control:
        answer = control.mesh()
    document = {
        "members": [
            {
                "role": one.role,
                "name": one.name,
                "instance": one.instance_id,
                "silent_seconds": one.silent_seconds,
                "applied_sequence": one.applied_sequence,
                "leader": one.leader,
            }
            for one in answer.members
        ],
        "unpublished": answer.unpublished,
    }
    show(document, form, lambda: members_table(answer))
