"""Checks of servers: the usual ports, the serves that run, and the one that commands would ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version

from penstock.cli.address import RunningServe
from penstock.cli.findings import Finding, broken, fine, note, warning
from penstock.cli.listeners import Listener, listener_on
from penstock.cli.serve_records import running_serves
from penstock.cli.server_options import Server
from penstock.contracts.errors import ServingError

USUAL_PORTS = {8000: "--http-port", 8001: "--grpc-port", 8002: "--metrics-port"}


def server_findings(server: Server) -> Iterator[Finding]:
    """Check ports and servers; `server` is the one that commands would ask."""
    serves = running_serves()
    for port in USUAL_PORTS:
        yield judge_port(port, listener_on(port), serves)
    yield judge_serves(serves)
    yield _reached(server)


def judge_port(port: int, listener: Listener | None, serves: Sequence[RunningServe]) -> Finding:
    """Judge one of the usual ports."""
    check = f"port {port}"
    if listener is None:
        return fine(check, "free")
    serve = next((serve for serve in serves for one in (serve.http, serve.grpc, serve.metrics) if one.endswith(f":{port}")), None)
    if serve is not None:
        return fine(check, f"{serve.title}, process {serve.process_id}")
    return warning(
        check, f"taken by {listener}", f"end it, or choose another one: penstock serve REPOSITORY {USUAL_PORTS[port]} {port + 1000}"
    )


def judge_serves(serves: Sequence[RunningServe]) -> Finding:
    """Tell which serves run."""
    if not serves:
        return note("serves", "none of yours runs", "penstock serve REPOSITORY")
    return fine("serves", "; ".join(f"process {serve.process_id}, {serve.repository} at {serve.http}" for serve in serves))


def judge_versions(ours: str, theirs: str, place: str) -> Finding:
    """Judge whether server and command line belong together; they do within a minor version."""
    if ours.split(".")[:2] == theirs.split(".")[:2]:
        return fine("server", f"{place} answers, version {theirs}")
    return warning("server", f"{place} has version {theirs}, this is {ours}", f"pip install 'penstock=={theirs}'")


def _reached(server: Server) -> Finding:
    from penstock.cli.refusals import failure_of, is_unreachable
    from penstock.cli.server_client import identity_of

    address = server.address
    try:
        with server.client() as client:
            return judge_versions(version("penstock"), identity_of(client).version, str(address))
    except ServingError as error:
        if not address.is_named and address.serve is None:
            return note("server", f"none at {address}")
        # Whoever runs the doctor because of an error is not sent to the doctor by it.
        failure = failure_of(error, address)
        step = "penstock serve REPOSITORY" if is_unreachable(error) else failure.next_step
        return broken("server", f"{failure.message} at {address}", step)
