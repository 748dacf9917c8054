"""`POST /invocations`, which SageMaker containers and MLflow's scoring server share.

The body is CSV or JSON (`instances` or `inputs` as TensorFlow Serving has them, `dataframe_split` or `dataframe_records` as MLflow has
them); the answer is `{"predictions": [...]}`. These protocols know one model a server: it is the configured one, else the only one that
is ready; `X-Amzn-SageMaker-Target-Model` names another, `X-Amzn-SageMaker-Target-Variant` its version.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from penstock.contracts.errors import InvalidInput, NoReadyReplica
from penstock.contracts.names import check_model_name, check_version_name
from penstock.contracts.signature import Signature
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Translation
from services.router.http_routes import Media, Route
from services.router.json_tensors import dumps
from services.router.model_signatures import Signatures
from services.router.oip_answer import read
from services.router.oip_json import parameters_of
from services.router.row_inputs import Call, Columns, columns_of, payload
from services.router.strict_json import loads_object
from services.router.tabular_inputs import csv_frame, record_frame, split_frame
from services.router.v1_predict import predictions

_FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")


class Invocations:
    """Answers the one-model protocols."""

    def __init__(self, signatures: Signatures, *, default_model: str = "") -> None:
        """Keep what knows the models; `default_model` is the one that is meant when none is named."""
        self._signatures = signatures
        self._default_model = default_model

    def routes(self) -> list[Route]:
        """Return the path."""
        return [Route(path="/invocations", face=Face.V1, media=Media.ROWS, translate={"POST": self._translate})]

    def _translate(self, request: HttpRequest, _names: PathNames) -> Translation:
        model, version = self._addressed(request)
        signature = self._signatures.signature_of(request.key, model, version)
        content_type = request.fields.get(b"content-type", b"").lower()
        parameters: dict[str, Any] = {}
        if content_type.startswith(b"text/csv"):
            columns = csv_frame(signature, request.body, has_header=_header(content_type))
        else:
            document = loads_object(request.body)
            columns = _columns(signature, document)
            parameters = parameters_of(document.get("params"), "the request")
        call = Call(model=model, version=version, request_id=request.request_id, parameters=parameters)
        return Translation(payload(call, signature, columns), partial(_predicted, signature))

    def _addressed(self, request: HttpRequest) -> tuple[str, str]:
        named = request.fields.get(b"x-amzn-sagemaker-target-model", b"").decode("latin-1")
        version = request.fields.get(b"x-amzn-sagemaker-target-variant", b"").decode("latin-1")
        if version:
            check_version_name(version)
        if named:
            return check_model_name(named), version
        if self._default_model:
            return self._default_model, version
        models = self._signatures.models(request.key)
        if not models:
            raise NoReadyReplica("no model is ready")
        if len(models) > 1:
            shown = ", ".join(models[:8])
            raise InvalidInput(
                f"several models are served ({shown}): name one by the header X-Amzn-SageMaker-Target-Model",
                reason="BAD_NAME",
                field="X-Amzn-SageMaker-Target-Model",
            )
        return models[0], version


def _columns(signature: Signature, document: dict[str, Any]) -> Columns:
    given = [form for form in _FORMS if form in document]
    if len(given) != 1:
        raise InvalidInput(f"the body must hold exactly one of {', '.join(_FORMS)}", reason="MISSING_INPUT", field="inputs")
    form, value = given[0], document[given[0]]
    if form == "dataframe_split":
        return split_frame(signature, value)
    if form == "dataframe_records":
        return record_frame(signature, value)
    return columns_of(signature, value)


def _header(content_type: bytes) -> bool | None:
    if b"header=present" in content_type:
        return True
    return False if b"header=absent" in content_type else None


def _predicted(signature: Signature, answered: bytes) -> HttpReply:
    return HttpReply(200, dumps({"predictions": predictions(read(answered), signature)}))
