"""A steady open loop through several routers: what every call was told, by which version, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import grpc
import numpy as np

from bench.bodies import GRPC_PATH
from penstock.oip.v2 import inference_pb2 as pb

RATE = 240.0
"""Calls a second in all."""
DEADLINE_SECONDS = 10.0
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one call; times are monotonic seconds."""

    router: int
    sent_at: float
    answered_at: float
    version: str = ""
    value: float = 0.0
    failure: str = ""
    """Status and text of a call that failed."""


class SteadyLoad:
    """Calls on schedule, round-robin over the targets, without retries, until the block ends."""

    def __init__(self, targets: Sequence[str], model: str, *, rate: float = RATE) -> None:
        """Store the arguments; a target is what gRPC takes for one, so it may name several addresses."""
        self._targets = targets
        self._gap = 1 / rate
        self._request = pb.ModelInferRequest(model_name=model)
        self._request.inputs.add(name="x", datatype="FP32", shape=(1, 1))
        self._request.raw_input_contents.append(np.ones(1, np.float32).tobytes())
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="steady-load", daemon=True)
        self._pending = threading.Semaphore(0)
        self._sent = 0
        self._stack = ExitStack()
        self.told: list[Told] = []

    def __enter__(self) -> Self:
        """Begin once every target has answered."""
        # gRPC derives an authority from a target of several addresses that the native front refuses: one is named.
        options = [*CHANNEL_OPTIONS, ("grpc.default_authority", "penstock")]
        self._calls: list[Any] = []
        for target in self._targets:
            channel = self._stack.enter_context(grpc.insecure_channel(target, options=options))
            grpc.channel_ready_future(channel).result(DEADLINE_SECONDS)
            self._calls.append(channel.unary_unary(GRPC_PATH, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more, and wait for all that was sent."""
        self._ending.set()
        self._thread.join()
        for _number in range(self._sent):
            if not self._pending.acquire(timeout=2 * DEADLINE_SECONDS):
                raise SystemExit(f"{self._sent - len(self.told)} of {self._sent} calls were never answered")
        self._stack.close()

    @property
    def failures(self) -> list[Told]:
        """What failed so far."""
        return [one for one in self.told if one.failure]

    def since(self, at: float) -> list[Told]:
        """Return what was sent after a time."""
        return [one for one in self.told if one.sent_at > at]

    def settled(self, since: float, answers: int = 3) -> None:
        """Return when every target has answered so many calls that were sent after a time.

        Raises:
            SystemExit: one does not within two deadlines.
        """
        give_up_at = time.monotonic() + 2 * DEADLINE_SECONDS
        while time.monotonic() < give_up_at:
            # The newest only: a long run has many, and this is asked often.
            routers = [one.router for one in self.told[-100 * len(self._targets) :] if one.sent_at > since and not one.failure]
            if all(routers.count(number) >= answers for number in range(len(self._targets))):
                return
            time.sleep(0.01)
        raise SystemExit(f"not every target answers; the last failures: {[one.failure for one in self.failures[-3:]]}")

    def _send_all(self) -> None:
        due_at = time.monotonic()
        while not self._ending.is_set():
            number = self._sent % len(self._calls)
            self._sent += 1
            self._send(number)
            due_at += self._gap
            time.sleep(max(0.0, due_at - time.monotonic()))

    def _send(self, router: int) -> None:
        sent_at = time.monotonic()
        future = self._calls[router].future(self._request, timeout=DEADLINE_SECONDS)
        future.add_done_callback(partial(self._note, router, sent_at))

    def _note(self, router: int, sent_at: float, done: Any) -> None:
        now = time.monotonic()
        if done.code() is grpc.StatusCode.OK:
            answer = done.result()
            value = float(np.frombuffer(answer.raw_output_contents[0], np.float32)[0])
            self.told.append(Told(router=router, sent_at=sent_at, answered_at=now, version=answer.model_version, value=value))
        else:
            self.told.append(Told(router=router, sent_at=sent_at, answered_at=now, failure=f"{done.code().name}: {done.details()}"))
        self._pending.release()
