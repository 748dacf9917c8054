"""The product's own REST call: `POST /api/v1/models/{model}/predict`.

    {"inputs": [{"features": [0.5, 1.2, 3.4]}], "params": {"version": "v3"},
     "request_id": "a-1", "timeout_ms": 250, "routing_key": "user-7", "outputs": ["score"]}

`inputs` is a list of rows (objects of named inputs; for a model with one input bare values too) or an object of columns. Everything but
`inputs` is optional; what `params` holds beside `version` becomes parameters of the request (`priority`, …). The answer:

    {"model": "fraud", "version": "v3", "request_id": "a-1", "outputs": [{"score": [0.91]}], "latency_ms": 1.24}

with one entry of `outputs` a row; `latency_ms` is the time in this server. NaN and infinity are `null`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import check_version_name
from penstock.contracts.signature import Signature, check_outputs
from services.router import oip_wire as wire
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Translation
from services.router.http_routes import Media, Route
from services.router.json_tensors import dumps
from services.router.model_signatures import Signatures
from services.router.oip_answer import read
from services.router.oip_json import ID_LIMIT, identity_of, parameters_of
from services.router.row_inputs import Call, columns_of, payload
from services.router.row_outputs import rows_of
from services.router.strict_json import kind_of, loads_object

LONGEST_MILLISECONDS = 3_600_000
_KNOWN = frozenset({"inputs", "params", "request_id", "timeout_ms", "routing_key", "outputs"})


class RestPredict:
    """Answers the product's own predict call."""

    def __init__(self, signatures: Signatures, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep what knows the models."""
        self._signatures = signatures
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the path."""
        return [Route(path="/api/v1/models/{model}/predict", face=Face.NATIVE, media=Media.JSON, translate={"POST": self._translate})]

    def _translate(self, request: HttpRequest, names: PathNames) -> Translation:
        document = loads_object(request.body)
        unknown = [key for key in document if key not in _KNOWN]
        if unknown:
            raise InvalidInput(
                f"{unknown[0][:40]!r} is unknown; a request has {', '.join(sorted(_KNOWN))}", reason="BAD_PARAMETER", field=unknown[0][:64]
            )
        call = _call(document, request, names["model"])
        signature = self._signatures.signature_of(request.key, call.model, call.version)
        if call.outputs:
            check_outputs(signature, call.outputs)
        if "inputs" not in document:
            raise InvalidInput("'inputs' is missing: send a list of rows", reason="MISSING_INPUT", field="inputs")
        return Translation(
            payload(call, signature, columns_of(signature, document["inputs"])),
            partial(self._finish, signature, request),
            timeout_seconds=_timeout_seconds(document.get("timeout_ms")),
        )

    def _finish(self, signature: Signature, request: HttpRequest, answered: bytes) -> HttpReply:
        answer = read(answered)
        document = {
            "model": answer.model,
            "version": answer.version,
            "request_id": answer.request_id,
            "outputs": rows_of(answer, signature),
            "latency_ms": round((self._clock() - request.arrived_at) * 1000, 3),
        }
        return HttpReply(200, dumps(document))


def _call(document: dict[str, Any], request: HttpRequest, model: str) -> Call:
    params = parameters_of(document.get("params"), "the request")
    version = params.pop("version", "")
    if type(version) is not str:
        raise InvalidInput(f"'params.version' must be a string, not {kind_of(version)}", reason="BAD_NAME", field="params.version")
    routing_key = _routing_key(document, request)
    parameters: dict[str, wire.Parameter] = params if routing_key is None else {**params, "routing_key": routing_key}
    return Call(
        model=model,
        version=check_version_name(version) if version else "",
        request_id=identity_of(document.get("request_id")) or request.request_id,
        parameters=parameters,
        outputs=_outputs(document.get("outputs")),
    )


def _routing_key(document: dict[str, Any], request: HttpRequest) -> str | None:
    """Return the key of sticky routing: from the body, else the header that load generators send for session affinity."""
    given = document.get("routing_key")
    if given is None:
        header = request.fields.get(b"x-session-affinity")
        given = None if header is None else header.decode("latin-1")
    if given is not None and (type(given) is not str or len(given) > ID_LIMIT):
        raise InvalidInput(f"'routing_key' must be a string of at most {ID_LIMIT} characters", reason="BAD_PARAMETER", field="routing_key")
    return given


def _outputs(given: Any) -> Sequence[str]:
    if given is None:
        return ()
    if type(given) is not list or not all(type(name) is str for name in cast("list[Any]", given)):
        raise InvalidInput("'outputs' must be a list of names", reason="UNKNOWN_OUTPUT", field="outputs")
    return cast("list[str]", given)


def _timeout_seconds(given: Any) -> float | None:
    if given is None:
        return None
    if type(given) not in (int, float) or not 0 < given <= LONGEST_MILLISECONDS:
        raise InvalidInput(
            f"'timeout_ms' must be a number of milliseconds above 0 and up to {LONGEST_MILLISECONDS}",
            reason="BAD_PARAMETER",
            field="timeout_ms",
        )
    return given / 1000
