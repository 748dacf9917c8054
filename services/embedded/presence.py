"""Makes a serve visible: its metrics, its readiness, its record for other commands, its words for a person.

Imported only when the children run already: what it brings with it (numpy, prometheus_client) takes as long to load as they do.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog
from prometheus_client import CollectorRegistry

from services.chassis import telemetry
from services.chassis.aggregate import Aggregate
from services.chassis.entry import Start
from services.chassis.metrics import registry
from services.chassis.metrics_server import Gathered, MetricsServer
from services.chassis.parentage import start_ticks
from services.chassis.process import CannotStart
from services.chassis.process_metrics import process_metrics
from services.chassis.serve_record import ServeRecord, published
from services.embedded import banner
from services.embedded.addresses import Addresses
from services.embedded.machine_metrics import ChildMetrics, MachineUse
from services.embedded.opening import say
from services.embedded.readiness import Readiness, answers
from services.embedded.settings import EmbeddedSettings
from services.embedded.supervisor import Serve

log = structlog.get_logger(__name__)


@asynccontextmanager
async def visible(serve: Serve, start: Start[EmbeddedSettings]) -> AsyncGenerator[None]:
    """Wait until everything is ready, say so, and stay visible until the block ends."""
    async with AsyncExitStack() as stack:
        traces = await stack.enter_async_context(telemetry.started(start.service, {}))
        own = registry(MachineUse(), ChildMetrics(serve.children, serve.watch), *process_metrics(start, traces))
        served = serve.addresses
        try:
            port = await stack.enter_async_context(_metrics(serve, own).on_port(served.metrics_host, served.metrics_port))
        except OSError as error:
            raise CannotStart(
                f"cannot serve metrics at {served.metrics}: {error.strerror or error}; set --metrics-host, --metrics-port"
            ) from None
        served = replace(served, metrics_port=port)
        await _ready(serve, served)
        record = ServeRecord(
            http=served.http,
            grpc=served.grpc,
            metrics=served.metrics,
            is_tls=served.is_tls,
            repository=str(serve.settings.repository.absolute()),
            state_dir=serve.folder.path,
            started_time=time.time() - since_start(),
        )
        stack.enter_context(published(record, serve.settings.runtime_dir))
        say(f"  ready in {since_start():.1f} s; Ctrl-C stops\n")
        log.info("serve_ready", seconds=round(since_start(), 3))
        yield


async def _ready(serve: Serve, served: Addresses) -> None:
    readiness = Readiness(serve.folder, serve.routers, serve.workers, serve.clock)
    await readiness.routers_ready()
    statuses = (await readiness.workers_settled()).values()
    await readiness.workers_reached()
    if not await answers(served, serve.clock):
        log.warning("ready_check_failed", url=f"{served.http_url}/v2/health/ready")
    call = banner.example_call(statuses, served, needs_key=serve.settings.tenants_file is not None)
    say(banner.addresses(served) + banner.models(statuses) + call)


def _metrics(serve: Serve, own: CollectorRegistry) -> MetricsServer:
    aggregate = Aggregate({child.spec.name: serve.folder.metrics_socket(child.spec.name) for child in serve.children})

    async def source() -> CollectorRegistry:
        return registry(Gathered(await aggregate.collect({"supervisor": own.collect()})))

    return MetricsServer(source)


def since_start() -> float:
    """Return the seconds since the process began, the command that became it included."""
    began_at = start_ticks(os.getpid()) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began_at
