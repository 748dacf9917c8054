"""Paths of capabilities that this server does not have yet; they answer 501 and say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.contracts.errors import NotImplementedHere
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames
from services.router.http_routes import Media, Route

LATER: Mapping[Face, tuple[tuple[str, tuple[str, ...]], ...]] = {
    Face.OPENAI: (
        ("/v1/chat/completions", ("POST",)),
        ("/v1/completions", ("POST",)),
        ("/v1/rerank", ("POST",)),
        ("/v1/files", ("GET", "POST")),
        ("/v1/files/{id}", ("GET", "DELETE")),
        ("/v1/files/{id}/content", ("GET",)),
        ("/v1/batches", ("GET", "POST")),
        ("/v1/batches/{id}", ("GET",)),
        ("/v1/batches/{id}/cancel", ("POST",)),
    ),
    Face.NATIVE: (
        ("/generate", ("POST",)),
        ("/generate_stream", ("POST",)),
        ("/api/v1/models/{model}/generate", ("POST",)),
        ("/api/v1/models/{model}/predict_async", ("POST",)),
        ("/api/v1/jobs", ("GET", "POST")),
        ("/api/v1/jobs/{id}", ("GET", "DELETE")),
    ),
    Face.V1: (
        ("/v1/models/{model}:explain", ("POST",)),
        ("/v1/models/{model}:classify", ("POST",)),
        ("/v1/models/{model}:regress", ("POST",)),
        ("/v1/models/{model}/versions/{version}:classify", ("POST",)),
        ("/v1/models/{model}/versions/{version}:regress", ("POST",)),
    ),
}
"""By face: path and methods."""


def later_routes() -> list[Route]:
    """Return all of them; OpenAI's are mounted twice."""
    found: list[Route] = []
    for face, paths in LATER.items():
        for path, methods in paths:
            found.append(_refusing(path, face, methods))
            if face is Face.OPENAI:
                found.append(_refusing("/openai" + path, face, methods))
    return found


def _refusing(path: str, face: Face, methods: tuple[str, ...]) -> Route:
    def refuse(_request: HttpRequest, _names: PathNames) -> HttpReply:
        raise NotImplementedHere(
            f"{path} is not served yet: this server answers predictions and embeddings; GET /openapi.json lists the paths"
        )

    ways: dict[str, Any] = dict.fromkeys(methods, refuse)
    return Route(path=path, face=face, media=Media.ANY, at_once=ways)
