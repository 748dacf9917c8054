"""Models, versions, aliases and uploads over HTTP."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response

from penstock.contracts.errors import InvalidInput, VersionNotFound
from penstock.v1 import controller_pb2 as pb
from services.controller import rest_bodies as bodies
from services.controller import rest_views_front as views
from services.controller.rest_calls_front import Calls, answered, write_options
from services.controller.rest_json_front import StrictRoute

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18}|\*)/(\d{1,18})", re.ASCII)


def model_routes(calls: Calls) -> APIRouter:
    """Return the paths that show models and versions."""
    paths = APIRouter(tags=["registry"], route_class=StrictRoute)

    @paths.get("/models")
    async def list_models(http: Request, prefix: str = "") -> Response:
        """List the models by name."""
        answer = await calls.call("ListModels", http, pb.ListModelsRequest(prefix=prefix))
        return answered({"models": [views.model(one) for one in answer.models]})

    @paths.get("/models/{model}")
    async def get_model(http: Request, model: str) -> Response:
        """Show a model, what is deployed of it, and its route."""
        answer: pb.GetModelResponse = await calls.call("GetModel", http, pb.GetModelRequest(model=model))
        document = {
            **views.model(answer.model),
            "deployments": [views.deployment(one) for one in answer.deployments],
            "route": views.route(answer.route) if answer.HasField("route") else None,
        }
        return answered(document, revision=answer.model.revision)

    @paths.get("/models/{model}/versions")
    async def list_versions(http: Request, model: str) -> Response:
        """List a model's versions, oldest first."""
        answer = await calls.call("GetModel", http, pb.GetModelRequest(model=model))
        return answered({"versions": [views.version(one) for one in answer.model.versions]})

    @paths.get("/models/{model}/versions/{version}")
    async def get_version(http: Request, model: str, version: str) -> Response:
        """Show one version."""
        answer = await calls.call("GetModel", http, pb.GetModelRequest(model=model))
        return answered(views.version(_found(answer.model, version)))

    return paths


def registration_routes(calls: Calls) -> APIRouter:
    """Return the paths that register versions and name them."""
    paths = APIRouter(tags=["registry"], route_class=StrictRoute)

    @paths.post("/models/{model}/versions", status_code=201)
    async def register(http: Request, model: str, body: bodies.VersionBody) -> Response:
        """Register a version, from files that were uploaded or from a source."""
        request = pb.RegisterVersionRequest(
            model=model,
            version=body.version,
            files=[pb.VersionFile(path=one.path, sha256=one.sha256, size_bytes=one.size_bytes) for one in body.files],
            source=body.source,
            metadata=body.metadata,
            description=body.description,
            owner=body.owner,
            framework=body.framework,
            options=write_options(http, body.reason),
            signature=_signature(body.signature),
            key_id=body.key_id,
        )
        answer = await calls.call("RegisterVersion", http, request)
        document = {"version": views.version(answer.version), "change": views.change(answer.change)}
        return answered(document, status=200 if answer.change.dry_run else 201)

    @paths.post("/models/{model}/versions/{version}/verification")
    async def verify(http: Request, model: str, version: str, body: bodies.ReasonBody | None = None) -> Response:
        """Read a version's files again and compare them with its digest, and its signature with the keys that are known."""
        options = write_options(http, body.reason if body else "")
        answer = await calls.call("VerifyVersion", http, pb.VerifyVersionRequest(model=model, version=version, options=options))
        return answered(views.verification(answer))

    @paths.put("/models/{model}/aliases/{alias}")
    async def set_alias(http: Request, model: str, alias: str, body: bodies.AliasBody) -> Response:
        """Give a version another name."""
        options = write_options(http, body.reason)
        answer = await calls.call("SetAlias", http, pb.SetAliasRequest(model=model, alias=alias, version=body.version, options=options))
        return answered({"aliases": dict(answer.model.aliases), "change": views.change(answer.change)}, revision=answer.model.revision)

    @paths.delete("/models/{model}/aliases/{alias}")
    async def delete_alias(http: Request, model: str, alias: str) -> Response:
        """Take an alias away."""
        answer = await calls.call("SetAlias", http, pb.SetAliasRequest(model=model, alias=alias, options=write_options(http)))
        return answered({"aliases": dict(answer.model.aliases), "change": views.change(answer.change)}, revision=answer.model.revision)

    return paths


def upload_routes(calls: Calls) -> APIRouter:
    """Return the paths that take files."""
    paths = APIRouter(tags=["registry"], route_class=StrictRoute)

    @paths.get("/blobs/{sha256}")
    async def get_upload(http: Request, sha256: str) -> Response:
        """Say how far an upload is."""
        answer = await calls.call("GetUpload", http, pb.GetUploadRequest(sha256=sha256))
        return answered({"received_bytes": answer.received_bytes, "complete": answer.complete})

    @paths.put("/blobs/{sha256}")
    async def upload(http: Request, sha256: str) -> Response:
        """Take a piece of a file: `Content-Range: bytes first-last/size`, or the whole file without it."""
        answer = await calls.call("UploadBlob", http, _pieces(http, sha256))
        return answered({"received_bytes": answer.received_bytes})

    return paths


async def _pieces(http: Request, sha256: str) -> AsyncIterator[pb.UploadBlobRequest]:
    offset, size = _place(http)
    async for chunk in http.stream():
        if chunk or size == 0:
            yield pb.UploadBlobRequest(sha256=sha256, size_bytes=size, offset_bytes=offset, chunk=chunk)
            offset += len(chunk)


def _signature(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidInput("the signature is no base64 text", reason="BAD_VALUE", field="signature") from None


def _place(http: Request) -> tuple[int, int]:
    text = http.headers.get("content-range")
    if text is None:
        return 0, int(http.headers.get("content-length", "0"))
    match = _RANGE.fullmatch(text)
    if match is None:
        raise InvalidInput("content-range is 'bytes first-last/size'", reason="BAD_HEADER", field="content-range")
    return int(match[1]), int(match[3])


def _found(model: pb.Model, version: str) -> pb.ModelVersion:
    for one in model.versions:
        if one.version == version:
            return one
    raise VersionNotFound(f"model {model.name!r} has no version {version[:80]!r}")
