"""`penstock predict`: one question to a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.model_argument import model_and_version, model_argument
from penstock.cli.output import Form, form_option, show
from penstock.cli.request_body import RequestBody, Sheet, read_body
from penstock.cli.server_options import DEFAULT_TIMEOUT_SECONDS, Server, uses_server

if TYPE_CHECKING:
    from penstock.cli.answers import Answer


EXAMPLES = """\b
Examples:
  penstock predict digits -d '[[0, 1, 2]]'
  penstock predict digits@2 -d @rows.json -o json
  penstock predict iris -d @flowers.csv --output label
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of whom."""

    model: str
    version: str
    body: RequestBody
    outputs: tuple[str, ...]
    timeout_seconds: float


@click.command(epilog=EXAMPLES)
@model_argument
@click.option(
    "-d", "--data", "source", required=True, metavar="@FILE|JSON", help="The inputs: a .json, .npy, .npz or .csv file, @- or JSON."
)
@click.option("--version", metavar="VERSION", help="The version, or an alias. [default: what the route says]")
@click.option("--request-id", metavar="ID", help="Comes back in the answer and stands in the server's log.")
@click.option("--routing-key", metavar="KEY", help="Callers with the same key get the same version.")
@click.option("--output", "outputs", metavar="NAME", multiple=True, help="A wanted output; may be given again. [default: all]")
@form_option
@uses_server
def predict(
    server: Server,
    form: Form,
    model: str,
    source: str,
    version: str | None,
    request_id: str | None,
    routing_key: str | None,
    outputs: tuple[str, ...],
) -> None:
    """Ask a model once and print the answer, row by row.

    The inputs are rows, columns or bare values, as in the REST call; MODEL@VERSION names a version as --version does.
    """
    body = read_body(source)
    body = replace(body, request_id=request_id or body.request_id, routing_key=routing_key or body.routing_key)
    name, wanted = model_and_version(model, version)
    in_body = body.timeout_ms / 1000 if body.timeout_ms else DEFAULT_TIMEOUT_SECONDS
    question = Question(
        model=name,
        version=wanted or str(body.params.get("version", "")),
        body=body,
        outputs=outputs or body.outputs,
        timeout_seconds=server.timeout_seconds or in_body,
    )
    answer = _ask(server, question)
    show(answer.document(), form, answer.text)


def _ask(server: Server, question: Question) -> Answer:
    import time

    from penstock.cli.answers import Answer, rows_of
    from penstock.cli.server_client import signature_at

    with server.client() as client:
        signature = signature_at(client, question.model, question.version)
        arrays = _arrays(signature, question.body.inputs)
        started_at = time.monotonic()
        prediction = client.predict(
            question.model,
            arrays,
            version=question.version,
            outputs=question.outputs,
            timeout_seconds=question.timeout_seconds,
            request_id=question.body.request_id or "",
            routing_key=question.body.routing_key,
            parameters={name: value for name, value in question.body.params.items() if name != "version"},
        )
        latency_ms = (time.monotonic() - started_at) * 1000
    return Answer(prediction=prediction, rows=rows_of(prediction.outputs, signature), latency_ms=latency_ms)


def _arrays(signature: Any, inputs: Any) -> dict[str, Any]:
    from penstock.cli.csv_columns import inputs_of
    from penstock.cli.input_arrays import arrays_of

    return arrays_of(signature, inputs_of(signature, inputs.lines) if isinstance(inputs, Sheet) else inputs)
