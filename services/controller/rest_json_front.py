"""Paths whose JSON bodies are read strictly."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.controller.json_text import document_in


class StrictRoute(APIRoute):
    """A path whose body says one thing only."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def strictly(http: Request) -> Response:
            return await answer(_StrictRequest(http.scope, http.receive))

        return strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        return document_in(await self.body(), "the body")
