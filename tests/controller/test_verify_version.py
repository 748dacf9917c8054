"""A version is read again because somebody asks: both faces with a real store and catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from penstock.contracts.errors import Overloaded
from penstock.contracts.version_signatures import signed_text
from penstock.v1 import controller_pb2 as pb
from services.chassis.artefact_store import Target
from services.chassis.operator_keys import OperatorKey
from services.controller.callers import Caller
from services.controller.verification import Touchstones, Unpaced, Verification
from services.controller.verification_servicer import MOST_AT_ONCE, VerificationServicer
from services.controller.version_signing import SigningPolicy
from tests.chassis.stored_versions import manifest_of
from tests.controller.faces import Faces, faces, in_a_thread
from tests.controller.stand import Stand
from tests.worker import models

MODEL = models.identity()
RELEASE = OperatorKey.generate("release")
PATH = "/api/v1/models/fraud/versions/champion/verification"
MANIFEST = manifest_of({"version/model.onnx": MODEL})
SHA256 = MANIFEST.files[0].sha256


@dataclass(frozen=True, kw_only=True)
class World:
    faces: Faces
    blob: Path

    def verified(self, version: str = "v1", caller: str = "operator", **more: Any) -> Any:
        return self.faces.answer("VerifyVersion", caller, pb.VerifyVersionRequest(model="fraud", version=version, **more))

    def shown(self) -> Any:
        return self.faces.answer("GetModel", "operator", pb.GetModelRequest(model="fraud")).model.versions[0]


@pytest.fixture(scope="module")
def world(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Register a signed version, and give it an alias."""
    folder = tmp_path_factory.mktemp("verified")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    (folder / "keys.toml").write_text(f"[keys]\n{RELEASE.public_line()}\n")
    url, settings = f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", {"version_keys": folder / "keys.toml"}
    with in_a_thread(lambda: faces(url, folder, **settings)) as made:
        made.send(made.http, "PUT", f"/api/v1/blobs/{SHA256}", "operator", content=MODEL).raise_for_status()
        files = [pb.VersionFile(path="model.onnx", sha256=SHA256, size_bytes=len(MODEL))]
        signature = RELEASE.key.sign(signed_text("fraud", MANIFEST.digest))
        made.answer("RegisterVersion", "operator", pb.RegisterVersionRequest(model="fraud", version="v1", files=files, signature=signature))
        made.answer("SetAlias", "operator", pb.SetAliasRequest(model="fraud", alias="champion", version="v1"))
        yield World(faces=made, blob=folder / "artefacts" / "blobs" / SHA256[:2] / SHA256)


def test_a_sound_version_is_told_file_by_file_with_its_signature_and_nothing_is_audited(world: World):
    answer = world.verified()

    assert [(one.path, one.size_bytes, one.sha256, one.damage) for one in answer.files] == [("version/model.onnx", len(MODEL), SHA256, "")]
    assert (answer.damage, answer.signature_state, answer.change.kind) == ("", pb.SIGNATURE_STATE_GOOD, "")
    assert "checked_time" in world.shown().metadata


def test_the_signature_and_the_name_of_its_key_stand_with_the_version(world: World):
    over_http = world.faces.send(world.faces.http, "GET", "/api/v1/models/fraud/versions/v1", "operator").json()

    assert world.shown().signed_by == over_http["signed_by"] == "release"
    RELEASE.key.public_key().verify(world.shown().signature, signed_text("fraud", MANIFEST.digest))
    assert len(over_http["signature"]) == 88


def test_a_file_that_was_changed_is_named_audited_and_not_deployed_until_it_is_restored(world: World):
    ask, wanted = world.faces, pb.CreateDeploymentRequest(model="fraud", version="v1")
    world.blob.write_bytes(MODEL[:-1] + b"?")
    damaged = ask.send(ask.http, "POST", PATH, "operator", json={"reason": "a disk is failing"}).json()
    refused = ask.refusal(ask.grpc, "CreateDeployment", "operator", wanted)
    audit = ask.answer("ListChanges", "operator", pb.ListChangesRequest(subject="model/fraud/version/v1")).changes[0]
    world.blob.write_bytes(MODEL)
    restored = world.verified()

    assert [(one["path"], one["damage"].startswith("damaged: ")) for one in damaged["files"]] == [("version/model.onnx", True)]
    assert (damaged["damage"].startswith("damaged: "), damaged["signature"], damaged["change"]["kind"]) == (True, "good", "version.verify")
    assert (refused[0], "not as they were registered" in refused[1]) == ("FAILED_PRECONDITION", True)
    assert (audit.kind, audit.reason, audit.actor.startswith("operator/")) == ("version.verify", "a disk is failing", True)
    assert (restored.damage, "damage" in world.shown().metadata) == ("", False)


def test_a_dry_run_tells_and_writes_nothing_down(world: World):
    world.blob.write_bytes(b"")
    answer = world.verified(options=pb.WriteOptions(dry_run=True))
    world.blob.write_bytes(MODEL)

    assert (answer.damage.startswith("damaged: "), answer.change.dry_run) == (True, True)
    assert "damage" not in world.shown().metadata


@pytest.mark.parametrize(("model", "version"), [("fraud", "v2"), ("fraud", ""), ("absent", "v1")])
def test_what_is_not_registered_is_not_found(model: str, version: str, world: World):
    told = world.faces.refusal(world.faces.grpc, "VerifyVersion", "operator", pb.VerifyVersionRequest(model=model, version=version))

    assert told[0] == "NOT_FOUND"


class Slow:
    """A store that gives nothing until it is let."""

    def __init__(self) -> None:
        self.reading = 0
        self.let = asyncio.Event()

    async def manifest(self, digest: str) -> Any:
        del digest
        self.reading += 1
        await self.let.wait()
        return MANIFEST

    async def fetch(self, file: Any, target: Target) -> None:
        await target.write(b"")


async def test_more_than_the_disk_bears_are_refused_and_may_come_again(stand: Stand):
    await stand.registered("fraud", "1")
    store = Slow()
    servicer = VerificationServicer(Verification(stand.changes, Touchstones(store=store), Unpaced()), stand.catalogue)
    caller, request = Caller(name="ann", tenant="t", is_operator=True), pb.VerifyVersionRequest(model="fraud", version="1")
    running = [asyncio.ensure_future(servicer.verify_version(caller, request)) for _ in range(MOST_AT_ONCE)]
    while store.reading < MOST_AT_ONCE:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await servicer.verify_version(caller, request)
    store.let.set()
    await asyncio.gather(*running)

    assert (await servicer.verify_version(caller, request)).damage == ""


KEYS = {"release": RELEASE.key.public_key()}
OTHER = {"release": Ed25519PrivateKey.generate().public_key()}


@pytest.mark.parametrize(
    ("policy", "state", "is_damaged"),
    [(KEYS, "GOOD", False), (OTHER, "BAD", True), ({}, "UNKNOWN_KEY", False)],
)
async def test_a_kept_signature_is_checked_by_the_keys_that_are_known_now(
    stand: Stand, policy: dict[str, Any], state: str, is_damaged: bool
):
    store, digest = Slow(), "d" * 64
    store.let.set()
    await stand.registered("fraud", "1")
    await stand.registered("copy", "1")
    seal = RELEASE.key.sign(signed_text("fraud", digest)).hex()
    literal = f"'\\x{seal}'" if stand.engine.dialect.name == "postgresql" else f"X'{seal}'"
    await stand.sql(f"UPDATE versions SET version_signature = {literal}, signed_by = 'release' WHERE model = 'fraud'")
    checked = Verification(stand.changes, Touchstones(store=store, signing=SigningPolicy(keys=policy)), Unpaced())
    async with stand.catalogue.reading() as unit:
        version = await unit.versions.get("fraud", "1")
    assert version is not None

    found = await checked.verify(version)

    async with stand.catalogue.reading() as unit:
        damages = {one.model: one.damage for one in await unit.versions.with_digest(digest)}
    assert (found.signature.name, bool(found.damage), damages["copy"]) == (state, is_damaged, "")
    assert damages["fraud"] == found.damage
    assert ("not that of the key 'release'" in found.damage) is is_damaged
