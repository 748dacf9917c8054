"""`penstock traffic`: who gets which version of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.control_options import control_of, writes
from penstock.cli.failure import EXIT_TIMEOUT
from penstock.cli.lazy_group import SuggestingGroup
from penstock.cli.model_argument import only_model_argument, version_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.server_options import Server, uses_server

if TYPE_CHECKING:
    from penstock.client.writes import Write

KEYS = ("request", "tenant", "user", "session")


@click.group(cls=SuggestingGroup)
def traffic() -> None:
    """Show and change who gets which version of a model.

    Changes print how many routers confirmed them; the exit code is 4 when one did not.
    """


@traffic.command("show")
@only_model_argument
@form_option
@uses_server
def show_route(server: Server, form: Form, model: str) -> None:
    """Show a model's route."""
    from penstock.cli.control_views import route_document, route_text

    with control_of(server) as control:
        route = control.model(model).route
    show(route_document(route), form, lambda: route_text(route))


@traffic.command("set")
@only_model_argument
@click.argument("shares", metavar="VERSION=PERCENT…", nargs=-1, required=True)
@writes
@form_option
@uses_server
def set_shares(server: Server, form: Form, write: Write, model: str, shares: tuple[str, ...]) -> None:
    """Share a model's traffic, for example `v3=90 v4=10`; one VERSION without a number takes the rest."""
    from penstock.cli.shares import shares_of

    points = shares_of(shares)
    with control_of(server) as control:
        show_change(control.set_traffic(model, points, write), form)


@traffic.command()
@only_model_argument
@version_argument
@click.option("--tenant", required=True, metavar="NAME", help="Who is sent there.")
@writes
@form_option
@uses_server
def pin(server: Server, form: Form, write: Write, model: str, version: str, tenant: str) -> None:
    """Send one tenant to a version, whatever the shares are."""
    with control_of(server) as control:
        show_change(control.pin(model, tenant, version, write), form)


@traffic.command()
@only_model_argument
@click.option("--tenant", required=True, metavar="NAME", help="Whose pin is taken away.")
@writes
@form_option
@uses_server
def unpin(server: Server, form: Form, write: Write, model: str, tenant: str) -> None:
    """Take a tenant's pin away."""
    with control_of(server) as control:
        show_change(control.pin(model, tenant, "", write), form)


@traffic.command()
@only_model_argument
@click.argument("version", metavar="[VERSION]", required=False)
@click.option("--sample", metavar="PERCENT", default="10", show_default=True, help="Share of the traffic that is copied.")
@click.option("--concurrency", type=click.IntRange(1, 1024), default=8, show_default=True, help="Most copies in flight in one router.")
@click.option("--off", is_flag=True, help="End the shadow.")
@writes
@form_option
@uses_server
def shadow(server: Server, form: Form, write: Write, model: str, version: str | None, sample: str, concurrency: int, off: bool) -> None:
    """Copy a sample of the traffic to VERSION; nobody sees its answers, `penstock traffic show` tells that it runs."""
    from penstock.cli.shares import basis_points
    from penstock.contracts.routes import Shadow

    if off == bool(version):
        raise click.UsageError("Name a VERSION, or end the shadow with --off.")
    wanted = Shadow(version=version, sample_basis_points=basis_points(sample), concurrency_limit=concurrency) if version else None
    with control_of(server) as control:
        show_change(control.shadow(model, wanted, write), form)


@traffic.command()
@only_model_argument
@click.argument("key", metavar="request|tenant|user|session|PARAMETER")
@click.option("--salt", default="", help="Salt of the hash: another salt draws other callers. [default: the model's name]")
@writes
@form_option
@uses_server
def stick(server: Server, form: Form, write: Write, model: str, key: str, salt: str) -> None:
    """Let callers with the same KEY get the same version while the shares stand; any other word names a request parameter."""
    from penstock.contracts.routes import KeySource, RoutingKey

    source = KeySource[key.upper()] if key in KEYS else KeySource.PARAMETER
    with control_of(server) as control:
        show_change(control.stick(model, RoutingKey(source=source, parameter="" if key in KEYS else key, salt=salt), write), form)


@traffic.command()
@only_model_argument
@click.argument("steps", metavar="VERSION|cached|@FILE…", nargs=-1)
@writes
@form_option
@uses_server
def fallback(server: Server, form: Form, write: Write, model: str, steps: tuple[str, ...]) -> None:
    """Set what answers, in order, when a version cannot: VERSION, the last `cached` answer, or the ModelInferResponse in FILE.

    Without a step the chain is taken away.
    """
    from penstock.cli.fallback_steps import fallback_steps

    wanted = fallback_steps(steps)
    with control_of(server) as control:
        show_change(control.set_fallback(model, wanted, write), form)


@traffic.command()
@only_model_argument
@click.argument("versions", metavar="[VERSION|VERSION:TENANT]…", nargs=-1)
@writes
@form_option
@uses_server
def kill(server: Server, form: Form, write: Write, model: str, versions: tuple[str, ...]) -> None:
    """Take versions away from everybody, or from one tenant, at once; those that are not named answer again."""
    from penstock.contracts.routes import KillSwitch

    switches = [KillSwitch(version=version, tenant=tenant) for version, _, tenant in (word.partition(":") for word in versions)]
    with control_of(server) as control:
        show_change(control.kill(model, switches, write), form)


@traffic.command()
@only_model_argument
@click.option("--off", is_flag=True, help="Let it answer again.")
@writes
@form_option
@uses_server
def freeze(server: Server, form: Form, write: Write, model: str, off: bool) -> None:
    """Let a model answer nobody; its shares stay as they are."""
    with control_of(server) as control:
        show_change(control.freeze(model, write, frozen=not off), form)


def show_change(answer: Any, form: Form) -> None:
    """Show a change of a route and who confirmed it; leave with EXIT_TIMEOUT where a router did not."""
    from penstock.cli.control_views import change_document, confirmations_text, difference, route_document

    document = {
        "route": route_document(answer.route),
        "change": change_document(answer.change),
        "confirmations": {one.router_id: one.seconds if one.seconds >= 0 else None for one in answer.confirmations},
    }
    after = "nothing was changed (dry run)" if answer.change.dry_run else confirmations_text(answer.confirmations)
    show(document, form, lambda: f"{difference(answer.change)}\n{after}")
    if any(one.seconds < 0 for one in answer.confirmations):
        raise click.exceptions.Exit(EXIT_TIMEOUT)
