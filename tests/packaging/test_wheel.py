"""What a stranger gets from `pip install penstock` and from `pip install 'penstock[serve]'`."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save_model

from tests.packaging.wheel import REPO, Environment, build_wheel, clean_environment, install, run

BASE_LIMIT_BYTES = 80_000_000
READY_SECONDS = 30.0
DRAIN_SECONDS = 30.0

# The first test of the module waits for the wheel and the environments; with cold caches they are downloaded.
pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    return build_wheel(folder)


@pytest.fixture(scope="module")
def base(wheel: Path, folder: Path) -> Environment:
    return install(wheel, folder)


@pytest.fixture(scope="module")
def serving(wheel: Path, folder: Path) -> Environment:
    return install(wheel, folder, "serve")


def test_the_wheel_carries_the_servers_as_one_archive_and_nothing_else_at_the_top(wheel: Path, folder: Path):
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        (folder / "servers.zip").write_bytes(opened.read("penstock/_services.zip"))
    packed = set(zipfile.ZipFile(folder / "servers.zip").namelist())
    wanted = {str(path.relative_to(REPO)) for path in (REPO / "services").rglob("*.py")}
    wanted |= {str(path.relative_to(REPO)) for path in (REPO / "deploy" / "local").rglob("*.*")}

    assert {name.split("/")[0].split("-")[0] for name in names} == {"penstock"}
    wanted.add("deploy/local/demo/digits/warmup/pixels")  # of `up --profile demo`; its name has no dot
    assert wanted - packed == set()
    assert {name.split("/")[0] for name in packed} == {"services", "deploy"}
    assert "penstock/py.typed" in names
    assert [name for name in (*names, *packed) if name.endswith(".pyc")] == []


@pytest.mark.parametrize("name", ["base", "serving"])
def test_no_environment_gets_a_package_called_services(name: str, request: pytest.FixtureRequest, folder: Path):
    environment: Environment = request.getfixturevalue(name)
    found = run(environment.python, "-P", "-c", "import importlib.util as u; print(u.find_spec('services'))", cwd=folder)

    assert not (environment.site_packages / "services").exists()
    assert found.strip() == "None"


def test_the_base_install_is_small(base: Environment):
    sizes = sizes_of(base.site_packages)
    heaviest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.most_common(8))
    print(f"base install: {sizes.total() / 1e6:.1f} MB ({heaviest})")

    assert sizes.total() < BASE_LIMIT_BYTES, f"{sizes.total() / 1e6:.1f} MB: {heaviest}"


def test_the_base_install_answers_its_version(base: Environment, folder: Path):
    assert installed_version(base, folder) in run(base.penstock, "--version", cwd=folder)


def test_the_base_install_imports_without_the_servers_packages(base: Environment, folder: Path):
    run(base.python, "-P", "-W", "error", "-c", "import penstock; penstock.Client; penstock.AsyncClient", cwd=folder)


def test_the_base_install_refuses_to_serve_and_says_what_to_install(base: Environment, folder: Path):
    ended = subprocess.run(
        [base.penstock, "serve", "models"], cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode != 0
    assert "penstock[serve]" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_base_install_refuses_to_run_servers_and_says_what_to_install(base: Environment, folder: Path):
    ended = subprocess.run(
        [base.penstock, "up", "--state-dir", folder / "stack"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, "penstock[mesh]" in ended.stderr) == (1, True)
    assert not (folder / "stack").exists()


def test_the_serve_install_serves(serving: Environment, folder: Path, free_ports: Callable[[int], list[int]]):
    write_doubling_model(folder / "models" / "doubling" / "1")
    http_port, grpc_port, metrics_port = free_ports(3)
    question = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]}
    ports = ("--http-port", str(http_port), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics_port))
    with running(serving.penstock, "serve", "models", *ports, cwd=folder) as server:
        wait_until_ready(server, f"http://127.0.0.1:{http_port}/v2/models/doubling/ready")
        answer = ask(f"http://127.0.0.1:{http_port}/v2/models/doubling/infer", question)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10).read().decode()

    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [2, 4, 6, 8, 10, 12]}]
    assert "nv_inference_request_success" in metrics
    assert server.returncode == 0


def sizes_of(site_packages: Path) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for path in site_packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sizes[path.relative_to(site_packages).parts[0]] += path.stat().st_size
    return sizes


def installed_version(environment: Environment, cwd: Path) -> str:
    return run(environment.python, "-P", "-c", "from importlib.metadata import version; print(version('penstock'))", cwd=cwd).strip()


def write_doubling_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")


@contextmanager
def running(*command: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    with (cwd / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=cwd, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True)
    try:
        yield server
        server.send_signal(signal.SIGTERM)
        server.wait(DRAIN_SECONDS)
    finally:
        server.kill()
        server.wait()
        print((cwd / "server.log").read_text())


def wait_until_ready(server: subprocess.Popen[str], url: str) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        assert server.poll() is None, f"the server ended with {server.returncode} before it was ready"
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail(f"not ready within {READY_SECONDS} s: {url}")


def ask(url: str, question: object) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
