"""The MODEL of a command: `digits`, or `digits@2` for one version; shells complete it by asking the server."""

from __future__ import annotations

from typing import Any

import click

COMPLETION_SECONDS = 0.5
"""Longest wait of somebody who has pressed the tabulator."""


def complete_model(ctx: click.Context, _argument: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of models that begin like what was typed; none when no server answers."""
    from penstock.cli.server_client import versions_of
    from penstock.cli.server_options import Server, server_named
    from penstock.contracts.errors import ServingError

    given: dict[str, Any] = ctx.params
    try:
        address = server_named(given.get("url"), given.get("grpc"))
        server = Server(
            address=address,
            api_key=given.get("api_key"),
            timeout_seconds=COMPLETION_SECONDS,
            authority=given.get("ca"),
            certificate=given.get("client_certificate"),
            key=given.get("client_key"),
        )
        with server.client() as client:
            return sorted({entry.model for entry in versions_of(client) if entry.model.startswith(incomplete)})
    except (ServingError, click.UsageError, OSError):
        return []


model_argument = click.argument("model", metavar="MODEL[@VERSION]", shell_complete=complete_model)
"""Adds MODEL; the function gets the text as `model`."""

only_model_argument = click.argument("model", metavar="MODEL", shell_complete=complete_model)
"""Adds MODEL where a version says nothing."""


def _named(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    # An empty word is a variable that was not set: it would take away what was to be set, or choose what nobody named.
    if value == "":
        raise click.BadParameter("names no version: it is empty.")
    return value


version_argument = click.argument("version", metavar="VERSION", callback=_named)
"""Adds VERSION, which is not empty; the function gets it as `version`."""

version_option = click.option("--to", "version", metavar="VERSION", callback=_named, help="Give all the traffic to this version instead.")
"""Adds --to; the function gets it as `version`, None when it is not given."""


def model_and_version(text: str, version: str | None = None) -> tuple[str, str]:
    """Split `MODEL@VERSION`; the version is empty when none is named.

    Raises:
        click.UsageError: the option --version names another one.
    """
    model, at, attached = text.partition("@")
    if at and not (model and attached):
        raise click.UsageError(f"'{text}' names no version: use MODEL or MODEL@VERSION.")
    if attached and version and attached != version:
        raise click.UsageError(f"MODEL names version '{attached}' and --version '{version}': leave one out.")
    return model, attached or version or ""
