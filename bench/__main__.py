"""`python -m bench`: penstock next to a bare grpc.aio server, one core for each server, the generator on the other.

Rules: the whole server tree is pinned to core 0 and the generator to core 1; all servers of a comparison are alive at once and loads
rotate between them, because one machine's speed changes by a factor of two within minutes; medians and ranges of the rounds are kept,
never the best. Before anything is timed, answers are checked, and after every load the servers' own counts are compared with the
generator's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import report
from bench.figures import Figures
from bench.load import GrpcLoad, NoGenerator, ensure_h2load, measure, warm_up
from bench.model import build_repository, request_bytes
from bench.servers import Server, echo_server, penstock_server

IN_FLIGHT = (4, 16, 64, 256)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run all loads and write the results."""
    options = _options()
    try:
        h2load = ensure_h2load()
    except NoGenerator as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, ExitStack() as stack:
        work = Path(folder)
        build_repository(work / "models")
        body = work / "request.bin"
        body.write_bytes(request_bytes())
        servers = [stack.enter_context(penstock_server(work)), stack.enter_context(echo_server(work))]
        for server in servers:
            server.check()
        for number in range(options.rounds):
            for in_flight in IN_FLIGHT:
                for server in servers:
                    load = GrpcLoad(port=server.port, body=body, in_flight=in_flight, seconds=options.seconds)
                    _one(figures, server, load, h2load)
            report.say(f"round {number + 1} of {options.rounds} is done")
    report.derive(figures, IN_FLIGHT)
    report.write(figures, RESULTS / "latest.json")
    report.show(figures, IN_FLIGHT)
    return 0


def _one(figures: Figures, server: Server, load: GrpcLoad, h2load: Path) -> None:
    warm_up(h2load, load)
    before_cpu, before_count = server.cpu_seconds(), server.answered()
    run = measure(h2load, load)
    cpu, after_count = server.cpu_seconds() - before_cpu, server.answered()
    count = None if after_count is None or before_count is None else after_count - before_count
    if run.failed or (count is not None and abs(count - run.requests) > load.in_flight):
        raise SystemExit(f"{server.name} at {load.in_flight} in flight: {run.failed} failed, {run.requests} sent, {count} answered")
    name = f"{server.name}.grpc.c{load.in_flight}"
    figures.add(f"{name}.requests_per_second", run.requests / run.seconds, "1/s")
    figures.add(f"{name}.cpu_us_per_request", cpu / run.requests * 1e6, "us")
    figures.add(f"{name}.p50_ms", run.p50_ms, "ms")
    figures.add(f"{name}.p99_ms", run.p99_ms, "ms")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="loads of each kind; medians are reported")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one load")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
