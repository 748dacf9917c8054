"""What every service answers: health under the names that probes use, version, and documents."""

from __future__ import annotations

from functools import cache

from penstock.contracts.errors import NotFound
from services.router.control import Control
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames
from services.router.http_routes import AnswerAtOnce, Media, Route
from services.router.oip_answer import as_json
from services.router.openapi import document


class PlatformRoutes:
    """Answers probes and people."""

    def __init__(self, control: Control, *, metrics_port: int) -> None:
        """Keep what knows whether the server is ready."""
        self._control = control
        self._metrics_port = metrics_port

    def routes(self) -> list[Route]:
        """Return all paths."""
        return [
            _get("/", lambda _request, _names: HttpReply(200, b'{"status":"alive"}')),
            _get("/livez", _alive),
            _get("/healthz", _alive),
            _get("/readyz", self._ready),
            _get("/health", self._ready),
            _get("/ping", self._ready),
            _get("/version", self._version),
            _get("/metrics", self._metrics),
            _get("/openapi.json", lambda _request, _names: HttpReply(200, _openapi(self._server_version()))),
        ]

    def _ready(self, _request: HttpRequest, _names: PathNames) -> HttpReply:
        if self._control.server_ready():
            return HttpReply(200, b'{"status":"ready","ready":true}')
        return HttpReply(503, b'{"status":"not ready","ready":false}')

    def _version(self, _request: HttpRequest, _names: PathNames) -> HttpReply:
        return HttpReply(200, as_json({"version": self._server_version()}))

    def _metrics(self, _request: HttpRequest, _names: PathNames) -> HttpReply:
        where = (
            f"on port {self._metrics_port}: GET http://<host>:{self._metrics_port}/metrics"
            if self._metrics_port
            else "on a port of their own"
        )
        raise NotFound(f"metrics are served {where}", field="path")

    def _server_version(self) -> str:
        return self._control.directory.server_metadata().version


@cache
def _openapi(version: str) -> bytes:
    return as_json(document(version))


def _alive(_request: HttpRequest, _names: PathNames) -> HttpReply:
    return HttpReply(200, b'{"status":"alive","live":true}')


def _get(path: str, answer: AnswerAtOnce) -> Route:
    return Route(path=path, face=Face.PLAIN, media=Media.ANY, at_once={"GET": answer})
