"""Run the whole mesh on this machine and change it under load: `python -m examples.mesh`.

Real Kafka, a controller, two workers and two routers. Both versions of the digits model are registered and deployed; traffic is split,
pinned and shadowed, flipped and rolled back while callers go on. Whatever is wrong is said at the end and makes the exit code 1: a failed
call, a share that is not what was set, a router that did not confirm, a chain of records that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from examples import datasets, digits
from examples.build import DEFAULT_REPOSITORY, build_models
from examples.callers import Callers
from examples.served import PROGRAM
from penstock.client.answers import status_word
from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.uploads import files_of, send
from penstock.client.writes import Run, Write
from penstock.contracts.routes import Shadow

OLD, NEW = "1", "2"
UP_SECONDS, DOWN_SECONDS, ACTIVE_SECONDS = 240.0, 60.0, 60.0
PHASE_SECONDS = 2.0
"""Load after each change."""
FLIPS = 5
SHARE_MARGIN = 0.08


class MeshFailure(Exception):
    """The mesh did not come up, or something in it did not become what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the mesh answers, as `host:port`."""

    grpc: str
    http: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.mesh", description="Run a mesh, and change it under load.")
    parser.add_argument("--models", type=Path, default=DEFAULT_REPOSITORY, metavar="FOLDER", help="model repository (default: %(default)s)")
    repository = parser.parse_args(arguments).models
    console, started_at = Console(highlight=False, soft_wrap=True), time.monotonic()
    complaints: list[str] = []
    try:
        build_models(repository, (digits.NAME,))
        with up(console) as addresses:
            key = first_key(addresses)
            with Control(addresses.grpc, ClientOptions(timeout_seconds=30, api_key=key)) as control:
                Demo(control, addresses, key, console, complaints).run(repository / digits.NAME)
    except MeshFailure as failure:
        complaints.append(str(failure))
    for complaint in complaints:
        console.print(f"wrong: {complaint}", style="red", markup=False)
    verdict = f"{len(complaints)} wrong" if complaints else "every change as it should be"
    console.print(f"mesh: {verdict}, {time.monotonic() - started_at:.0f} s")
    return 1 if complaints else 0


@contextmanager
def up(console: Console) -> Generator[Addresses]:
    """Run `penstock up` with Kafka alone of the servers, and give out where the mesh answers.

    Raises:
        MeshFailure: it did not come up, or did not end.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-mesh-") as folder:
        words = ("up", "--name", "demo", "--state-dir", folder, "--only", "kafka", "--mesh", "--workers", "2", "--routers", "2", "--detach")
        console.print(f"penstock {' '.join(words[:1] + words[5:])}", style="bold")
        _penstock(words, UP_SECONDS)
        try:
            mesh = json.loads((Path(folder) / "stack.json").read_text())["mesh"]
            yield Addresses(grpc=mesh["grpc"], http=mesh["http"])
        finally:
            _penstock(("down", "--name", "demo", "--state-dir", folder), DOWN_SECONDS)


def first_key(addresses: Addresses) -> str:
    """Make the first tenant, who may change the mesh, and return its key: from then on nobody calls without one."""
    with Control(addresses.grpc, ClientOptions(timeout_seconds=30)) as control:
        control.set_tenant("demo", json.dumps({"admin": True}), Write(reason="demo"))
        return control.create_key("demo").key


class Demo:
    """What is done, in order; what is wrong is collected."""

    def __init__(self, control: Control, addresses: Addresses, key: str, console: Console, complaints: list[str]) -> None:
        """Keep the arguments; `key` is that of who changes the mesh and calls it."""
        self._control = control
        self._addresses = addresses
        self._key = key
        self._console = console
        self._complaints = complaints

    def run(self, folder: Path) -> None:
        """Register, deploy, then change traffic under load."""
        self._register(folder)
        self._deploy(OLD)
        self._deploy(NEW)
        rows = datasets.digits().held_out_rows
        with Callers(self._addresses.grpc, digits.NAME, rows, key=self._key) as callers:
            self._split(callers)
            self._pin_and_shadow(callers)
            self._flip_and_roll_back(callers)
        for failure in callers.failures[:5]:
            self._complaints.append(f"a call failed: {failure}")
        self._say(f"{callers.count} calls while all of that was done, {len(callers.failures)} failed")
        self._answer_for_it()

    def _register(self, folder: Path) -> None:
        files = files_of(folder)
        for file in files:
            send(self._control, file)
        self._control.register(digits.NAME, "", [file.sent for file in files], write=Write(reason="demo"))
        versions = [one.version for one in self._control.model(digits.NAME).model.versions]
        self._say(f"registered {digits.NAME}, versions {', '.join(versions)}, {sum(file.sent.size for file in files):,} bytes sent")
        self._check(versions == [OLD, NEW], f"versions {versions} are registered, not {[OLD, NEW]}")

    def _deploy(self, version: str) -> None:
        began_at = time.monotonic()
        deployment = self._control.deploy(digits.NAME, version, Run(replicas=2)).deployment
        while True:
            now = next(one for one in self._control.deployments(digits.NAME) if one.deployment_id == deployment.deployment_id)
            if status_word(now) == "active":
                break
            if status_word(now) == "failed" or time.monotonic() - began_at > ACTIVE_SECONDS:
                raise MeshFailure(f"{digits.NAME}@{version} is {status_word(now)}: {now.status_reason}")
            time.sleep(0.05)
        self._say(f"deployed {digits.NAME}@{version} on {now.ready_replicas} workers in {time.monotonic() - began_at:.1f} s")

    def _split(self, callers: Callers) -> None:
        answer = self._control.set_traffic(digits.NAME, {OLD: 9000, NEW: 1000}, Write(reason="canary"))
        self._confirmed("10 % to version 2", answer)
        share = callers.share_of(NEW, PHASE_SECONDS)
        self._say(f"  {share:.1%} of the calls were answered by version 2")
        self._check(abs(share - 0.1) < SHARE_MARGIN, f"a share of 10 % became {share:.1%}")

    def _pin_and_shadow(self, callers: Callers) -> None:
        self._control.set_tenant("acme", "{}", Write(reason="demo"))
        self._confirmed("tenant acme pinned to version 1", self._control.pin(digits.NAME, "acme", OLD))
        self._confirmed("half of the traffic copied to version 2", self._control.shadow(digits.NAME, _half_of(NEW)))
        callers.share_of(NEW, PHASE_SECONDS)
        self._confirmed("the shadow ended", self._control.shadow(digits.NAME, None))

    def _flip_and_roll_back(self, callers: Callers) -> None:
        seconds: list[float] = []
        self._control.set_traffic(digits.NAME, {OLD: 10_000, NEW: 0})
        for _ in range(FLIPS):
            self._control.set_traffic(digits.NAME, {OLD: 0, NEW: 10_000}, Write(reason="flip"))
            flipped = callers.share_of(NEW, PHASE_SECONDS / 4)
            answer = self._control.rollback(digits.NAME)
            back = callers.share_of(OLD, PHASE_SECONDS / 4)
            self._check(flipped == back == 1.0, f"after a flip {flipped:.1%} and after its rollback {back:.1%} went where they should")
            self._check(answer.elapsed_seconds >= 0, "a router did not confirm a rollback")
            seconds.append(answer.elapsed_seconds)
        self._say(
            f"{FLIPS} flips and rollbacks; every router confirmed a rollback within {max(seconds):.3f} s (median {_median(seconds):.3f} s)"
        )

    def _answer_for_it(self) -> None:
        answer = self._control.changes(subject=f"model/{digits.NAME}", verify=True)
        self._say(f"{len(answer.changes)} changes on record; the chain {'is broken: ' + answer.broken if answer.broken else 'holds'}")
        self._check(not answer.broken, f"the chain of records is broken: {answer.broken}")

    def _confirmed(self, what: str, answer: object) -> None:
        confirmations = getattr(answer, "confirmations", ())
        silent = [one.router_id for one in confirmations if one.seconds < 0]
        slowest = max((one.seconds for one in confirmations), default=0.0)
        self._say(f"{what}: {len(confirmations) - len(silent)} of {len(confirmations)} routers confirmed within {slowest:.3f} s")
        self._check(bool(confirmations) and not silent, f"{what}: no word from {', '.join(silent) or 'any router'}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _check(self, holds: bool, complaint: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not holds:
            self._complaints.append(complaint)


def _half_of(version: str) -> Shadow:
    return Shadow(version=version, sample_basis_points=5000)


def _median(numbers: Sequence[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def _penstock(words: Sequence[str], seconds: float) -> None:
    with tempfile.TemporaryFile() as said:
        # A file and no pipe: what runs in the background would keep a pipe open.
        ended = subprocess.run(
            [*PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=seconds, env=_environment(), check=False
        )
        said.seek(0)
        if ended.returncode != 0:
            raise MeshFailure(f"penstock {words[0]} ended with {ended.returncode}: {said.read().decode(errors='replace')[-2000:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    sys.exit(main())
