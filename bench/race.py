"""The race: the same request at the same number in flight, to one server after the other, round by round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import bodies
from bench.arena import Arena, Paddock
from bench.bodies import Body
from bench.generators import WARM_UP_SECONDS, Load, Run, grpc_body, h2load, wrk
from bench.model import Floats, rows
from bench.report import say
from bench.rivals import RIVALS
from bench.servers import Server, echo_server, penstock_server

IN_FLIGHT = (4, 16, 64, 256)
HTTP_CONNECTIONS = 64
COMPARED = (64, 256)
"""Numbers in flight at which ratios are taken."""
QUANTITIES = {"requests_per_second": "1/s", "p50_ms": "ms", "p99_ms": "ms", "cpu_us_per_request": "us"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One server's way to take part in one discipline."""

    server: str
    figure: str
    """Where its figures go, without the number in flight."""
    body: Callable[[Floats], Body]
    generator: Callable[[Load], Run]
    port: Callable[[Server], int | None]


def _grpc(rows: Floats) -> Body:
    return grpc_body(bodies.grpc_message(bodies.infer_request(rows)))


def _grpc_port(server: Server) -> int | None:
    return server.grpc_port


def _http_port(server: Server) -> int | None:
    return server.http_port


_over_grpc = partial(Entry, body=_grpc, generator=h2load, port=_grpc_port)
_over_http = partial(Entry, generator=wrk, port=_http_port)

GRPC = (
    _over_grpc(server="penstock", figure="online.grpc"),
    _over_http(server="mosec", figure="peers.mosec.msgpack", body=bodies.msgpack_body),
    _over_grpc(server="triton", figure="peers.triton.grpc"),
    _over_grpc(server="mlserver", figure="peers.mlserver.grpc"),
    _over_grpc(server="grpc_aio", figure="peers.grpc_aio.grpc"),
)
"""The binary discipline; mosec has no gRPC and takes part with its own best encoding."""
HTTP = (
    _over_http(server="penstock", figure="online.http.json", body=bodies.json_body),
    _over_http(server="penstock", figure="online.http.binary", body=bodies.binary_body),
    _over_http(server="mlserver", figure="peers.mlserver.http.json", body=bodies.json_body),
    _over_http(server="triton", figure="peers.triton.http.json", body=bodies.json_body),
    _over_http(server="triton", figure="peers.triton.http.binary", body=bodies.binary_body),
)


def grpc_race(arena: Arena) -> None:
    """Race at every number in flight, and take the ratios."""
    _race(arena, GRPC, IN_FLIGHT)
    for count in COMPARED:
        for entry in GRPC[1:]:
            top, bottom = f"online.grpc.c{count}.requests_per_second", f"{entry.figure}.c{count}.requests_per_second"
            arena.figures.ratio(f"online.grpc.c{count}.ratio_to.{entry.server}", top, bottom)


def http_race(arena: Arena) -> None:
    """Race over HTTP/1, and take the ratios to MLServer's REST."""
    _race(arena, HTTP, (HTTP_CONNECTIONS,))
    for encoding in ("json", "binary"):
        ours = f"online.http.{encoding}.c{HTTP_CONNECTIONS}"
        theirs = f"peers.mlserver.http.json.c{HTTP_CONNECTIONS}"
        arena.figures.ratio(f"{ours}.ratio_to.mlserver", f"{ours}.requests_per_second", f"{theirs}.requests_per_second")


def paddock(arena: Arena) -> Paddock:
    """Return all servers of the race; the peers among them may be absent."""
    starters = {
        "penstock": partial(penstock_server, arena.work, is_plain=arena.is_plain),
        "grpc_aio": partial(echo_server, arena.work),
        **{name: partial(start, arena.work, arena.model) for name, start in RIVALS.items()},
    }
    return Paddock(arena, starters, required=("penstock", "grpc_aio"))


def _race(arena: Arena, entries: tuple[Entry, ...], in_flight: tuple[int, ...]) -> None:
    with paddock(arena) as servers:
        for number in range(arena.rounds):
            for count in in_flight:
                for entry in entries:
                    with servers.turn(entry.server) as server:
                        if server is not None:
                            one_load(arena, server, entry, count)
            say(f"{entries[0].figure}: round {number + 1} of {arena.rounds} is done")


def one_load(arena: Arena, server: Server, entry: Entry, in_flight: int) -> None:
    """Warm up, measure once and note the figures.

    Raises:
        SystemExit: requests failed, or the server counted others than the generator did.
    """
    port = entry.port(server)
    if port is None:
        raise SystemExit(f"{server.name} has no port for {entry.figure}")
    load = partial(Load, port=port, body=entry.body(rows()), in_flight=in_flight, headers=server.headers)
    entry.generator(load(seconds=WARM_UP_SECONDS))
    cpu, counted = server.tree.cpu_seconds(), server.answered()
    run = entry.generator(load(seconds=arena.seconds))
    cpu = server.tree.cpu_seconds() - cpu
    compare_counts(server, run, counted, in_flight)
    note(arena, f"{entry.figure}.c{in_flight}", run, cpu)


def compare_counts(server: Server, run: Run, counted_before: int | None, in_flight: int) -> None:
    """Stop the run when a request failed or was lost: calls cut off at the end may differ by what was in flight.

    Raises:
        SystemExit: with both counts.
    """
    sent = run.requests + run.outside
    counted_after = server.answered()
    counted = None if counted_after is None or counted_before is None else counted_after - counted_before
    # What the load before left in flight is answered in this one, and what this one leaves is not counted by its generator.
    if run.failed or (counted is not None and abs(counted - sent) > 2 * in_flight):
        raise SystemExit(f"{server.name} at {in_flight} in flight: {run.failed} failed, {sent} sent, {counted} answered")


def note(arena: Arena, name: str, run: Run, cpu_seconds: float) -> None:
    """Keep the four figures of a load."""
    values = (run.requests / run.seconds, run.p50_ms, run.p99_ms, cpu_seconds / run.requests * 1e6)
    for (quantity, unit), value in zip(QUANTITIES.items(), values, strict=True):
        arena.figures.add(f"{name}.{quantity}", value, unit)
