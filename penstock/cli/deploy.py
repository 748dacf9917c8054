"""`penstock deploy`: bring a version up."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

import click

from penstock.cli.control_options import LARGEST_INTEGER, control_of, writes_anew
from penstock.cli.documents import text_of
from penstock.cli.durations import seconds_of
from penstock.cli.failure import Failure, TimedOut
from penstock.cli.model_argument import model_and_version, model_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.answers import Deployment
    from penstock.client.control import Control
    from penstock.client.writes import Write

LOOK_SECONDS = 0.2
"""Time between two looks at a deployment that is awaited."""


@click.command()
@model_argument
@click.option("--replicas", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many workers hold it.")
@click.option("--gpu", metavar="TYPE", default="", help="GPU type that it needs.")
@click.option("--traffic", metavar="PERCENT", help="Share of the traffic once it is ready. [default: all for a first version, else none]")
@click.option("--memory", metavar="BYTES", type=click.IntRange(1, LARGEST_INTEGER), help="Memory of one replica. [default: as measured]")
@click.option("--config", metavar="FILE", type=click.File("r", encoding="utf-8"), help="JSON in the words of model.toml.")
@click.option(
    "--wait", metavar="DURATION", callback=seconds_of, default="60s", show_default=True, help="How long to wait until it is active."
)
@click.option("--no-wait", is_flag=True, help="Return at once.")
@writes_anew
@form_option
@uses_server
def deploy(
    server: Server,
    form: Form,
    write: Write,
    model: str,
    replicas: int,
    gpu: str,
    traffic: str | None,
    memory: int | None,
    config: IO[str] | None,
    wait: float,
    no_wait: bool,
) -> None:
    """Deploy a registered version, and wait until its replicas are ready."""
    from penstock.cli.control_views import deployment_document, deployments_table, difference
    from penstock.cli.shares import basis_points
    from penstock.client.writes import Run

    name, version = model_and_version(model)
    if not version:
        raise click.UsageError(f"'{model}' names no version: use MODEL@VERSION.")
    run = Run(
        replicas=replicas,
        gpu_type=gpu,
        traffic_basis_points=basis_points(traffic) if traffic else 0,
        memory_bytes=memory or 0,
        config_json=text_of(config) if config else "",
    )
    with control_of(server) as control:
        answer = control.deploy(name, version, run, write)
        if write.dry_run:
            show(deployment_document(answer.deployment), form, lambda: f"{difference(answer.change)}\nnothing was changed (dry run)")
            return
        found = answer.deployment if no_wait else awaited(control, answer.deployment, wait)
    show(deployment_document(found), form, lambda: deployments_table([found]))


def awaited(control: Control, deployment: Deployment, wait_seconds: float) -> Deployment:
    """Return the deployment once it is active.

    Raises:
        Failure: it failed; the message is the worker's.
        TimedOut: it was not active in time.
    """
    from penstock.client.answers import status_word

    until = time.monotonic() + wait_seconds
    while True:
        now = next((one for one in control.deployments(deployment.model) if one.deployment_id == deployment.deployment_id), deployment)
        name = status_word(now)
        what = f"{now.model}@{now.version}"
        if name == "active":
            return now
        if name in ("failed", "retired", "draining"):
            raise Failure(f"{what} is {name}: {now.status_reason}", reason="DEPLOYMENT_FAILED", next_step="penstock audit")
        if time.monotonic() >= until:
            raise TimedOut(
                f"{what} has {now.ready_replicas} of {now.replicas} replicas after {wait_seconds:g} s: {now.status_reason or name}",
                reason="NOT_READY",
                next_step=f"penstock plan {now.model}",
            )
        time.sleep(LOOK_SECONDS)
