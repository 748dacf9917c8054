"""Protobuf lets a request's fields stand in any order, and more than once: what is asked for must not depend on it."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import VersionNotFound
from penstock.oip.v2 import inference_pb2 as pb
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request, standing

PLACES = ("name", "version", "id", "parameters", "inputs", "raw")


@pytest.fixture
async def stand(worker: FakeWorker) -> AsyncIterator[Stand]:
    async with standing([worker]) as built:
        yield built


def parts_of(number: int, version: str, identity: str) -> dict[str, bytes]:
    """Return a request in pieces; put together in any order they are the same request."""
    whole = request([[number, -number]])
    parameters = pb.ModelInferRequest()
    parameters.parameters["mine"].string_param = "anything"
    return {
        "name": pb.ModelInferRequest(model_name="echo").SerializeToString(),
        "version": pb.ModelInferRequest(model_version=version).SerializeToString(),
        "id": pb.ModelInferRequest(id=identity).SerializeToString(),
        "parameters": parameters.SerializeToString(),
        "inputs": pb.ModelInferRequest(inputs=whole.inputs).SerializeToString(),
        "raw": pb.ModelInferRequest(raw_input_contents=whole.raw_input_contents).SerializeToString(),
    }


async def test_a_version_in_any_place_is_the_version_that_is_asked_for(stand: Stand):
    usual = request([[0, 0]]).SerializeToString()
    orders = [order for order in itertools.permutations(PLACES) if order[0] == "name"]
    payloads = []
    for number, order in enumerate(orders):
        parts = parts_of(number, "9", "a")
        payloads += [b"".join(parts[place] for place in order), usual]
    for first_id, payload in enumerate(payloads, start=1):
        stand.take(payload, first_id=first_id)
    await stand.front.until(len(payloads))

    assert {type(error) for error in stand.front.errors.values()} == {VersionNotFound}
    assert sorted(stand.front.errors) == list(range(1, len(payloads), 2))


async def test_the_last_name_and_the_last_id_count(stand: Stand):
    usual = request([[1, 2]]).SerializeToString()
    other, late = pb.ModelInferRequest(model_name="nobody").SerializeToString(), pb.ModelInferRequest(id="late").SerializeToString()
    for first_id, payload in enumerate((usual, usual + other, usual + late, usual), start=1):
        stand.take(payload, first_id=first_id)
    await stand.front.until(4)

    assert stand.front.errors[2].reason == "MODEL_NOT_FOUND"
    assert {call_id: answer.id for call_id, answer in stand.front.answers.items()} == {1: "", 3: "late", 4: ""}


@settings(max_examples=40)
@given(
    asked=st.lists(st.tuples(st.sampled_from(["", "1", "latest", "9"]), st.text("ab", max_size=2)), min_size=1, max_size=20),
    seed=st.integers(0, 1_000),
)
def test_any_order_is_answered_like_the_usual_one(asked: list[tuple[str, str]], seed: int):
    async def scenario() -> None:
        with tempfile.TemporaryDirectory() as folder:
            far = await FakeWorker(Path(folder) / "w.sock", "worker-0", "instance-0").start()
            try:
                async with standing([far]) as stand:
                    chance = random.Random(seed)
                    payloads = []
                    for number, (version, identity) in enumerate(asked):
                        parts = parts_of(number, version, identity)
                        order = list(PLACES)
                        if number % 3:
                            chance.shuffle(order)
                        payloads.append(b"".join(parts[place] for place in order))
                    for start in range(0, len(payloads), 3):
                        stand.take(*payloads[start : start + 3], first_id=start)
                        await stand.front.until(min(start + 3, len(payloads)))
                    for number, (version, identity) in enumerate(asked):
                        if version == "9":
                            assert isinstance(stand.front.errors[number], VersionNotFound)
                            continue
                        answer = stand.front.answers[number]
                        assert answer.id == identity
                        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [number, -number]
            finally:
                far.kill()

    asyncio.run(scenario())
