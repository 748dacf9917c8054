"""`penstock models`: what a server holds, and how that is changed."""

from __future__ import annotations

import click

from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.model_argument import complete_model, model_and_version, model_argument, only_model_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.registered_versions import show_versions, verify
from penstock.cli.registration import alias, register
from penstock.cli.server_options import Server, uses_patient_server, uses_server
from penstock.cli.version_signature import digest


@click.group(cls=SuggestingGroup)
def models() -> None:
    """List, inspect, load and unload models; register versions of them, and verify those; their statistics."""


models.add_command(register)
models.add_command(alias)
models.add_command(digest)
models.add_command(show_versions)
models.add_command(verify)


@models.command("list")
@click.option("--ready", is_flag=True, help="Only versions that take requests.")
@form_option
@uses_server
def list_models(server: Server, form: Form, ready: bool) -> None:
    """List every version with its state, and why it is not ready."""
    from penstock.cli.model_tables import versions_table
    from penstock.cli.server_client import versions_of

    with server.client() as client:
        entries = [entry for entry in versions_of(client) if entry.is_ready or not ready]
    show([entry.document() for entry in entries], form, lambda: versions_table(entries))


@models.command()
@model_argument
@click.option("--version", metavar="VERSION", help="The version, or an alias. [default: what the route says]")
@form_option
@uses_server
def inspect(server: Server, form: Form, model: str, version: str | None) -> None:
    """Show versions, signature, configuration, measured costs and memory of a model."""
    from penstock.cli.inspection import inspect_model

    name, wanted = model_and_version(model, version)
    with server.client() as client:
        found = inspect_model(client, name, wanted)
    show(found.document(), form, found.text)


@models.command()
@only_model_argument
@uses_patient_server
def load(server: Server, model: str) -> None:
    """Load a model, or load it again, and wait up to a minute until it is ready."""
    from penstock.cli.server_client import versions_of

    with server.client() as client:
        client.load(model)
        ready = [entry.version for entry in versions_of(client, model) if entry.is_ready]
    click.echo(f"{model} is ready: {_counted(ready)}")


@models.command()
@only_model_argument
@uses_patient_server
def unload(server: Server, model: str) -> None:
    """Unload a model and wait up to a minute until it is gone; `penstock models load` brings it back."""
    with server.client() as client:
        client.unload(model)
    click.echo(f"{model} is unloaded")


@models.command()
@click.argument("model", metavar="[MODEL[@VERSION]]", required=False, shell_complete=complete_model)
@form_option
@uses_server
def stats(server: Server, form: Form, model: str | None) -> None:
    """Show requests, batches and mean times since each version was loaded."""
    from penstock.cli.model_tables import statistics_table
    from penstock.cli.server_client import statistics_of

    name, version = model_and_version(model or "")
    with server.client() as client:
        found = statistics_of(client, name, version)
    show([entry.document() for entry in found], form, lambda: statistics_table(found))


def _counted(versions: list[str]) -> str:
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(versions) or 'none'}"
