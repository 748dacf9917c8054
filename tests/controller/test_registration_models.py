"""Models of strangers: every one that is refused is refused for its own reason and leaves nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from penstock.contracts.errors import InvalidInput, ServingError
from services.controller.registration_values import Folder
from tests.controller import graphs
from tests.controller.graphs import ADD, content, external, graph, model, value, with_dims, with_weights
from tests.controller.registering import GOOD, kit, tar
from tests.worker import models

Files = dict[str, bytes]


def onnx_file(built: bytes) -> Files:
    return {"model.onnx": built}


def identity(**more: object) -> bytes:
    return graphs.plain(**more)


def node(operator: str, domain: str) -> Files:
    made = graph(helper.make_node(operator, ["x"], ["y"], domain=domain))
    return onnx_file(content(model(made, domains=[domain])))


def cyclic() -> bytes:
    return content(model(graph(helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Identity", ["a"], ["b"]), ADD)))


def without_outputs() -> bytes:
    return content(model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value("x")], [])))


def with_metadata(key: str, text: str) -> bytes:
    built = model(graph(helper.make_node("Identity", ["x"], ["y"])))
    built.metadata_props.add(key=key, value=text)
    return content(built)


def doubled() -> bytes:
    twice = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    return content(model(graph(*twice)))


def in_data(**entries: object) -> Files:
    return onnx_file(with_weights(external("w.data", **entries))) | {"w.data": bytes(8)}


def toml(text: str) -> Files:
    return dict(GOOD) | {"model.toml": text.encode()}


WEIGHTS = numpy_helper.from_array(np.ones(2, dtype=np.float32), "w")
OUTSIDE = (
    "../w.bin",
    "/etc/passwd",
    "C:\\w.bin",
    "\\\\host\\w.bin",
    "http://127.0.0.1/w.bin",
    "",
    "w" * 300,
    "a/w.bin",
    "w\0.bin",
    ".",
    "..",
)
SAMPLE = '[[model_warmup]]\nname = "w"\nbatch_size = 1\ninputs = { x = { data_type = "FP32", dims = [%s], %s } }\n'

ROWS: Mapping[str, tuple[Callable[[], Files], str]] = {
    "IU1 an empty model": (lambda: onnx_file(b""), "BAD_MODEL"),
    "IU24 random bytes": (lambda: onnx_file(random.Random(7).randbytes(5000)), "BAD_MODEL"),
    "IU24 text": (lambda: onnx_file(b"version https://git-lfs.github.com/spec/v1\n"), "BAD_MODEL"),
    "IU26 opset of the future": (lambda: onnx_file(identity(opset=999)), "BAD_MODEL"),
    "IU26 opset of the past": (lambda: onnx_file(identity(opset=1)), "BAD_MODEL"),
    "IU26 IR version of the future": (lambda: onnx_file(identity(ir=999)), "BAD_MODEL"),
    "IU26 no IR version": (lambda: onnx_file(identity(ir=0)), "BAD_MODEL"),
    "IU27 unknown domain": (lambda: node("Anything", "com.evil"), "BAD_MODEL"),
    "IU28 known operator of an unknown domain": (lambda: node("Identity", "com.evil"), "BAD_MODEL"),
    "IU28 domain in other letters": (lambda: node("Identity", "COM.MICROSOFT"), "BAD_MODEL"),
    **{f"IU29 {where[:20]!r}": (lambda where=where: onnx_file(with_weights(external(where))), "BAD_MODEL") for where in OUTSIDE},
    "IU29 no location": (lambda: onnx_file(with_weights(external(None))), "BAD_MODEL"),
    "IU29 missing": (lambda: onnx_file(with_weights(external("w.bin"))), "BAD_MODEL"),
    **{f"IU31 {place}": (lambda built=built: onnx_file(built), "BAD_MODEL") for place, built in graphs.places("../w.bin").items()},
    **{
        f"IU32 {entries}": (lambda entries=entries: in_data(**entries), "BAD_MODEL")
        for entries in (
            {"offset": -1}, {"offset": 8}, {"offset": 4096}, {"length": 9}, {"length": 2**63}, {"length": -1}, {"length": "x"},
            {"offset": "0x0"}, {"length": 4},
        )
    },
    "IU34 negative": (lambda: onnx_file(with_dims(-1)), "BAD_MODEL"),
    "IU34 overflow": (lambda: onnx_file(with_dims(2**32, 2**32, 2**32)), "BAD_MODEL"),
    "IU34 many": (lambda: onnx_file(with_dims(*[1] * 100_000)), "BAD_MODEL"),
    "IU34 more than there is": (lambda: onnx_file(with_dims(2**33)), "BAD_MODEL"),
    "IU37 nested": (lambda: onnx_file(graphs.nested(400)), "BAD_MODEL"),
    "IU38 cycle": (lambda: onnx_file(cyclic()), "BAD_MODEL"),
    "IU38 a name twice": (lambda: onnx_file(doubled()), "BAD_MODEL"),
    "IU38 dangling": (lambda: onnx_file(content(model(graph(ADD)))), "BAD_MODEL"),
    "IU38 no outputs": (lambda: onnx_file(without_outputs()), "BAD_MODEL"),
    "IU38 nothing": (lambda: onnx_file(content(onnx.ModelProto(ir_version=8))), "BAD_MODEL"),
    "IU39 another input": (lambda: toml('[[input]]\nname = "z"\ndims = [2]\n'), "BAD_VALUE"),
    "IU39 another type": (lambda: toml('[[input]]\nname = "x"\ndata_type = "INT64"\ndims = [2]\n'), "BAD_VALUE"),
    "IU39 another size": (lambda: toml('[[output]]\nname = "y"\ndims = [3]\n'), "BAD_VALUE"),
    "IU39 another model": (lambda: toml('name = "other"\n'), "BAD_VALUE"),
    "IU40 large metadata": (lambda: onnx_file(with_metadata("a", "x" * (2 << 20))), "BAD_MODEL"),
    "IU40 control characters": (lambda: onnx_file(with_metadata("a", "\x1b[2J")), "BAD_MODEL"),
    "IU40 control characters in a key": (lambda: onnx_file(with_metadata("a\0", "x")), "BAD_MODEL"),
    "IU41 warm-up of another shape": (lambda: toml(SAMPLE % ("3", "zero_data = true")), "BAD_VALUE"),
    "IU41 warm-up without its file": (lambda: toml(SAMPLE % ("2", 'input_data_file = "row.raw"')), "BAD_MODEL"),
    "IU41 warm-up file too short": (
        lambda: toml(SAMPLE % ("2", 'input_data_file = "row.raw"')) | {"warmup/row.raw": b"123"}, "BAD_MODEL",
    ),
    "IU41 warm-up that the model does not take": (
        lambda: onnx_file(models.poisonable(4)) | {
            "model.toml": SAMPLE.replace("x =", "index =").replace("FP32", "INT64").encode() % (b"1", b'input_data_file = "row.raw"'),
            "warmup/row.raw": np.array([99], dtype=np.int64).tobytes(),
        }, "BAD_MODEL",
    ),
    "a golden answer that is another": (
        lambda: toml('[[golden]]\nfile = "golden.json"\n') | {"golden.json": b'{"inputs": {"x": [[1, 2]]}, "outputs": {"y": [[1, 3]]}}'},
        "BAD_MODEL",
    ),
    "features that do not fit": (
        lambda: toml('[features]\ncolumns = [{ name = "a", data_type = "FP32" }]\n'), "FEATURE_SCHEMA_MISMATCH",
    ),
    "IU20 custom operators": (lambda: toml('[model_operations]\nop_library_filename = ["libevil.txt"]\n'), "BAD_MODEL"),
    "IU20 session option": (lambda: toml('[session_options]\nregister_custom_ops_library = "libevil.txt"\n'), "BAD_VALUE"),
    "IU44 a key twice": (lambda: toml("max_batch_size = 1\nmax_batch_size = 2\n"), "BAD_VALUE"),
    "IU44 no TOML": (lambda: toml("on: yes\n\tno: !!python/object:os.system\n"), "BAD_VALUE"),
    "IU44 a boolean that is a word": (lambda: toml('reject_non_finite = "on"\n'), "BAD_VALUE"),
    "IU44 large": (lambda: toml("# " + "x" * ((4 << 20) - 4096) + "\n" * 5000), "ARTEFACT_TOO_LARGE"),
    "IU44 deep": (lambda: toml("a = " + "[" * 5000), "BAD_VALUE"),
    "two configurations": (lambda: toml("") | {"config.pbtxt": b""}, "BAD_VALUE"),
    "a configuration that is no text": (lambda: dict(GOOD) | {"config.pbtxt": b"\xff\xfe"}, "BAD_VALUE"),
    "a model under another name": (lambda: {"other.onnx": identity()}, "BAD_MODEL"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
async def test_a_bad_version_is_refused_for_its_reason_and_leaves_nothing(tmp_path: Path, row: str):
    make, reason = ROWS[row]
    async with kit(tmp_path) as here:
        with pytest.raises(ServingError) as caught:
            await here.register(here.archive(tar(make())))

        assert caught.value.reason == reason
        assert caught.value.status.http in (400, 409, 413)
        assert str(tmp_path) not in caught.value.message
        assert await here.leftovers() == []
        await here.register(here.archive(tar(GOOD)))


async def test_a_model_cut_anywhere_is_refused(tmp_path: Path):
    """IU24."""
    whole = models.dense(64, 64)
    async with kit(tmp_path) as here:
        for length in range(0, len(whole), 1024):
            with pytest.raises(InvalidInput) as caught:
                await here.register(here.archive(tar({"model.onnx": whole[:length]})))
            assert caught.value.reason == "BAD_MODEL", length
        assert await here.leftovers() == []


@pytest.mark.parametrize("place", graphs.places("w.data"))
async def test_external_data_beside_the_model_is_taken_wherever_it_is_named(tmp_path: Path, place: str):
    weights = np.ones(2, dtype=np.float32).tobytes()
    async with kit(tmp_path) as here:
        try:
            registered = await here.register(here.archive(tar({"model.onnx": graphs.places("w.data")[place], "w.data": weights})))
        except InvalidInput as refusal:
            is_sparse = place.startswith("sparse")  # ONNX Runtime takes no sparse tensor from another file
            assert (is_sparse, refusal.reason) == (True, "BAD_MODEL")  # noqa: PT017
            return
        assert registered.manifest.file("version/w.data") is not None


@pytest.mark.parametrize("kind", ["file link", "folder link", "hard link", "pipe", "device", "environment"])
async def test_a_folder_with_anything_but_files_of_its_own_is_refused(tmp_path: Path, kind: str):
    """IU30, IU33."""
    folder, secret = tmp_path / "folders" / "churn", tmp_path / "secret"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(with_weights(external("w.data")))
    secret.write_bytes(bytes(8))
    weights = folder / "w.data"
    match kind:
        case "file link":
            weights.symlink_to(secret)
        case "folder link":
            (folder / "more").symlink_to(tmp_path)
            weights.write_bytes(bytes(8))
        case "hard link":
            weights.hardlink_to(secret)
        case "pipe":
            os.mkfifo(weights)
        case "device":
            weights.symlink_to("/dev/zero")
        case _:
            weights.symlink_to("/proc/self/environ")
    async with kit(tmp_path) as here:
        with pytest.raises(InvalidInput) as caught:
            await here.register(Folder(path=folder))
        assert caught.value.reason == "SOURCE_REFUSED"
        assert await here.leftovers() == []


async def test_a_file_beyond_protobufs_limit_is_refused_by_its_size(tmp_path: Path):
    """IU25."""
    from services.worker.graph_checks import GraphRefused, check_graph

    large = tmp_path / "model.onnx"
    with large.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(GraphRefused, match="external data"):
        check_graph(large)


async def test_what_is_said_of_a_version_comes_from_its_graph(tmp_path: Path):
    built = model(graph(ADD, initializer=[WEIGHTS]), producer_name="skl2onnx", producer_version="1.19")
    built.metadata_props.add(key="team", value="credit")
    async with kit(tmp_path) as here:
        registered = await here.register(here.archive(tar({"model.onnx": content(built)})), lineage={"data": "s3://x@3"})

    facts = registered.report.facts
    assert (facts["framework"], facts["producer"], facts["opsets"]) == ("skl2onnx", "skl2onnx 1.19", {"ai.onnx": 17})
    assert facts["metadata"] == {"team": "credit"}
    assert registered.report.signature == {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "optional": False}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "optional": False}],
        "max_batch_size": 64,
    }
    assert registered.lineage == {"data": "s3://x@3"}
    assert registered.report.memory_bytes > 0
    assert registered.manifest.total_bytes == len(content(built))


async def test_the_features_that_a_version_names_are_in_its_report(tmp_path: Path):
    named = '[features]\nview = "v"\ncolumns = [{ name = "a", data_type = "FP32", unit = "m" }, { name = "b", data_type = "INT64" }]\n'
    async with kit(tmp_path) as here:
        report = (await here.register(here.archive(tar(toml(named))))).report

    assert report.features["view"] == "v"
    assert report.features["columns"] == [
        {"name": "a", "data_type": "FP32", "unit": "m"},
        {"name": "b", "data_type": "INT64", "unit": ""},
    ]
    assert len(report.feature_hash) == 64


async def test_a_model_that_takes_no_zeros_is_registered_with_a_note(tmp_path: Path):
    made = graph(helper.make_node("Gather", ["w", "index"], ["y"]), initializer=[WEIGHTS])
    made.input.pop()
    made.input.append(value("x", ["rows", 2]))
    cast = helper.make_node("Cast", ["minus"], ["index"], to=7)
    minus = helper.make_node("Sub", ["x", "nine"], ["minus"])
    made.node.insert(0, cast)
    made.node.insert(0, minus)
    made.initializer.append(numpy_helper.from_array(np.array(9, dtype=np.float32), "nine"))
    async with kit(tmp_path) as here:
        registered = await here.register(here.archive(tar({"model.onnx": content(model(made))})))

    assert "model_warmup" in str(registered.report.facts["trial_note"])
