import json
import shutil

import onnx
import pytest

from examples import artefact, build, digits
from penstock.contracts.model_config_text import from_pbtxt, from_toml

FLOAT, INT64 = "tensor(float)", "tensor(int64)"

SIGNATURES = {
    "digits/1": ({"pixels": (FLOAT, 2, 64)}, {"label": (INT64, 2, 1), "probabilities": (FLOAT, 2, 10)}),
    "digits/2": ({"pixels": (FLOAT, 2, 64)}, {"label": (INT64, 2, 1), "probabilities": (FLOAT, 2, 10)}),
    "breast_cancer/1": ({"features": (FLOAT, 2, 30)}, {"label": (INT64, 1, None), "probabilities": (FLOAT, 2, 2)}),
    "minilm/1": (
        dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (INT64, 2, None)),
        {"last_hidden_state": (FLOAT, 3, 384)},
    ),
}
"""Type, number of dimensions and fixed last size of every input and output."""

VERSIONS = pytest.mark.parametrize("version", SIGNATURES)


def described(tensors):
    return {one.name: (one.type, len(one.shape), one.shape[-1] if isinstance(one.shape[-1], int) else None) for one in tensors}


@VERSIONS
def test_a_version_takes_and_answers_the_promised_tensors(open_version, version):
    session = open_version(version)

    assert (described(session.get_inputs()), described(session.get_outputs())) == SIGNATURES[version]


@VERSIONS
def test_a_version_is_valid_onnx_that_old_runtimes_read(repository, version):
    model = onnx.load(repository / version / "model.onnx")

    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == artefact.IR_VERSION
    assert {one.domain: one.version for one in model.opset_import}[""] == artefact.OPSET


def test_a_second_build_touches_nothing(repository):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}

    assert build.build_models(repository) == {"digits": False, "breast_cancer": False, "minilm": False}
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_model_that_somebody_touched_is_built_again_the_same(tmp_path, repository, damage):
    shutil.copytree(repository, copied := tmp_path / "models")
    touched = copied / "breast_cancer" / ("stray" if damage == "added" else "labels.txt")
    touched.unlink() if damage == "removed" else touched.write_text("edited\n")

    assert build.build_models(copied) == {"digits": False, "breast_cancer": True, "minilm": False}
    assert contents(copied / "breast_cancer") == contents(repository / "breast_cancer")
    assert {path.name for path in copied.iterdir()} == {".stamps", "digits", "breast_cancer", "minilm"}


def test_a_model_made_by_another_release_of_a_package_is_built_again(tmp_path, repository):
    shutil.copytree(repository, copied := tmp_path / "models")
    stamp = copied / ".stamps" / "breast_cancer.json"
    content = json.loads(stamp.read_text())
    content["made_from"]["skl2onnx"] = "0.1"
    stamp.write_text(json.dumps(content))

    assert build.build_models(copied, ["breast_cancer"]) == {"breast_cancer": True}


def test_two_builds_of_trained_weights_are_equal_byte_by_byte(tmp_path, repository):
    build.build_models(tmp_path, ["digits"])

    assert contents(tmp_path / "digits") == contents(repository / "digits")


def test_the_command_builds_only_what_is_asked_for(tmp_path, capsys):
    build.main(["--out", str(tmp_path), "--only", "breast_cancer"])

    assert {path.name for path in tmp_path.iterdir()} == {".stamps", "breast_cancer"}
    assert "built in" in capsys.readouterr().out


def test_the_command_refuses_a_model_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        build.main(["--only", "resnet"])

    assert "invalid choice: 'resnet'" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["digits", "breast_cancer", "minilm"])
def test_a_configuration_names_only_files_that_are_there(repository, model):
    folder = repository / model
    config = from_pbtxt((folder / "config.pbtxt").read_text()) if model == "digits" else from_toml((folder / "model.toml").read_text())

    labels = [folder / one.label_filename for one in config.outputs if one.label_filename]
    warmups = [folder / "warmup" / one.file for sample in config.warmup for one in sample.inputs.values() if one.file]
    goldens = [version / one.file for one in config.golden for version in folder.iterdir() if version.name.isdigit()]
    assert labels or model == "minilm"
    assert goldens
    assert all(path.is_file() for path in (*labels, *warmups, *goldens))
    assert config.ignored == ()


def test_the_warm_up_file_holds_whole_rows(repository):
    assert (repository / "digits" / "warmup" / "pixels").stat().st_size == digits.WARMUP_ROWS * 64 * 4


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
