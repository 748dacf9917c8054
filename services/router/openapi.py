"""The OpenAPI 3.1 document of the HTTP faces, written by hand: one line an operation.

What is not served yet stands here with its only answer, 501. A test keeps paths and methods equal to those of the routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from services.router.controller_routes import PATHS
from services.router.http_exchange import Face
from services.router.later_routes import LATER
from services.router.openapi_schemas import ref, schemas

_TAGS = {
    "infer": "Open Inference Protocol v2, Triton's dialect: predictions",
    "models": "Open Inference Protocol v2: models and server",
    "repository": "Open Inference Protocol v2: what is loaded",
    "memory": "Open Inference Protocol v2: shared memory, which is not offered",
    "predict": "Predictions in rows",
    "openai": "OpenAI's protocol",
    "controller": "Models, deployments, traffic, tenants and changes; passed on to the mesh's controller",
    "platform": "Health, version, documents",
    "later": "Not served yet",
}
_ERRORS = {"platform": "OipError", "predict": "Problem", "controller": "Problem", "openai": "OpenAIError"}


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    tag: str
    summary: str
    answer: str = "Empty"
    body: str = ""
    needs_body: bool = False


def operations() -> list[Operation]:
    """Return what is served."""
    found = [*_inference(), *_models(), *_repository(), *_memory(), *_rows(), *_openai(), *_controller(), *_platform()]
    return list({(one.method, one.path): one for one in found}.values())


def document(version: str) -> dict[str, Any]:
    """Return the document.

    Args:
        version: of the server.
    """
    paths: dict[str, dict[str, Any]] = {}
    for one in operations():
        paths.setdefault(one.path, _path(one.path))[one.method] = _operation(one)
    for one in later_operations():
        paths.setdefault(one.path, _path(one.path))[one.method] = _refusal(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "penstock",
            "version": version,
            "summary": "Serves machine-learning models.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}, {"bearer": []}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def later_operations() -> list[Operation]:
    """Return what is refused with 501, whatever is sent."""
    found: list[Operation] = []
    for face, paths in LATER.items():
        for path, methods in paths:
            prefixes = ("", "/openai") if face is Face.OPENAI else ("",)
            found += [Operation(method.lower(), prefix + path, "later", "Not served yet") for prefix in prefixes for method in methods]
    for path in _models_under("/v2"):
        found += [
            Operation("post", f"{path}/{name}", "later", "Not served yet") for name in ("generate", "generate_stream", "infer_stream")
        ]
    return found


def _models_under(prefix: str) -> tuple[str, str]:
    return (f"{prefix}/models/{{model}}", f"{prefix}/models/{{model}}/versions/{{version}}")


def _inference() -> Iterable[Operation]:
    for path in _models_under("/v2"):
        yield Operation(
            "post", path + "/infer", "infer", "Run a model; tensors as JSON or in binary form", "InferResponse", "InferRequest", True
        )


def _models() -> Iterable[Operation]:
    yield Operation("get", "/v2", "models", "Describe the server", "ServerMetadata")
    yield Operation("get", "/v2/", "models", "Describe the server", "ServerMetadata")
    yield Operation("get", "/v2/health/live", "models", "Tell whether the process runs", "Health")
    yield Operation("get", "/v2/health/ready", "models", "Tell whether the server takes requests", "Health")
    yield Operation("get", "/v2/models", "models", "List the models that are ready", "ModelNames")
    yield Operation("get", "/v2/models/stats", "models", "Tell counts and times of all models", "Statistics")
    for path in _models_under("/v2"):
        yield Operation("get", path, "models", "Describe a model", "ModelMetadata")
        yield Operation("get", path + "/ready", "models", "Tell whether a model takes requests", "Health")
        yield Operation("get", path + "/config", "models", "Return a model's configuration", "ModelConfig")
        yield Operation("get", path + "/stats", "models", "Tell counts and times of a model", "Statistics")
    for path in ("/v2/trace/setting", "/v2/models/{model}/trace/setting", "/v2/logging"):
        yield Operation("get", path, "models", "Return settings", "Settings")
        yield Operation("post", path, "models", "Change settings", "Settings", "Settings", True)


def _repository() -> Iterable[Operation]:
    for prefix in ("/v2/repository", "/v2/repository/{repository}"):
        yield Operation("post", prefix + "/index", "repository", "List all versions and their states", "RepositoryIndex", "IndexRequest")
        yield Operation("post", prefix + "/models/{model}/load", "repository", "Load a model, or load it again", "Empty", "LoadRequest")
        yield Operation("post", prefix + "/models/{model}/unload", "repository", "Unload a model", "Empty", "LoadRequest")


def _memory() -> Iterable[Operation]:
    for kind in ("systemsharedmemory", "cudasharedmemory"):
        for path in (f"/v2/{kind}", f"/v2/{kind}/region/{{region}}"):
            yield Operation("get", path + "/status", "memory", "List registered regions: none", "Regions")
            yield Operation("post", path + "/register", "memory", "Refused with 501: shared memory is not offered")
            yield Operation("post", path + "/unregister", "memory", "Forget regions: there are none")


def _rows() -> Iterable[Operation]:
    yield Operation(
        "post", "/api/v1/models/{model}/predict", "predict", "Run a model on rows", "PredictResponse", "PredictRequest", needs_body=True
    )
    one = "/v1/models/{model}"
    for path in (one, one + "/versions/{version}", one + "/labels/{version}"):
        yield Operation("post", path + ":predict", "predict", "Run a model on rows or columns", "V1Response", "V1Request", True)
        yield Operation("get", path, "predict", "Tell a model's versions and whether it is ready", "Model")
        yield Operation("get", path + "/metadata", "predict", "Describe a model", "V1Metadata")
    yield Operation(
        "post", "/invocations", "predict", "Run the server's model on rows, a data frame or CSV", "Predictions", "Invocation", True
    )


def _openai() -> Iterable[Operation]:
    for prefix in ("", "/openai"):
        yield Operation("get", prefix + "/v1/models", "openai", "List models", "Models")
        yield Operation("get", prefix + "/v1/models/{model}", "openai", "Describe a model", "Model")
        yield Operation(
            "post", prefix + "/v1/embeddings", "openai", "Embed texts", "EmbeddingResponse", "EmbeddingRequest", needs_body=True
        )


def _controller() -> Iterable[Operation]:
    """Yield what is passed on: GET /api/v1/openapi.json describes it, as the controller that answers it knows."""
    for path, methods in PATHS:
        for method in methods:
            yield Operation(
                method.lower(), path, "controller", "Answered by the controller; GET /api/v1/openapi.json describes it", "Settings"
            )


def _platform() -> Iterable[Operation]:
    yield Operation("get", "/", "platform", "Tell that the server is alive", "Health")
    for path in ("/livez", "/healthz"):
        yield Operation("get", path, "platform", "Tell whether the process runs", "Health")
    for path in ("/readyz", "/health", "/ping"):
        yield Operation("get", path, "platform", "Tell whether the server takes requests", "Health")
    yield Operation("get", "/version", "platform", "Tell the version", "Version")
    yield Operation("get", "/metrics", "platform", "Tell which port serves metrics (404)", "OipError")
    yield Operation("get", "/openapi.json", "platform", "Return this document", "Settings")


def _path(path: str) -> dict[str, Any]:
    names = [piece.partition("}")[0] for piece in path.split("{")[1:]]
    if not names:
        return {}
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names]}


def _operation(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": [one.tag],
        "summary": one.summary,
        "operationId": _identifier(one),
        "responses": {"200": {"description": "Done.", "content": _content(one, one.answer)}, "default": _error(one.tag)},
    }
    if one.body:
        described["requestBody"] = {"required": one.needs_body, "content": _content(one, one.body)}
    return described


def _content(one: Operation, schema: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": ref(schema)}}
    if one.tag == "infer":
        content["application/octet-stream"] = {
            "schema": {"description": "JSON of Inference-Header-Content-Length bytes, then raw tensors."}
        }
    if schema == "Invocation":
        content["text/csv"] = {"schema": {"type": "string"}}
    return content


def _refusal(one: Operation) -> dict[str, Any]:
    return {
        "tags": [one.tag],
        "summary": one.summary,
        "operationId": _identifier(one),
        "responses": {"501": _error("openai" if "/v1/" in one.path and "/api/" not in one.path else "predict")},
    }


def _error(tag: str) -> dict[str, Any]:
    schema = _ERRORS.get(tag, "OipError")
    media = "application/problem+json" if schema == "Problem" else "application/json"
    return {"description": "Refused; the body says why.", "content": {media: {"schema": ref(schema)}}}


def _identifier(one: Operation) -> str:
    words = "".join(character if character.isalnum() else "_" for character in one.path)
    return f"{one.method}{words}"
