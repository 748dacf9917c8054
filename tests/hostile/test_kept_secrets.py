"""What a whole serve lets others see: no key anywhere, no file, socket or port that is not for them; and no code is run from bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from tests.faults.world import environment
from tests.hostile.stand import GOOD, Target, attacked, good_request

pytestmark = pytest.mark.timeout(180)

Code = grpc.StatusCode
CALLER, ADMIN, WRONG = ("penstock_" + letter * 12 + "_Canary" + letter * 32 for letter in "car")
KEYS = (CALLER, ADMIN, WRONG)
OIP = "/inference.GRPCInferenceService/"

WATCH = """
import os, sys
file = os.open(os.environ["PENSTOCK_TEST_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def note(event, arguments):
    if event in ("pickle.find_class", "os.system"):
        os.write(file, f"{event} {arguments[:2]}\\n".encode())
sys.addaudithook(note)
os.write(file, f"watched {os.getpid()}\\n".encode())
"""
"""Runs at the start of every process: tells what was unpickled or given to a shell."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where processes tell what they run."""
    return tmp_path_factory.mktemp("e") / "events"


@pytest.fixture(scope="module")
def target(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("t")
    digest = lambda key: hashlib.sha256(key.encode()).hexdigest()
    (folder / "tenants.toml").write_text(
        f'[[tenants]]\nname = "caller"\nkeys = ["sha256:{digest(CALLER)}"]\n'
        f'[[tenants]]\nname = "operator"\nadmin = true\nkeys = ["sha256:{digest(ADMIN)}"]\n'
    )
    (folder / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        environment(PYTHONPATH=path, PENSTOCK_TEST_EVENTS=str(events)),
        attacked(
            tmp_path_factory.mktemp("h"), "--tenants-file", str(folder / "tenants.toml"), "--log-level", "debug", key=CALLER
        ) as running,
    ):
        yield running


def everybody(target: Target) -> list[int]:
    """Return the processes of the serve."""
    return [target.served.process.pid, *target.process_ids]


def ask(target: Target, path: str, body: Any = None, **headers: str) -> int:
    """Ask by HTTP; return the status."""
    content = None if body is None else json.dumps(body).encode()
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    asked = urllib.request.Request(target.served.http + path, data=content, headers=named)
    try:
        with urllib.request.urlopen(asked, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def told_by_grpc(target: Target, key: str) -> list[Code]:
    """Give a key wherever a call has room for it."""
    named = good_request(id=key)
    named.parameters["note"].string_param = key
    elsewhere = pb.ModelInferRequest(model_name=key)
    calls: list[tuple[bytes, list[tuple[str, str]]]] = [
        (GOOD, [("x-api-key", key)]),
        (GOOD, [("authorization", f"Bearer {key}")]),
        (GOOD, [("authorization", key)]),
        (GOOD, [("traceparent", key), ("x-api-key", CALLER)]),
        (GOOD, [("x-request-id", key), ("x-tenant", key), ("x-api-key", CALLER)]),
        (named.SerializeToString(), [("x-api-key", CALLER)]),
        (elsewhere.SerializeToString(), [("x-api-key", CALLER)]),
        (key.encode(), [("x-api-key", key)]),
    ]
    codes = [target.call(payload, metadata=metadata, timeout=30)[0] for payload, metadata in calls]
    target.call(pb.ModelReadyRequest(name=key).SerializeToString(), path=f"{OIP}ModelReady", metadata=[("x-api-key", key)])
    target.call(b"", path=f"{OIP}{key}", metadata=[("x-api-key", key)])
    return codes


def told_by_http(target: Target, key: str) -> list[int]:
    """Give a key wherever a request has room for it."""
    rows = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0, 0, 0]}]}
    infer, quoted = "/v2/models/echo/infer", urllib.parse.quote(key)
    return [
        ask(target, infer, rows, x_api_key=key),
        ask(target, infer, rows, authorization=f"Bearer {key}"),
        ask(target, infer, {**rows, "id": key}, x_api_key=CALLER),
        ask(target, infer, {**rows, key: key}, x_api_key=CALLER),
        ask(target, f"{infer}?key={quoted}", rows),
        ask(target, f"/v2/models/{quoted}/infer", rows, x_api_key=CALLER),
        ask(target, f"/{quoted}", None, cookie=f"key={key}", referer=f"http://x/?{quoted}", user_agent=key),
        ask(target, f"/v2/repository/models/{quoted}/load", {"parameters": {"config": key}}, x_api_key=CALLER),
        ask(target, "/api/v1/models/echo/predict", {"inputs": [{"x": key}]}, x_api_key=key),
    ]


def written(target: Target) -> dict[str, bytes]:
    """Return all that the run has written or shows, by where."""
    found: dict[str, bytes] = {}
    for path in target.served.state_dir.rglob("*"):
        with suppress(FileNotFoundError):  # what is replaced while we look
            if path.is_file():
                found[str(path)] = path.read_bytes()
    found["log"] = target.served.log.read_bytes()
    with urllib.request.urlopen(f"http://{target.served.record['metrics']}/metrics", timeout=30) as response:
        found["metrics"] = response.read()
    for process_id in everybody(target):
        for name in ("cmdline", "environ"):
            found[f"{process_id}/{name}"] = Path(f"/proc/{process_id}/{name}").read_bytes()
    return found


def test_a_key_is_written_nowhere_whatever_is_done_with_it(target: Target):
    codes = [told_by_grpc(target, key) for key in KEYS]
    statuses = [told_by_http(target, key) for key in KEYS]
    target.assert_unharmed()

    assert [by_key[0] for by_key in codes] == [Code.OK, Code.OK, Code.UNAUTHENTICATED]
    assert [by_key[:2] for by_key in statuses] == [[200, 200], [200, 200], [401, 401]]
    places = written(target)
    assert any(b"router_ready" in content for content in places.values())
    assert [(place, key) for place, content in places.items() for key in KEYS if key.encode() in content] == []


def test_files_folders_and_sockets_of_a_serve_are_its_users_alone(target: Target):
    found = [target.served.state_dir, *target.served.state_dir.rglob("*")]
    modes: dict[str, int] = {}
    for path in found:
        with suppress(FileNotFoundError):  # what is replaced while we look
            modes[str(path)] = path.lstat().st_mode
    folders = {path: stat.S_IMODE(mode) for path, mode in modes.items() if stat.S_ISDIR(mode)}
    sockets = {path: stat.S_IMODE(mode) for path, mode in modes.items() if stat.S_ISSOCK(mode)}

    assert len(sockets) >= 3  # links, control and metrics
    assert {path: oct(mode) for path, mode in sockets.items() if mode != 0o600} == {}
    assert {path: oct(mode) for path, mode in folders.items() if mode != 0o700} == {}


def test_a_serve_listens_on_loopback_and_on_its_three_ports_alone(target: Target):
    listening = {place for process_id in everybody(target) for place in tcp_listeners(process_id)}
    ports = {int(str(target.served.record[name]).rpartition(":")[2]) for name in ("http", "grpc", "metrics")}

    assert len(ports) == 3
    assert listening == {("127.0.0.1", port) for port in ports}
    assert ask(target, "/metrics", x_api_key=ADMIN) == 404


def tcp_listeners(process_id: int) -> Iterator[tuple[str, int]]:
    """Yield where a process listens."""
    inodes = set()
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(OSError):
            inodes.add(str(descriptor.readlink()))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process_id}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].partition(":")
                shown = ".".join(str(byte) for byte in reversed(bytes.fromhex(address))) if table == "tcp" else address
                yield shown, int(port, 16)


def test_nothing_is_unpickled_and_no_shell_is_asked(target: Target, events: Path):
    target.assert_unharmed()
    lines = events.read_text().splitlines()

    assert {f"watched {process_id}" for process_id in everybody(target)} <= set(lines)
    assert [line for line in lines if not line.startswith("watched ")] == []
    subprocess.run([sys.executable, "-c", "import pickle; pickle.loads(pickle.dumps(print))"], check=True, timeout=60)
    assert [line for line in events.read_text().splitlines() if "builtins" in line] == ["pickle.find_class ('builtins', 'print')"]
