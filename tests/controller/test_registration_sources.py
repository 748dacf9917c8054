"""Where versions may come from: folders that are allowed, object stores that are allowed, MLflow; nowhere else."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.contracts.errors import NotFound, NotImplementedHere, ServingError, Unavailable
from services.chassis.object_store import Objects, StoreTimes, open_objects
from services.controller.registration_values import Folder, MlflowModel, Url
from services.controller.sources import SourceRules
from tests.chassis.s3_server import S3Server, s3_server
from tests.controller.registering import GOOD, Kit, kit, tar
from tests.faults.proxy import Proxy, Toxic
from tests.worker.folders import put

LOOPBACKS = (
    "127.0.0.1", "127.1", "localhost", "localhost.", "0.0.0.0", "0", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "169.254.169.254", "[::ffff:169.254.169.254]", "2852039166",
    "metadata.google.internal", "10.0.0.1", "100.64.0.1", "224.0.0.1",
)  # fmt: skip
URLS = (
    *(f"{scheme}://{host}/models/1/" for host in LOOPBACKS for scheme in ("http", "https")),
    "file:///etc/", "gopher://x/", "ftp://x/", "memory://", "//models/x/", "/etc/passwd", "", "s3:", "s3://", "s3://other/1/", "s3://models",
    "s3://modelsX/1/", "S3://models/1/", "s3://user:word@models/1/", "s3://models@other/1/", "s3://models/../other/1/", "s3://models/a/./b/",
    "s3://models/%2e%2e/x/", "s3://models/a\r\nHost: x/", "s3://models/a?x=1", "s3://models/a#x", "s3://models\\@other/", "s3://models/\u202e/",
)  # fmt: skip


@pytest.mark.parametrize("url", URLS)
async def test_a_url_that_is_not_allowed_is_refused_before_anything_is_looked_up(tmp_path: Path, url: str):
    """IU21, IU22."""

    def never(*asked: object) -> Objects:
        raise AssertionError(asked)

    rules = SourceRules(urls=("s3://models/",), open_url=never)
    async with kit(tmp_path, rules=lambda _: rules) as here:
        with pytest.raises(ServingError) as caught:
            await here.register(Url(url=url))
        assert caught.value.reason == "SOURCE_REFUSED"
        assert await here.leftovers() == []


async def test_without_an_allowed_start_no_url_is_fetched(tmp_path: Path):
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError, match="none are allowed"):
            await here.register(Url(url="s3://models/1/"))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def wire(s3: S3Server) -> Iterator[Proxy]:
    with Proxy("store", lambda: ("127.0.0.1", s3.port)) as proxy:
        yield proxy


def allowed(s3: S3Server, port: int | None = None) -> SourceRules:
    quick = StoreTimes(connect_seconds=1.0, answer_seconds=1.0, retries=0)
    return SourceRules(urls=("s3://",), url_options=s3.options(port), open_url=lambda url, options: open_objects(url, options, quick))


async def test_a_prefix_and_an_archive_in_an_object_store_are_the_version_that_their_files_are(tmp_path: Path, s3: S3Server):
    bucket = s3.bucket()
    objects = open_objects(bucket, s3.options())
    await objects.put("churn/1/model.onnx", GOOD["model.onnx"])
    await objects.put("sent/churn.tar.gz", tar(GOOD, compressed=True))
    await objects.put("sent/readme.txt", b"")
    async with kit(tmp_path, rules=lambda _: allowed(s3)) as here:
        registered = await here.register(Url(url=f"{bucket}/churn/"), version="1")
        again = await here.register(Url(url=f"{bucket}/sent/churn.tar.gz"), version="1")
        assert registered.digest == again.digest
        assert registered.source == f"{bucket}/churn/"
        with pytest.raises(NotFound):
            await here.register(Url(url=f"{bucket}/nobody/"))
        with pytest.raises(NotFound):
            await here.register(Url(url=f"{bucket}/nobody.tar"))


@pytest.mark.parametrize("toxic", [Toxic(hang=True), Toxic(reset=True), Toxic(limit_bytes=500)], ids=["drips", "reset", "lies on length"])
async def test_a_store_that_drips_ends_early_or_lies_on_length_is_unavailable_in_time(
    tmp_path: Path, s3: S3Server, wire: Proxy, toxic: Toxic
):
    """IU23."""
    bucket = s3.bucket()
    await open_objects(bucket, s3.options()).put("churn/1/model.onnx", GOOD["model.onnx"])
    async with kit(tmp_path, rules=lambda _: allowed(s3, wire.port)) as here:
        wire.poison(toxic)
        with pytest.raises(Unavailable) as caught:
            await here.register(Url(url=f"{bucket}/churn/"))
        assert caught.value.reason == "STORE_UNAVAILABLE"
        assert await here.leftovers() == []
        wire.heal()
        await here.register(Url(url=f"{bucket}/churn/"))


async def test_an_object_above_the_limit_is_refused_before_it_is_fetched(tmp_path: Path, s3: S3Server):
    bucket = s3.bucket()
    objects = open_objects(bucket, s3.options())
    await objects.put("churn/1/model.onnx", bytes(5 << 20))
    await objects.put("churn.tar", bytes(5 << 20))
    async with kit(tmp_path, rules=lambda _: allowed(s3)) as here:
        for url in (f"{bucket}/churn/", f"{bucket}/churn.tar"):
            with pytest.raises(ServingError) as caught:
                await here.register(Url(url=url))
            assert caught.value.reason == "ARTEFACT_TOO_LARGE"


async def refused_folder(here: Kit, path: Path) -> str:
    with pytest.raises(ServingError) as caught:
        await here.register(Folder(path=path))
    assert await here.leftovers() == []
    return caught.value.reason


async def test_a_folder_is_taken_only_below_an_allowed_one_and_never_through_a_link(tmp_path: Path):
    model = put(tmp_path / "folders/churn/model.onnx", GOOD["model.onnx"]).parent
    outside = put(tmp_path / "outside/churn/model.onnx", GOOD["model.onnx"]).parent
    (tmp_path / "folders/link").symlink_to(outside)
    async with kit(tmp_path) as here:
        assert await refused_folder(here, outside) == "SOURCE_REFUSED"
        assert await refused_folder(here, tmp_path / "folders/../outside/churn") == "SOURCE_REFUSED"
        assert await refused_folder(here, tmp_path / "folders/link") == "SOURCE_REFUSED"
        assert await refused_folder(here, tmp_path / "folders/nobody") == "ARTEFACT_NOT_FOUND"
        await here.register(Folder(path=model))


@pytest.mark.parametrize(
    "uri", ["models:churn", "models://x/churn", "runs:/x/model", "models:/", "models:/a\nb", "http://127.0.0.1/models:/a"]
)
async def test_what_is_no_mlflow_model_is_refused(tmp_path: Path, uri: str):
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError) as caught:
            await here.register(MlflowModel(uri=uri))
        assert caught.value.reason in {"SOURCE_REFUSED", "PACKAGE_MISSING"}
        assert await here.leftovers() == []


async def test_without_mlflow_its_models_are_refused_with_the_name_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", None)
    async with kit(tmp_path) as here:
        with pytest.raises(NotImplementedHere, match="mlflow-skinny") as caught:
            await here.register(MlflowModel(uri="models:/churn@champion"))
        assert caught.value.reason == "PACKAGE_MISSING"
        assert await here.leftovers() == []


async def test_an_mlflow_model_is_registered_without_its_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def download_artifacts(*, artifact_uri: str, dst_path: str) -> str:
        asked.append(artifact_uri)
        for name in ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "code/hook.py"):
            put(Path(dst_path) / "model" / name)
        put(Path(dst_path) / "model/model.onnx", GOOD["model.onnx"])
        return f"{dst_path}/model"

    package, module = types.ModuleType("mlflow"), types.ModuleType("mlflow.artifacts")
    module.download_artifacts = download_artifacts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", module)
    async with kit(tmp_path) as here:
        registered = await here.register(MlflowModel(uri="models:/churn@champion"))

    assert asked == ["models:/churn@champion"]
    assert [file.path for file in registered.manifest.files] == ["version/model.onnx"]


async def test_an_mlflow_that_fails_is_not_found_without_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def download_artifacts(**_: str) -> str:
        raise ValueError("secret token")

    module = types.ModuleType("mlflow.artifacts")
    module.download_artifacts = download_artifacts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", module)
    async with kit(tmp_path) as here:
        with pytest.raises(NotFound) as caught:
            await here.register(MlflowModel(uri="models:/churn/3"))

    assert "secret" not in caught.value.message
