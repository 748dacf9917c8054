"""`penstock status`: how a server is doing, once or until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from penstock.cli import terminal
from penstock.cli.durations import seconds_of
from penstock.cli.failure import EXIT_FAILED
from penstock.cli.output import Form, as_json_line, as_yaml, form_option, show
from penstock.cli.server_options import Server, uses_server
from penstock.contracts.errors import ServingError

if TYPE_CHECKING:
    from penstock.cli.server_state import ServerState
    from penstock.client import Client


@click.command()
@click.option("--watch", is_flag=True, help="Look again and again, with requests a second and latency, until Ctrl-C.")
@click.option("--interval", metavar="DURATION", callback=seconds_of, default="2s", show_default=True, help="Time between two looks.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="With --watch, end after so many looks.")
@click.option("--metrics", metavar="HOST:PORT", help="Where the server shows its metrics. [default: the port after that of gRPC]")
@form_option
@uses_server
def status(server: Server, form: Form, watch: bool, interval: float, count: int | None, metrics: str | None) -> None:
    """Show readiness, versions, workers and requests of a server; the exit code is 1 when it is not ready.

    While watching, a look is a line when the output is no terminal, a line of JSON with -o json, a document with -o yaml.
    """
    from penstock.cli.server_state import state_of

    metrics_address = metrics or server.address.metrics
    with server.client() as client:
        state = state_of(client, server.address, metrics_address)
        if watch:
            _watch(_looks(client, state, metrics_address, interval), form, count)
            return
    show(state.document(), form, state.text)
    if not state.is_ready:
        raise click.exceptions.Exit(EXIT_FAILED)


def _looks(client: Client, state: ServerState, metrics: str, interval: float) -> Iterator[ServerState | ServingError]:
    """Yield the first look and then one an interval; a server that goes away is looked for until it is back."""
    from penstock.cli.server_state import state_of

    yield state
    next_at = time.monotonic()
    while True:
        next_at += interval
        time.sleep(max(next_at - time.monotonic(), 0.0))
        try:
            state = state_of(client, state.address, metrics, former=state)
            yield state
        except ServingError as error:
            yield error


def _watch(looks: Iterator[ServerState | ServingError], form: Form, count: int | None) -> None:
    try:
        for look in islice(looks, count):
            _show_look(look, form)
    except KeyboardInterrupt:
        return


def _show_look(look: ServerState | ServingError, form: Form) -> None:
    now = time.strftime("%H:%M:%S")
    document = {"error": look.message, "reason": look.reason} if isinstance(look, ServingError) else look.document()
    if form is Form.JSON:
        click.echo(as_json_line(document))
    elif form is Form.YAML:
        click.echo(f"---\n{as_yaml(document)}", nl=False)
    elif terminal.redraws():
        text = f"no answer: {look.message}" if isinstance(look, ServingError) else look.text()
        click.echo(f"{terminal.HOME_AND_CLEAR}{text}\n\n{now}, Ctrl-C ends", color=True)
    else:
        click.echo(f"{now}  {f'no answer: {look.message}' if isinstance(look, ServingError) else look.line()}")
