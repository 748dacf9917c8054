"""The story of a registration: names, versions, signatures, and nothing half done."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import AlreadyExists, ArtifactCorrupt, InvalidInput, Overloaded, ServingError, TenantForbidden, Unavailable
from penstock.contracts.version_signatures import signed_text
from services.chassis.artefact_store import ArtefactStore
from services.chassis.disk_threads import DiskThreads
from services.controller.registration_values import Folder, RegistrationRequest
from services.controller.staging import StagingLimits
from services.controller.version_signing import SigningPolicy
from tests.controller.registering import GOOD, ExaminerHere, kit, tar
from tests.worker import models
from tests.worker.folders import put

MODEL = GOOD["model.onnx"]
OTHER = {"model.onnx": models.row_sum()}


async def test_the_same_files_again_change_nothing_and_other_files_are_refused(tmp_path: Path):
    """IU8, IU9."""
    async with kit(tmp_path) as here:
        first = await here.register(here.archive(tar(GOOD)))
        again = await here.register(here.archive(tar(GOOD, compressed=True)))
        with pytest.raises(AlreadyExists) as caught:
            await here.register(here.archive(tar(OTHER)))

        assert again == first
        assert caught.value.status.http == 409
        assert list(here.book.versions.values()) == [first]


async def test_of_two_at_once_under_one_name_one_is_registered(tmp_path: Path):
    """IU7."""
    async with kit(tmp_path) as here:
        one, other = tmp_path / "folders/one", tmp_path / "folders/other"
        put(one / "model.onnx", GOOD["model.onnx"])
        put(other / "model.onnx", OTHER["model.onnx"])
        answers = await asyncio.gather(here.register(Folder(path=one)), here.register(Folder(path=other)), return_exceptions=True)

    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyExists", "RegisteredVersion"]


async def test_a_models_folder_brings_all_its_versions_with_what_they_share(tmp_path: Path):
    folder = tmp_path / "folders/churn"
    put(folder / "2/model.onnx", GOOD["model.onnx"])
    put(folder / "10/model.onnx", OTHER["model.onnx"])
    put(folder / "config.pbtxt", "max_batch_size: 8")
    put(folder / "README.md", "#")
    async with kit(tmp_path) as here:
        request = RegistrationRequest(model="churn", source=Folder(path=folder))
        registered = await here.registration.register(request, here.book)
        with pytest.raises(InvalidInput, match="several"):
            await here.register(Folder(path=folder), version="1")

    assert [one.version for one in registered] == ["2", "10"]
    assert all([file.path for file in one.manifest.files] == ["config.pbtxt", "version/model.onnx"] for one in registered)
    assert registered[0].report.signature["max_batch_size"] == 8


async def test_one_bad_version_among_several_registers_none(tmp_path: Path):
    put(tmp_path / "folders/churn/1/model.onnx", GOOD["model.onnx"])
    put(tmp_path / "folders/churn/2/model.onnx", b"broken")
    async with kit(tmp_path) as here:
        with pytest.raises(InvalidInput):
            await here.registration.register(RegistrationRequest(model="churn", source=Folder(path=tmp_path / "folders/churn")), here.book)
        assert await here.leftovers() == []


async def test_what_was_registered_comes_back_from_the_store(tmp_path: Path):
    async with kit(tmp_path) as here, DiskThreads("test") as threads:
        registered = await here.register(here.archive(tar(GOOD)), created_by="ann", lineage={"commit": "abc"})

        assert await ArtefactStore(here.objects, threads).manifest(registered.digest) == registered.manifest
        assert (registered.created_by, registered.lineage, registered.created_time) == ("ann", {"commit": "abc"}, 1_700_000_000.0)


async def test_a_models_name_that_is_anothers_is_forbidden(tmp_path: Path):
    """IU46."""
    async with kit(tmp_path) as here:
        request = RegistrationRequest(model="bank-churn", version="1", source=here.archive(tar(GOOD)))
        with pytest.raises(TenantForbidden) as caught:
            await here.registration.register(request, here.book, prefixes=("shop-", "lab-"))
        assert (caught.value.reason, caught.value.status.http) == ("NOT_OWNER", 403)
        assert await here.leftovers() == []
        await here.registration.register(request, here.book, prefixes=("bank-",))


async def test_where_signatures_are_required_only_one_by_a_known_key_over_this_version_counts(tmp_path: Path):
    """IU45."""
    known, other, stranger = (Ed25519PrivateKey.generate() for _ in range(3))
    policy = SigningPolicy(keys={"other": other.public_key(), "release": known.public_key()}, is_required=True)
    digest = Manifest.of([ManifestFile(path="version/model.onnx", size=len(MODEL), sha256=sha256(MODEL).hexdigest())]).digest
    good = known.sign(signed_text("churn", digest))
    of_another_model, of_another_version = known.sign(signed_text("chum", digest)), known.sign(signed_text("churn", "ab" * 32))
    refused = [(b"", ""), (b"", "release"), (stranger.sign(signed_text("churn", digest)), ""), (of_another_model, ""), (b"short", "")]
    refused += [(of_another_version, "release"), (good, "other"), (good, "nobody"), (known.sign(digest.encode()), "")]

    async with kit(tmp_path, signing=policy) as here:
        for signature, key_id in refused:
            with pytest.raises(TenantForbidden) as caught:
                await here.register(here.archive(tar(GOOD)), signature=signature, key_id=key_id)
            assert (caught.value.reason, caught.value.status.http) == ("BAD_SIGNATURE", 403)
        assert await here.leftovers() == []
        by_any = await here.register(here.archive(tar(GOOD)), signature=good)
        by_name = await here.register(here.archive(tar(GOOD)), version="2", signature=good, key_id="release")

    assert (by_any.digest, by_any.signed_by, by_name.signed_by) == (digest, "release", "release")


async def test_where_no_signature_is_required_an_unsigned_version_is_taken_and_one_with_a_wrong_signature_is_not(tmp_path: Path):
    async with kit(tmp_path) as here:
        with pytest.raises(TenantForbidden):
            await here.register(here.archive(tar(GOOD)), signature=b"x" * 64)
        registered = await here.register(here.archive(tar(GOOD)))

    assert registered.signed_by == ""


async def test_a_store_that_is_away_registers_nothing(tmp_path: Path):
    class Away:
        async def put(self, manifest, sources):
            raise Unavailable("away", reason="STORE_UNAVAILABLE")

    async with kit(tmp_path) as here:
        object.__setattr__(here.registration._ports, "store", Away())
        with pytest.raises(Unavailable):
            await here.register(here.archive(tar(GOOD)))
        assert await here.leftovers() == []


async def test_a_cancelled_registration_leaves_nothing(tmp_path: Path):
    began = asyncio.Event()

    class Waiting:
        async def examine(self, model, version, folder):
            began.set()
            await asyncio.Event().wait()

    async with kit(tmp_path, examiner=Waiting()) as here:
        asked = asyncio.ensure_future(here.register(here.archive(tar(GOOD))))
        await began.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await here.leftovers() == []


async def test_too_many_at_once_are_refused_and_those_that_wait_are_served(tmp_path: Path):
    gate = asyncio.Event()

    class Gated(ExaminerHere):
        async def examine(self, model, version, folder):
            await gate.wait()
            return await super().examine(model, version, folder)

    async with kit(tmp_path, examiner=Gated()) as here:
        source = here.archive(tar(GOOD))
        asked = [asyncio.ensure_future(here.register(source, version=str(number))) for number in range(30)]
        while not any(one.done() for one in asked):
            await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(answer, Overloaded) for answer in answers) == 30 - 18
    assert len(here.book.versions) == 18


async def test_files_that_change_under_the_examination_are_not_stored(tmp_path: Path):
    class Changing(ExaminerHere):
        async def examine(self, model, version, folder):
            report = await super().examine(model, version, folder)
            put(folder / "version/model.onnx", OTHER["model.onnx"])
            return report

    async with kit(tmp_path, examiner=Changing()) as here:
        with pytest.raises(ArtifactCorrupt):
            await here.register(here.archive(tar(GOOD)))
        assert await here.leftovers() == []


async def test_what_a_killed_process_left_in_staging_is_removed(tmp_path: Path):
    put(tmp_path / "staging/registering-abc/files/model.onnx")
    async with kit(tmp_path):
        assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize("change", [{"model": "../x"}, {"version": "a/b"}, {"lineage": {"a": "x" * 2000}}, {"lineage": {"a\n": "b"}}])
def test_a_request_with_names_or_lineage_that_are_not_valid_is_none(change: dict[str, object]):
    with pytest.raises(ServingError):
        RegistrationRequest(**{"model": "churn", "version": "1", "source": Folder(path=Path("/x"))} | change)  # type: ignore[arg-type]


async def test_a_disk_without_room_is_said_so(tmp_path: Path):
    (tmp_path / "staging").write_bytes(b"no folder")
    with pytest.raises(Unavailable) as caught:
        async with kit(tmp_path, limits=StagingLimits()) as here:
            await here.register(here.archive(tar(GOOD)))

    assert caught.value.reason == "DISK_FULL"


async def test_a_trial_examines_and_stores_nothing(tmp_path: Path):
    async with kit(tmp_path) as here:
        request = RegistrationRequest(model="churn", version="1", source=here.archive(tar(GOOD)))
        (tried,) = await here.registration.register(request, here.book, is_trial=True)

        assert tried.report.signature["inputs"]
        assert [one.name async for one in here.objects.list("")] == []
