"""The ways a caller reaches the server: the SDK over gRPC, plain HTTP, OpenAI's form, and the command line.

Each sends the same rows in its own words and gives back the same columns, so that they can be compared.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from examples.served import HOST, PROGRAM, Server
from penstock import Client

CALL_SECONDS = 30.0
"""Longest wait for one answer."""

Columns = Mapping[str, NDArray[Any]]
"""Outputs by name; the first dimension is the row."""


class RefusedCall(Exception):
    """A call that should have been answered was refused; the message holds the status and what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Some rows for one version of a model with one input."""

    model: str
    version: str
    input_name: str
    rows: Sequence[list[float]] | Sequence[str]


class Way(Protocol):
    """One way to ask."""

    name: str
    rows_a_call: int
    keeps_running: bool
    """Whether calls share a process; False when each starts its own."""

    def ask(self, question: Question) -> Columns:
        """Send the rows in one call. May be called by several threads at once.

        Raises:
            RefusedCall: the server, or the command, refused.
            ServingError: the SDK's form of the same.
        """
        ...


class OverGrpc:
    """The SDK, which speaks the Open Inference Protocol over gRPC."""

    name = "gRPC"
    rows_a_call = 1
    keeps_running = True

    def __init__(self, client: Client) -> None:
        self._client = client

    def ask(self, question: Question) -> Columns:
        """Send an array, get arrays; texts travel as BYTES."""
        is_text = isinstance(question.rows[0], str)
        rows = np.array(question.rows, dtype=object if is_text else np.float32)
        return self._client.predict(question.model, {question.input_name: rows}, version=question.version).outputs


class OverHttp:
    """JSON over one kept connection a thread; the body is the product's own."""

    name = "HTTP"
    rows_a_call = 1
    keeps_running = True

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept = threading.local()

    def ask(self, question: Question) -> Columns:
        """Send rows as objects, get rows of outputs."""
        inputs = [{question.input_name: row} for row in question.rows]
        body = self.post(f"/api/v1/models/{question.model}/predict", {"inputs": inputs, "params": {"version": question.version}})
        return columns_of(body["outputs"])

    def post(self, path: str, body: object) -> Any:
        """Send JSON and return the JSON that is answered.

        Raises:
            RefusedCall: any status but 200, or a connection that broke.
        """
        connection = self._connection()
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise RefusedCall(f"POST {path}: {type(error).__name__}: {error}") from error
        if response.status != 200:
            raise RefusedCall(f"POST {path}: {response.status} {content[:500].decode(errors='replace')}")
        return json.loads(content)

    def _connection(self) -> HTTPConnection:
        """Return this thread's connection; it closes when the thread's last reference goes."""
        if not hasattr(self._kept, "connection"):
            self._kept.connection = HTTPConnection(HOST, self._server.http_port, timeout=CALL_SECONDS)
        return self._kept.connection


class OverOpenAi:
    """Embeddings in OpenAI's form, which knows no versions."""

    name = "OpenAI"
    rows_a_call = 1
    keeps_running = True

    def __init__(self, http: OverHttp) -> None:
        self._http = http

    def ask(self, question: Question) -> Columns:
        """Ask as OpenAI's clients do."""
        body = self._http.post("/v1/embeddings", {"model": question.model, "input": list(question.rows)})
        ordered = sorted(body["data"], key=lambda one: one["index"])
        return {"embedding": np.array([one["embedding"] for one in ordered], np.float32)}


class OverCommandLine:
    """`penstock predict MODEL -d @file`: a process a call, so many rows go into one."""

    name = "CLI"
    rows_a_call = 64
    keeps_running = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def ask(self, question: Question) -> Columns:
        """Write the rows into a file and read what the command prints."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump({"inputs": [{question.input_name: row} for row in question.rows]}, file)
            file.flush()
            command = [*PROGRAM, "predict", question.model, "-d", f"@{file.name}"]
            command += ["--version", question.version, "--grpc", self._server.grpc_target, "-o", "json"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
            except subprocess.TimeoutExpired as error:
                raise RefusedCall(f"{' '.join(command)}: no end after {CALL_SECONDS:.0f} s") from error
        if done.returncode != 0:
            raise RefusedCall(f"{' '.join(command)}: code {done.returncode}: {done.stderr.strip()[-500:]}")
        return columns_of(json.loads(done.stdout)["outputs"])


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Turn outputs given row by row into columns."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
