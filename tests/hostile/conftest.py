"""One serve for each engine of gRPC and each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.stand import Target, attacked
from tests.router.grpc_face import ENGINES


@pytest.fixture(scope="module", params=ENGINES)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Return a serve for each engine of gRPC in turn."""
    with attacked(tmp_path_factory.mktemp("h"), engine=request.param) as running:
        yield running
