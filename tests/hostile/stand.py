"""A real serve under attack: what its processes are, what they cost, and whether it still serves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from penstock.oip.v2 import inference_pb2 as pb
from services.router.grpc_engine import Engine
from tests.flows.serving import Served, serving
from tests.hostile.http2 import MODEL_INFER
from tests.hostile.models import write_repository

MESSAGE_LIMIT_BYTES = 4 << 20
"""What the serve accepts; small, so that what is larger is quickly made."""
FLAT_BYTES = 8 << 20
"""How much memory a thousand refusals may leave behind."""

Outcome = tuple[grpc.StatusCode, str | None]


def good_request(**fields: Any) -> pb.ModelInferRequest:
    """Return a request that `echo` answers."""
    request = pb.ModelInferRequest(model_name="echo", **fields)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    request.raw_input_contents.append(bytes(12))
    return request


GOOD = good_request().SerializeToString()


@dataclass
class Target:
    """A serve, the processes that it had when it was whole, and a client of good will."""

    served: Served
    engine: Engine
    channel: grpc.Channel
    process_ids: Sequence[int]
    key: str | None = None
    """API key of the client of good will."""

    @property
    def address(self) -> str:
        """Where gRPC is."""
        return self.served.grpc

    def call(self, payload: bytes, *, path: str = MODEL_INFER, channel: grpc.Channel | None = None, **how: Any) -> Outcome:
        """Call, and return status and reason."""
        try:
            (channel or self.channel).unary_unary(path)(payload, **{"timeout": 45, **how})
        except grpc.RpcError as error:
            failure = error
        else:
            return grpc.StatusCode.OK, None
        reason = dict(failure.trailing_metadata() or ()).get("penstock-reason")
        assert reason is None or len(failure.details()) <= 512  # without a reason the words are the library's
        return failure.code(), reason

    def assert_unharmed(self) -> None:
        """Same processes, and the next good request is served, at the latest when what fills the worker is done."""
        give_up_at = time.monotonic() + 20.0
        outcome = self._ask()
        while outcome[1] == "REPLICA_OVERLOADED" and time.monotonic() < give_up_at:
            time.sleep(0.05)
            outcome = self._ask()
        assert outcome == (grpc.StatusCode.OK, None), outcome
        assert self.process_ids == _children(self.served), "a process was started again"
        for process_id in self.process_ids:
            os.kill(process_id, 0)

    def _ask(self) -> Outcome:
        return self.call(GOOD, metadata=[] if self.key is None else [("x-api-key", self.key)])

    def resident_bytes(self) -> int:
        """Return the memory of router and worker."""
        pages = sum(int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) for process_id in self.process_ids)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def assert_memory_returns_to(self, before: int) -> None:
        """Within seconds router and worker have again what they had, but for FLAT_BYTES."""
        give_up_at = time.monotonic() + 20.0
        while self.resident_bytes() - before > FLAT_BYTES and time.monotonic() < give_up_at:
            time.sleep(0.05)
        grown = self.resident_bytes() - before
        assert grown <= FLAT_BYTES, f"{grown >> 10} KiB more"

    def peak_bytes(self) -> int:
        """Return the most memory that the router had since `forget_peak`."""
        lines = Path(f"/proc/{self.process_ids[0]}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10

    def forget_peak(self) -> None:
        """Let `peak_bytes` begin at what there is now."""
        Path(f"/proc/{self.process_ids[0]}/clear_refs").write_text("5")

    def router_cpu_seconds(self) -> float:
        """Return the processor time that the router has used."""
        fields = Path(f"/proc/{self.process_ids[0]}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mistakes(self) -> list[str]:
        """Return the lines of the log that tell of a mistake of ours; a model that its owner broke is not ours."""
        lines = [line for line in self.served.log.read_text().splitlines() if '"event":"replica_failed"' not in line]
        return [line for line in lines if '"level":"error"' in line or "Traceback" in line or "panicked" in line]


@contextmanager
def attacked(folder: Path, *options: str, engine: Engine = Engine.AUTO, key: str | None = None) -> Iterator[Target]:
    """Serve while the block lasts; the log must not tell of any mistake of ours."""
    engine_option = ("--set", f"router.grpc_engine={engine.value}")
    limit = ("--set", f"router.message_limit_bytes={MESSAGE_LIMIT_BYTES}")
    state = Path(os.environ["XDG_RUNTIME_DIR"]) / folder.name
    state.mkdir()
    with serving(state, write_repository(folder), *limit, *engine_option, *options) as served:
        channel = grpc.insecure_channel(served.grpc, options=[("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)])
        with channel:
            grpc.channel_ready_future(channel).result(60)
            target = Target(served, engine, channel, _children(served), key)
            with suppress(AssertionError):  # the first request of a model may take its time
                target.assert_unharmed()
            yield target
            mistakes = target.mistakes()
            assert not mistakes, "\n".join(mistakes)[:3000]


def _children(served: Served) -> list[int]:
    return [served.child("router-0"), served.child("worker-0")]
