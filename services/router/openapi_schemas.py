"""The values of the HTTP faces, as JSON Schema (draft 2020-12, which OpenAPI 3.1 speaks)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.contracts.names import NAME_LIMIT
from penstock.contracts.tensors import DataType

Schema = dict[str, Any]
_NUMBER: Schema = {"type": "number"}
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_TRUTH: Schema = {"type": "boolean"}
ANY: Schema = {}
_DATATYPE: Schema = {"type": "string", "enum": [kind.value for kind in DataType]}
_SHAPE: Schema = {"type": "array", "items": _WHOLE, "description": "Sizes, batch dimension first; -1 in metadata stands for any size."}


def ref(name: str) -> Schema:
    """Return a reference to a schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


def shaped(properties: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    """Return the schema of an object; other properties are allowed."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    return {**schema, **more}


def schemas() -> dict[str, Schema]:
    """Return all schemas by name."""
    return {**_inference(), **_models(), **_repository(), **_rows(), **_v1(), **_openai(), **_errors()}


def _inference() -> dict[str, Schema]:
    given = {"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE, "parameters": ref("Parameters"), "data": ref("TensorData")}
    identity: Schema = {"type": "string", "maxLength": 256}
    return {
        "Parameters": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "TensorData": {
            "description": 'Values flat in row-major order, or nested as the shape says. BYTES are strings or {"b64": "..."}.',
            "type": ["array", "number", "string", "boolean", "object"],
        },
        "InferInput": shaped(given, "name", "datatype", "shape"),
        "InferOutput": shaped(given, "name", "datatype", "shape"),
        "RequestedOutput": shaped({"name": _TEXT, "parameters": ref("Parameters")}, "name"),
        "InferRequest": shaped(
            {
                "id": identity,
                "parameters": ref("Parameters"),
                "inputs": array(ref("InferInput")),
                "outputs": array(ref("RequestedOutput")),
            },
            "inputs",
        ),
        "InferResponse": shaped(
            {
                "id": identity,
                "model_name": _TEXT,
                "model_version": _TEXT,
                "parameters": ref("Parameters"),
                "outputs": array(ref("InferOutput")),
            },
            "model_name",
            "outputs",
        ),
    }


def _models() -> dict[str, Schema]:
    described = array(shaped({"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE}, "name", "datatype", "shape"))
    model = {"name": _TEXT, "versions": array(_TEXT), "platform": _TEXT, "inputs": described, "outputs": described}
    counted = {
        "name": _TEXT,
        "version": _TEXT,
        "last_inference": _WHOLE,
        "inference_count": _WHOLE,
        "execution_count": _WHOLE,
        "inference_stats": {"type": "object", "additionalProperties": shaped({"count": _WHOLE, "ns": _WHOLE})},
        "batch_stats": array({"type": "object"}),
    }
    return {
        "ServerMetadata": shaped({"name": _TEXT, "version": _TEXT, "extensions": array(_TEXT)}, "name", "version", "extensions"),
        "ModelMetadata": shaped(model, "name", "platform", "inputs", "outputs"),
        "ModelConfig": {"type": "object", "description": "Triton's ModelConfig, completed."},
        "ModelNames": shaped({"models": array(_TEXT)}, "models"),
        "Statistics": shaped({"model_stats": array(shaped(counted))}, "model_stats"),
        "Settings": {"type": "object"},
        "Health": shaped({"live": _TRUTH, "ready": _TRUTH, "status": _TEXT, "name": _TEXT}),
        "Version": shaped({"version": _TEXT}, "version"),
    }


def _repository() -> dict[str, Schema]:
    parameters = {"type": "object", "description": "`config` (JSON text), `file:<version>/<name>` (base64)."}
    return {
        "RepositoryIndex": array(shaped({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}, "name")),
        "IndexRequest": shaped({"ready": _TRUTH}),
        "LoadRequest": shaped({"parameters": parameters}),
        "Regions": array({"type": "object"}, maxItems=0),
        "Empty": {"type": "object", "maxProperties": 0},
    }


def _rows() -> dict[str, Schema]:
    rows = {
        "description": "Rows: objects of named inputs, or bare values for a model with one input. Or columns: an object of lists.",
        "type": ["array", "object"],
    }
    return {
        "PredictRequest": shaped(
            {
                "inputs": rows,
                "params": shaped({"version": {"type": "string", "maxLength": NAME_LIMIT}}),
                "request_id": {"type": "string", "maxLength": 256},
                "timeout_ms": {"type": "number", "exclusiveMinimum": 0},
                "routing_key": {"type": "string", "maxLength": 256},
                "outputs": array(_TEXT),
            },
            "inputs",
            additionalProperties=False,
        ),
        "PredictResponse": shaped(
            {
                "model": _TEXT,
                "version": _TEXT,
                "request_id": _TEXT,
                "outputs": array({"type": "object"}, description="One object of named outputs a row."),
                "latency_ms": _NUMBER,
            },
            "model",
            "version",
            "request_id",
            "outputs",
            "latency_ms",
        ),
    }


def _v1() -> dict[str, Schema]:
    return {
        "V1Request": shaped({"instances": array(ANY), "inputs": ANY}),
        "V1Response": shaped({"predictions": array(ANY), "outputs": ANY}),
        "Invocation": shaped(
            {
                "instances": array(ANY),
                "inputs": ANY,
                "dataframe_split": shaped({"columns": array(_TEXT), "data": array(array(ANY))}, "data"),
                "dataframe_records": array({"type": "object"}),
                "params": ref("Parameters"),
            }
        ),
        "Predictions": shaped({"predictions": array(ANY)}, "predictions"),
        "V1Metadata": {"type": "object"},
    }


def _openai() -> dict[str, Schema]:
    model = shaped({"id": _TEXT, "object": {"const": "model"}, "created": _WHOLE, "owned_by": _TEXT}, "id", "object")
    vector: Schema = {"oneOf": [array(_NUMBER), {"type": "string", "description": "base64 of little-endian float32"}]}
    return {
        "EmbeddingRequest": shaped(
            {
                "model": _TEXT,
                "input": {
                    "oneOf": [{"type": "string", "minLength": 1}, array({"type": "string", "minLength": 1}, minItems=1, maxItems=2048)]
                },
                "encoding_format": {"enum": ["float", "base64"]},
                "dimensions": {"type": "integer", "minimum": 1},
                "user": {"type": "string", "maxLength": 256},
            },
            "model",
            "input",
        ),
        "EmbeddingResponse": shaped(
            {
                "object": {"const": "list"},
                "model": _TEXT,
                "data": array(shaped({"object": {"const": "embedding"}, "index": _WHOLE, "embedding": vector}, "index", "embedding")),
                "usage": shaped({"prompt_tokens": _WHOLE, "total_tokens": _WHOLE}),
            },
            "data",
            "model",
        ),
        "Models": shaped({"object": {"const": "list"}, "data": array(model), "models": array(_TEXT)}, "data", "models"),
        "Model": shaped(
            {
                "id": _TEXT,
                "object": {"const": "model"},
                "name": _TEXT,
                "ready": _TRUTH,
                "model_version_status": array(shaped({"version": _TEXT, "state": _TEXT, "status": {"type": "object"}})),
            },
            "id",
            "name",
            "ready",
        ),
    }


def _errors() -> dict[str, Schema]:
    openai = shaped(
        {"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}, "message"
    )
    return {
        "OipError": shaped({"error": _TEXT, "reason": _TEXT, "request_id": _TEXT}, "error"),
        "OpenAIError": shaped({"error": openai, "request_id": _TEXT}, "error"),
        "Problem": shaped(
            {
                "type": _TEXT,
                "title": _TEXT,
                "status": _WHOLE,
                "detail": _TEXT,
                "reason": _TEXT,
                "field": _TEXT,
                "hint": _TEXT,
                "request_id": _TEXT,
                "retry_after_seconds": _NUMBER,
            },
            "title",
            "status",
            "detail",
            "reason",
            "request_id",
            description="Problem details, RFC 9457.",
        ),
    }
