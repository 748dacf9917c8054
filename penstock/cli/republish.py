"""`penstock republish`: fill the topics again after one of them was deleted, made anew or cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.control_options import control_of, writes_anew
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write


@click.command()
@writes_anew
@form_option
@uses_server
def republish(server: Server, form: Form, write: Write) -> None:
    """Publish again what is in force and the topics have lost; --dry-run says what that is. Routers keep what they have meanwhile."""
    with control_of(server) as control:
        answer = control.republish(write)
    records = list(answer.records)
    done = "would be published again (dry run)" if write.dry_run else "published again"
    lines = "\n".join([*records, f"{len(records)} records {done}"]) if records else "the topics lack nothing"
    show({"records": records, "dry_run": write.dry_run}, form, lambda: lines)
