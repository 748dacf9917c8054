"""Predictions as TensorFlow Serving and KServe's first protocol have them, and `/v1/models`, which three protocols share.

`POST /v1/models/{m}[/versions/{v} | /labels/{alias}]:predict` takes rows, `{"instances": [...]}`, and answers `{"predictions": [...]}`, or
columns, `{"inputs": ...}`, and answers `{"outputs": ...}`. With one output the values stand bare, with several by name.

`GET /v1/models` and `/v1/models/{m}` are asked by KServe (`models`; `name`, `ready`), TensorFlow Serving (`model_version_status`) and
OpenAI clients (`object`, `data`; `id`). One object holds the keys of all three: clients ignore what they do not know. Not ready is 503.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from penstock.contracts.errors import InvalidInput, NoReadyReplica
from penstock.contracts.names import check_version_name
from penstock.contracts.signature import Signature
from services.router.control import Control
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Translation
from services.router.http_routes import Media, Route
from services.router.json_tensors import dumps
from services.router.model_signatures import Signatures
from services.router.oip_answer import Answer, as_json, read
from services.router.row_inputs import Call, Columns, columns_of, payload
from services.router.row_outputs import columns_of as columns_told
from services.router.row_outputs import rows_of
from services.router.strict_json import loads_object

_PATHS = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{version}")
_OWNER = "penstock"
_STATES = {"READY": "AVAILABLE", "LOADING": "LOADING", "UNLOADING": "UNLOADING", "UNAVAILABLE": "END"}
"""TensorFlow Serving's words for the states of the repository index."""


class V1Predict:
    """Answers `/v1/models` and what begins with it."""

    def __init__(self, signatures: Signatures, control: Control) -> None:
        """Keep what knows the models."""
        self._signatures = signatures
        self._control = control

    def routes(self) -> list[Route]:
        """Return all paths; OpenAI's are mounted twice, as KServe does."""
        found = [Route(path=path + ":predict", face=Face.V1, media=Media.JSON, translate={"POST": self._predict}) for path in _PATHS]
        for prefix in ("", "/openai"):
            face = Face.OPENAI if prefix else Face.V1
            found.append(Route(path=prefix + "/v1/models", face=face, media=Media.ANY, at_once={"GET": self._models}))
            found.append(Route(path=prefix + "/v1/models/{model}", face=face, media=Media.ANY, at_once={"GET": self._model}))
        found += [Route(path=path, face=Face.V1, media=Media.ANY, at_once={"GET": self._model}) for path in _PATHS[1:]]
        found += [Route(path=path + "/metadata", face=Face.V1, media=Media.ANY, at_once={"GET": self._metadata}) for path in _PATHS]
        return found

    def _predict(self, request: HttpRequest, names: PathNames) -> Translation:
        document = loads_object(request.body)
        is_rows = "instances" in document
        if is_rows == ("inputs" in document):
            raise InvalidInput("send either 'instances' (rows) or 'inputs' (columns)", reason="MISSING_INPUT", field="instances")
        version = names.get("version", "")
        call = Call(model=names["model"], version=check_version_name(version) if version else "", request_id=request.request_id)
        signature = self._signatures.signature_of(request.key, call.model, call.version)
        columns = columns_of(signature, _rows(document["instances"])) if is_rows else _columns(signature, document["inputs"])
        return Translation(payload(call, signature, columns), partial(_predicted, signature, is_rows=is_rows))

    def _models(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        index = self._control.index(request.key, ready_only=True, repository_name="")
        models = list(dict.fromkeys(entry.name for entry in index.models))
        return HttpReply(200, as_json({"object": "list", "data": [_openai(model) for model in models], "models": models}))

    def _model(self, request: HttpRequest, names: PathNames) -> HttpReply:
        model, version = names["model"], names.get("version", "")
        is_ready = self._control.model_ready(request.key, model, version)
        if not is_ready and not self._control.directory.is_draining:
            # Says 404 for what does not exist.
            with suppress(NoReadyReplica):
                self._control.model_metadata(request.key, model, version)
        index = self._control.index(request.key, ready_only=False, repository_name="")
        statuses = [
            _status(entry.version, entry.state, entry.reason)
            for entry in index.models
            if entry.name == model and version in ("", entry.version)
        ]
        document = {**_openai(model), "name": model, "ready": is_ready, "model_version_status": statuses}
        return HttpReply(200 if is_ready else 503, as_json(document))

    def _metadata(self, request: HttpRequest, names: PathNames) -> HttpReply:
        version = names.get("version", "")
        found = self._control.model_metadata(request.key, names["model"], version)
        tensors = {
            kind: {one.name: {"dtype": one.datatype, "shape": list(one.shape)} for one in given}
            for kind, given in (("inputs", found.inputs), ("outputs", found.outputs))
        }
        spec = {"name": found.name, "version": found.versions[-1] if found.versions else version}
        return HttpReply(200, as_json({"model_spec": spec, "metadata": {"signature_def": {"serving_default": tensors}}}))


def _rows(given: Any) -> Any:
    if type(given) is not list:
        raise InvalidInput("'instances' must be a list of rows", reason="SHAPE_MISMATCH", field="instances")
    return given


def _columns(signature: Signature, given: Any) -> Columns:
    """Return columns: by name, or bare for a model with one input."""
    if type(given) is dict:
        return columns_of(signature, given)
    if len(signature.inputs) != 1:
        raise InvalidInput(
            "the model has several inputs: 'inputs' must be an object that names them", reason="MISSING_INPUT", field="inputs"
        )
    return {signature.inputs[0].name: given}


def _predicted(signature: Signature, answered: bytes, *, is_rows: bool) -> HttpReply:
    answer = read(answered)
    if is_rows:
        return HttpReply(200, dumps({"predictions": predictions(answer, signature)}))
    columns = columns_told(answer)
    return HttpReply(200, dumps({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}))


def predictions(answer: Answer, signature: Signature) -> list[Any]:
    """Return one entry a row: the bare value of a single output, or an object of named ones."""
    rows = rows_of(answer, signature)
    return [next(iter(row.values())) for row in rows] if len(answer.outputs) == 1 else rows


def _openai(model: str) -> dict[str, Any]:
    # The day of a model's loading is nobody's business here; OpenAI's clients only need the key.
    return {"id": model, "object": "model", "created": 0, "owned_by": _OWNER}


def _status(version: str, state: str, reason: str) -> dict[str, Any]:
    status = {"error_code": "UNKNOWN" if reason and state != "READY" else "OK", "error_message": reason}
    return {"version": version, "state": _STATES.get(state, "UNKNOWN"), "status": status}
