"""Stands in for services.router: opens the shared HTTP port, says that it is ready, and obeys files beside its state folder.

`<state>/../orders/<name>.<order>`: `exit` ends it with the code in the file each time it starts, `stuck` makes it ignore SIGTERM.
Every step is a line of `<state>/../steps`.
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from services.chassis.atomic_file import write_atomically
from services.chassis.parentage import die_with_parent

die_with_parent()
settings = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
name, state = settings["router_id"], Path(settings["state_dir"])
orders, steps = state.parent / "orders", state.parent / "steps"


def step(word):
    with steps.open("a") as file:
        file.write(f"{name} {word} {os.getpid()}\n")


def answer(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


if (orders / f"{name}.exit").exists():
    step("exits")
    sys.exit(int((orders / f"{name}.exit").read_text()))
asked = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: step("reload " + json.loads(Path(sys.argv[-1]).read_text())["log_level"]))
signal.signal(signal.SIGTERM, lambda *_: (step("draining"), (orders / f"{name}.stuck").exists() or asked.set()))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind((settings["host"], settings["http_port"]))
listener.listen()
threading.Thread(target=answer, args=(listener,), daemon=True).start()
reached = {f"worker-{number}": 1 << 30 for number in range(4)}
write_atomically(state / "ready" / name, json.dumps({"pid": os.getpid(), "workers": reached}).encode())
step("ready")
while not asked.wait(0.05):
    pass
step("stopped")
