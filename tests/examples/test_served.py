"""The demo's judgement of how a server starts and stops, on servers that misbehave on purpose."""

import sys
from pathlib import Path

import pytest

from examples.served import ServerFailure, serving

SERVER = """
import argparse, http.server, os, signal, subprocess, sys, threading
parser = argparse.ArgumentParser()
parser.add_argument("command"); parser.add_argument("repository"); parser.add_argument("--host")
for face in ("http", "grpc", "metrics"):
    parser.add_argument(f"--{face}-port", type=int)
given = parser.parse_args()
habit = given.repository
if habit == "never-starts":
    sys.exit("no such repository")
if habit == "leaves-a-child":
    print("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True).pid, flush=True)

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked", self.path, flush=True)
        self.send_response(503 if habit == "never-ready" else 200); self.end_headers()
    def log_message(self, *words): pass

server = http.server.ThreadingHTTPServer((given.host, given.http_port), Answer)
if habit != "silent":
    print(f"  HTTP     http://{given.host}:{server.server_port}\\n  gRPC     {given.host}:1", flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(3 if habit == "ends-badly" else 0))
server.serve_forever()
"""


@pytest.fixture
def program(tmp_path):
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    return (sys.executable, str(script))


def test_a_block_begins_when_everything_is_ready_and_ends_when_everything_is_gone(program):
    with serving(Path("good"), [("digits", "1"), ("digits", "2")], program) as server:
        printed = server.running.printed()

    asked = ["/v2/health/ready", "/v2/models/digits/versions/1/ready", "/v2/models/digits/versions/2/ready"]
    assert [line.removeprefix("asked ") for line in printed.splitlines() if line.startswith("asked")] == asked
    assert server.running.process.returncode == 0


@pytest.mark.parametrize(
    ("habit", "ready_seconds", "message"),
    [
        ("never-starts", 30.0, "ended with code 1 before it was ready"),
        ("silent", 1.0, "has not printed where it answers"),
        ("never-ready", 5.0, "/v2/health/ready is not ready, and the time is up"),
        ("ends-badly", 30.0, "ended with code 3 after SIGTERM"),
        ("leaves-a-child", 30.0, "left processes behind"),
    ],
)
def test_a_server_that_misbehaves_is_told_on_with_its_last_words(program, habit, ready_seconds, message):
    with pytest.raises(ServerFailure, match=message) as caught, serving(Path(habit), [], program, ready_seconds):
        pass

    assert habit != "never-starts" or "no such repository" in str(caught.value)


def test_a_child_left_behind_is_ended(program):
    with pytest.raises(ServerFailure), serving(Path("leaves-a-child"), [], program) as server:
        child = int(server.running.printed().split("child ")[1].split()[0])

    assert not Path(f"/proc/{child}/cmdline").exists() or Path(f"/proc/{child}/cmdline").read_bytes() == b""


def test_a_server_is_ended_when_the_block_fails(program):
    with pytest.raises(KeyError), serving(Path("good"), [], program) as server:
        raise KeyError

    assert server.running.process.returncode == -9
