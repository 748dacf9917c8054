"""Tensors of unusual shapes in the calls that name no shape: scalars, and columns without rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.router.http_stand import on_uvloop, serving

INVOCATIONS = {"x-amzn-sagemaker-target-model": "scalar"}


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("/api/v1/models/scalar/predict", {"inputs": [1.5]}, [{"y": 3.0}]),
        ("/api/v1/models/scalar/predict", {"inputs": [{"x": 1.5}]}, [{"y": 3.0}]),
        ("/api/v1/models/scalar/predict", {"inputs": {"x": 1.5}}, [{"y": 3.0}]),
        ("/v1/models/scalar:predict", {"instances": [1.5]}, [3.0]),
        ("/v1/models/scalar:predict", {"inputs": 1.5}, 3.0),
        ("/invocations", {"instances": [1.5]}, [3.0]),
    ],
)
@on_uvloop
async def test_a_scalar_is_a_bare_number(path: str, document: Any, expected: Any):
    async with serving() as stand:
        reply = await stand.post(path, document, INVOCATIONS)

    assert reply.status == 200
    assert next(reply.json[key] for key in ("outputs", "predictions") if key in reply.json) == expected


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/v1/models/echo/predict", {"inputs": {"x": []}}),
        ("/v1/models/echo:predict", {"inputs": []}),
        ("/v1/models/echo:predict", {"inputs": {"x": []}}),
    ],
)
@on_uvloop
async def test_a_column_without_rows_has_the_widths_of_the_signature(path: str, document: Any):
    async with serving() as stand:
        reply = await stand.post(path, document)

    assert (reply.status, reply.json["outputs"]) == (200, [])
    assert list(stand.loop.seen[0].inputs[0].shape) == [0, 3]
