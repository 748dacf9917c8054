"""A bare grpc.aio server: no parsing, no policy, no model; every call gets the same bytes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc
import grpc.aio
import numpy as np

from bench.model import CLASSES, NAME
from penstock.oip.v2 import inference_pb2 as pb


def _answer() -> bytes:
    response = pb.ModelInferResponse(model_name=NAME, model_version="1", id="bench-01")
    response.outputs.add(name="y", datatype="FP32", shape=[1, CLASSES])
    response.raw_output_contents.append(np.zeros((1, CLASSES), np.float32).tobytes())
    return response.SerializeToString()


async def main(ready: Path) -> None:
    """Serve until killed."""
    answer = _answer()

    async def infer(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return answer

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(infer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(ready.write_text, json.dumps({"grpc": port}))
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
