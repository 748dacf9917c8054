"""Whoever sends too many wrong keys is told to come back later, by every front that knows where a call comes from."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from penstock.contracts.errors import GrpcCode, ServingError
from penstock.contracts.tenant_records import KeyRecord
from penstock.oip.v2 import inference_pb2 as pb
from services.chassis.presented_keys import PresentedKey
from services.chassis.wrong_keys import WrongKeys
from services.router.admission import TenantPolicy
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcOptions
from services.router.tenant_policies import Admitted
from services.router.tenants import Tenants
from tests.mesh.conftest import FakeWorker
from tests.router.front_cases import Refusal
from tests.router.grpc_face import Face, opened, refused
from tests.router.http_stand import Reply, serving
from tests.router.inference_stand import request as asked
from tests.router.inference_stand import standing, wave_of

LIMIT = 3


def tenants_of(limit: int = LIMIT) -> Tenants:
    """Return tenants of whom `acme` may call, with the key `good`."""
    tenants = Tenants(wrong_keys=WrongKeys(limit))
    admit(tenants)
    return tenants


def admit(tenants: Tenants) -> None:
    key = KeyRecord(key_id="k", hash=f"sha256:{hashlib.sha256(b'good').hexdigest()}")
    tenants.put("acme", Admitted(policy=TenantPolicy(name="acme", is_admin=True), keys=(key,)))


def reason(tenants: Tenants, key: str, peer: str | None = None) -> str:
    try:
        return tenants.of(key, peer).policy.name
    except ServingError as error:
        return error.reason


def test_a_key_in_use_passes_after_every_change_of_tenants_and_a_new_one_waits():
    tenants = tenants_of()
    tenants.of("good", "192.0.2.1")
    told = [reason(tenants, f"wrong-{number}", "192.0.2.1") for number in range(LIMIT + 1)]
    admit(tenants)  # what was remembered of keys is forgotten

    assert told == ["UNAUTHENTICATED"] * LIMIT + ["TOO_MANY_WRONG_KEYS"]
    assert "good" not in tenants.known
    assert reason(tenants, "good", "192.0.2.1") == "acme"
    assert reason(tenants_after_guesses(), "good", "192.0.2.1") == "TOO_MANY_WRONG_KEYS"


def tenants_after_guesses() -> Tenants:
    tenants = tenants_of()
    for number in range(LIMIT):
        reason(tenants, f"wrong-{number}", "192.0.2.1")
    return tenants


def test_a_good_key_is_remembered_as_its_text_and_not_by_where_it_came_from():
    tenants = tenants_of()
    tenants.of(PresentedKey.of("good", "192.0.2.1"))

    assert [type(key) for key in tenants.known] == [str]


def test_no_key_at_all_is_no_guess():
    tenants = tenants_of()
    for _ in range(LIMIT + 1):
        with pytest.raises(ServingError) as refusal:
            tenants.of(None, "192.0.2.1")

    assert refusal.value.reason == "UNAUTHENTICATED"
    assert reason(tenants, "good", "192.0.2.1") == "acme"


async def test_the_inference_path_asks_the_front_where_a_wrong_key_came_from(worker: FakeWorker):
    async with standing([worker]) as stand:
        admit(stand.tenants)
        stand.tenants.wrong_keys = WrongKeys(LIMIT)
        asked_of: list[int] = []

        def peer_of(call_id: int) -> str:
            asked_of.append(call_id)
            return "192.0.2.1"

        for number, key in enumerate(["good", "wrong-1", "wrong-2", "wrong-3", "wrong-4", "good"], 1):
            wave = wave_of([asked([[1.0, 2.0]])], first_id=number, key=key)
            wave.peer_of = peer_of
            stand.inference.take(stand.front, wave)
        await stand.front.until(6)

    assert [stand.front.errors[number].reason for number in (2, 3, 4, 5)] == ["UNAUTHENTICATED"] * 3 + ["TOO_MANY_WRONG_KEYS"]
    assert (sorted(stand.front.answers), stand.front.errors.get(1)) == ([1, 6], None)
    assert asked_of == [1, 2, 3, 4, 5]  # a key that is remembered is asked for by nobody


# --- HTTP -------------------------------------------------------------------------------------------------------------------------

INFER = "/v2/models/scores/infer"
BODY = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest.mark.parametrize("path", [INFER, "/v2"], ids=["inference", "metadata"])
async def test_over_http_too_many_wrong_keys_are_429_with_a_time_to_come_back(path: str):
    async with serving(tenants=tenants_of()) as stand:

        async def ask(key: str, **more: str) -> Reply:
            headers = {"x-api-key": key, **more}
            return await (stand.post(path, BODY, headers) if path == INFER else stand.get(path, headers))

        used = await ask("good")
        # What a header says of where a call comes from is nobody's word.
        told = [(await ask(f"wrong-{number}", **{"x-forwarded-for": f"192.0.2.{number}"})).status for number in range(LIMIT)]
        last = await ask("wrong", **{"x-forwarded-for": "192.0.2.9"})
        still = await ask("good")

    assert (used.status, told, still.status) == (used.status, [401] * LIMIT, used.status)
    assert used.status not in {401, 429}
    assert (last.status, 0 < int(last.headers["retry-after"]) <= 60) == (429, True)


# --- gRPC -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def guarded(options: GrpcOptions) -> AsyncIterator[Face]:
    async with AsyncExitStack() as stack:
        face = await opened(stack, options)
        face.stand.control.tenants.wrong_keys = WrongKeys(LIMIT)
        admit(face.stand.control.tenants)
        yield face


async def test_over_grpc_too_many_wrong_keys_are_resource_exhausted(guarded: Face, options: GrpcOptions):
    async def ask(key: str) -> Any:
        return guarded.oip.ServerMetadata(pb.ServerMetadataRequest(), metadata=(("x-api-key", key),))

    async def said(key: str) -> Refusal:
        return await refused(await ask(key))

    await (await ask("good"))
    told = [(await said(f"wrong-{number}")).code for number in range(LIMIT)]
    last = await said("wrong")
    await (await ask("good"))

    assert told == [GrpcCode.UNAUTHENTICATED] * LIMIT
    # pygrpc-native does not say where a call comes from.
    knows = options.engine is not Engine.PYGRPC
    assert (last.code, last.reason) == (
        (GrpcCode.RESOURCE_EXHAUSTED, "TOO_MANY_WRONG_KEYS") if knows else (GrpcCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    )


async def test_nobody_can_say_that_they_come_from_elsewhere(guarded: Face):
    forged = (("x-penstock-peer", "192.0.2.1"), ("x-forwarded-for", "192.0.2.1"), ("x-api-key", "wrong"))
    for _ in range(LIMIT + 1):
        with pytest.raises(grpc.aio.AioRpcError):
            await guarded.oip.ServerMetadata(pb.ServerMetadataRequest(), metadata=forged)
    wrong_keys = guarded.stand.control.tenants.wrong_keys

    wrong_keys.check("192.0.2.1", "wrong", 0.0)  # that address is not blamed
