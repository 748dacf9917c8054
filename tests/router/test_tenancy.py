"""Keys, quotas and rights on the way to a worker."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import numpy as np
import pytest

from penstock.contracts.errors import (
    InvalidInput,
    ModelNotFound,
    QuotaExceeded,
    Unauthenticated,
)
from penstock.oip.v2 import inference_pb2 as pb
from services.router.tenants import KNOWN_KEY_CHARACTERS, Tenants
from services.router.tenants_file import TenantsFile
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request, standing


@pytest.fixture
async def stand(worker: FakeWorker):
    async with standing([worker]) as built:
        yield built


def rows_of(answer: pb.ModelInferResponse) -> list[list[float]]:
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(tuple(answer.outputs[0].shape)).tolist()


TENANTS = """
[[tenants]]
name = "small"
requests_per_second = 5
models = ["echo"]
keys = ["sha256:{small}"]

[[tenants]]
name = "wide"
max_rows_in_flight = 3
models = ["other-*"]
keys = ["sha256:{wide}"]

[[tenants]]
name = "narrow"
max_rows_in_flight = 3
keys = ["sha256:{narrow}"]
"""


@pytest.fixture
def keys(stand: Stand, tmp_path: Path) -> Stand:
    hashes = {name: hashlib.sha256(f"key-{name}".encode()).hexdigest() for name in ("small", "wide", "narrow")}
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS.format(**hashes))
    stand.tenants.load(path)
    return stand


async def test_without_a_known_key_nothing_is_answered(keys: Stand):
    keys.take(request([[1, 2]]), first_id=1)
    keys.take(request([[1, 2]]), first_id=2, key="wrong")

    assert {type(error) for error in keys.front.errors.values()} == {Unauthenticated}


async def test_a_tenant_beyond_its_rate_is_told_when_to_come_back(keys: Stand):
    keys.take(*(request([[n, n]]) for n in range(8)), key="key-small")
    await keys.front.until(8)

    assert len(keys.front.answers) == 5
    assert {type(error) for error in keys.front.errors.values()} == {QuotaExceeded}
    assert all(0 < (error.retry_after_seconds or 0) <= 1 for error in keys.front.errors.values())


async def test_rows_in_flight_are_limited_and_given_back(keys: Stand, worker: FakeWorker):
    worker.is_mute = True
    keys.take(request([[1, 1], [2, 2]]), request([[3, 3]]), request([[4, 4]]), key="key-narrow")

    assert keys.front.errors[3].reason == "CONCURRENCY"
    await asyncio.wait_for(worker.arrived.wait(), 5)
    worker.speak()
    await keys.front.until(3)
    assert keys.tenants.all()["narrow"].rows_in_flight == 0
    keys.take(request([[4, 4]]), first_id=9, key="key-narrow")
    await keys.front.until(4)
    assert 9 in keys.front.answers


async def test_a_model_that_is_not_the_tenants_looks_absent(keys: Stand):
    keys.take(request([[1, 2]]), key="key-wide")

    assert isinstance(keys.front.errors[1], ModelNotFound)


async def test_a_model_of_others_and_none_at_all_are_refused_in_the_same_words(keys: Stand):
    broken = request([[1, 2]])
    broken.inputs[0].shape[1] = 7
    absent = request([[1, 2]], model="ecko")
    version = request([[1, 2]], model_version="77")
    keys.take(request([[1, 2]]), broken, version, absent, key="key-wide")
    told = [keys.front.errors[number] for number in (1, 2, 3, 4)]

    assert {type(error) for error in told} == {ModelNotFound}
    assert {error.message.replace("ecko", "echo") for error in told} == {told[0].message}


async def test_an_invalid_tenants_file_changes_nothing(keys: Stand, tmp_path: Path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[[tenants]]\nname = 'x'\nrequests_per_second = -1\n")

    with pytest.raises(InvalidInput, match="requests_per_second"):
        keys.tenants.load(broken)
    assert set(keys.tenants.all()) == {"small", "wide", "narrow"}


ONE_KEY = f'keys = ["sha256:{"a" * 64}"]\n'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[[tenants]]\nname = '\xff'\n", "no UTF-8 text at byte 20"),
        (b"tenants = 5\n", "a table of its own"),
        (b"tenants = ['']\n", "a table of its own"),
        (b"[tenants]\nname = 'a'\n", r"under \[\[tenants\]\]"),
        (b"[[tenants]]\nname = 'a'\n[[tenant]]\nname = 'b'\n", "unknown field 'tenant'; known: tenants"),
        (f"[[tenants]]\nname = 'a'\n{ONE_KEY}[[tenants]]\nname = 'b'\n{ONE_KEY}".encode(), "'a' and 'b' have a key in common"),
    ],
)
def test_whatever_a_changed_tenants_file_holds_the_tenants_of_before_stay(tmp_path: Path, content: bytes, told: str):
    path = tmp_path / "tenants.toml"
    path.write_text(f"[[tenants]]\nname = 'before'\n{ONE_KEY}")
    tenants = Tenants()
    file = TenantsFile(tenants, path)
    file.open()
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=told):
        tenants.load(path)
    assert not file.reload()
    assert (list(tenants.all()), file.rejected) == (["before"], 1)


async def test_every_outcome_is_counted_by_tenant_and_code(keys: Stand):
    keys.take(*(request([[n, n]]) for n in range(8)), key="key-small")
    keys.take(request([[1, 1]]), first_id=20, key="unknown")
    await keys.front.until(9)

    def count(model: str, tenant: str, code: str) -> float:
        return keys.metrics.requests.of(model, "1" if model else "", tenant, code).value

    assert (count("echo", "small", "OK"), count("echo", "small", "QUOTA"), count("", "unknown", "UNAUTHENTICATED")) == (5, 3, 1)
    triton = keys.metrics.triton.of("echo", "1")
    assert (triton.request_success, triton.rejected) == (5, 3)


def test_an_open_server_remembers_short_keys_only():
    tenants = Tenants()
    for key in ("k" * KNOWN_KEY_CHARACTERS, "k" * (KNOWN_KEY_CHARACTERS + 1)):
        assert tenants.of(key) is tenants.anonymous

    assert set(tenants.known) == {None, "k" * KNOWN_KEY_CHARACTERS}
