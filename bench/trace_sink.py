"""A collector of traces that keeps nothing: `python -m bench.trace_sink FILE` writes its port and how many exports it took."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc
import grpc.aio

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


async def main(place: Path) -> None:
    """Take exports until killed."""
    exports = 0

    def note() -> None:
        beside = place.with_suffix(".new")
        beside.write_text(json.dumps({"port": port, "exports": exports}))
        beside.replace(place)

    async def export(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        nonlocal exports
        exports += 1
        await asyncio.to_thread(note)
        return b""  # an ExportTraceServiceResponse without fields

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(note)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
