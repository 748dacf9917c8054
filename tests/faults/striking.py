"""How the faults of a schedule strike a world, and how each is lifted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from penstock.oip.v2 import inference_pb2 as pb
from tests.faults.caller import Caller
from tests.faults.oracle import write_version
from tests.faults.proxy import Toxic
from tests.faults.schedules import CLIENT, ON_WIRES, Fault, FaultKind
from tests.faults.world import World

Lift = Callable[[], Awaitable[None]]

TOXICS = {
    FaultKind.LATENCY: Toxic(latency_seconds=0.1),
    FaultKind.HANG: Toxic(hang=True),
    FaultKind.HANG_UP: Toxic(hang_up=True),
    FaultKind.RESET: Toxic(reset=True),
    FaultKind.SLICER: Toxic(slice_bytes=1),
    FaultKind.LIMIT_DATA: Toxic(limit_bytes=700),
    FaultKind.BANDWIDTH: Toxic(bytes_per_second=20_000),
}
CODES = {FaultKind.KILL: signal.SIGKILL, FaultKind.STOP: signal.SIGSTOP, FaultKind.TERM: signal.SIGTERM}


class Striker:
    """Strikes and lifts; knows which versions it wrote."""

    def __init__(self, world: World, caller: Caller) -> None:
        """Keep the world; `caller` is for loading and unloading and must not be in the way of toxics."""
        self._world = world
        self._caller = caller

    async def strike(self, fault: Fault) -> Lift:
        """Let a fault happen; return what ends it."""
        if fault.kind in CODES:
            return self._signal(fault)
        if fault.kind in ON_WIRES:
            return self._poison(fault)
        if fault.kind is FaultKind.UNLOAD:
            return await self._unload(fault)
        return await asyncio.to_thread(self._write, fault)

    def _signal(self, fault: Fault) -> Lift:
        with suppress(ProcessLookupError):
            process_id = self._world.signal(fault.target, CODES[fault.kind])
            if fault.kind is FaultKind.STOP:
                return lambda: _go_on(process_id)
        return _nothing

    def _poison(self, fault: Fault) -> Lift:
        proxy = self._world.client if fault.target == CLIENT else self._world.links[fault.target]
        if fault.kind is FaultKind.FORGET:
            proxy.forget()
            return _nothing
        proxy.poison(TOXICS[fault.kind])

        async def heal() -> None:
            proxy.heal()

        return heal

    async def _unload(self, fault: Fault) -> Lift:
        async def load() -> None:
            request = pb.RepositoryModelLoadRequest(model_name=fault.target)
            await self._caller.control("RepositoryModelLoad", request, pb.RepositoryModelLoadResponse)

        request = pb.RepositoryModelUnloadRequest(model_name=fault.target)
        await self._caller.control("RepositoryModelUnload", request, pb.RepositoryModelUnloadResponse)
        return load

    def _write(self, fault: Fault) -> Lift:
        folder = self._world.repository / fault.target
        number = 1 + max(int(one.name) for one in folder.iterdir() if one.name.isdecimal())
        if fault.kind is FaultKind.SWAP:
            write_version(folder, number)
            return _nothing
        version = folder / str(number)
        version.mkdir()
        (version / "model.onnx").write_bytes(b"this is no model" * 100)

        async def remove() -> None:
            await asyncio.to_thread(shutil.rmtree, version)

        return remove


async def _go_on(process_id: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGCONT)


async def _nothing() -> None:
    return
