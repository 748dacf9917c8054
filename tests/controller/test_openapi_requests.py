"""Requests made from the API's own document, well-formed and not: never an error of ours, and every refusal is typed and described.

schemathesis makes them: from every path's schema what fits it, and what breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from services.controller.rest_front import rest_app
from tests.controller.faces import Faces, faces, in_a_thread

pytestmark = pytest.mark.timeout(180)

EXAMPLES = 5
"""Requests of a kind and path: all of the suite shares two cores."""
REFUSAL_FIELDS = {"type", "title", "status", "detail", "reason"}


class Nobody:
    """Knows nobody: only the document is asked for."""

    async def of(self, key: str | None, *, writes: bool) -> Any:
        raise AssertionError


DOCUMENT = rest_app({}, Nobody(), "1").openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
ROWS = [(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item]
UNBREAKABLE = {
    "GET /api/v1/blobs/{sha256}",
    "PUT /api/v1/blobs/{sha256}",
    "GET /api/v1/deployments/{deployment_id}",
    "DELETE /api/v1/deployments/{model}/pins/{tenant}",
    "GET /api/v1/deployments/{model}/route",
    "DELETE /api/v1/deployments/{model}/shadow",
    "GET /api/v1/deployments/{model}/traffic",
    "GET /api/v1/mesh",
    "GET /api/v1/models/{model}",
    "DELETE /api/v1/models/{model}/aliases/{alias}",
    "GET /api/v1/models/{model}/versions",
    "GET /api/v1/models/{model}/versions/{version}",
    "POST /api/v1/republish",
    "GET /api/v1/tenants",
}
"""Whatever is put into their paths is a name, and they take nothing else that could be wrong."""
CASES = [
    pytest.param(method, path, mode, id=f"{method} {path} {mode.value}")
    for method, path in ROWS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or f"{method} {path}" not in UNBREAKABLE
]


@pytest.fixture(scope="module")
def running(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "catalogue.db").write_bytes(sqlite_template.read_bytes())
    with in_a_thread(lambda: faces(f"sqlite+aiosqlite:///{folder / 'catalogue.db'}", folder)) as made:
        yield made


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_a_request_is_answered_or_refused_in_the_words_of_the_document(method: str, path: str, mode: GenerationMode, running: Faces):
    operation: Any = SCHEMA[path][method]
    described = DOCUMENT["paths"][path][method.lower()]["responses"]

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # A wait for routers that are not there is not what is asked about.
        answer = case.call(base_url=running.http, headers={"x-api-key": running.keys["operator"]}, timeout=60)

        assert answer.status_code < 500, (answer.status_code, answer.text, case.as_curl_command())
        assert str(answer.status_code) in described or f"{answer.status_code // 100}XX" in described
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0] == "application/problem+json"
            assert answer.json().keys() >= REFUSAL_FIELDS
            assert (answer.json()["status"], answer.json()["reason"]) == (answer.status_code, answer.headers["penstock-reason"][0])

    ask()
