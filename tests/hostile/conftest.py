"""One serve for each engine of gRPC and each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.stand import Target, attacked


@pytest.fixture(scope="module", params=["native", "grpcio"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Return a serve whose gRPC is pygrpc-native's, then one whose gRPC is grpcio's."""
    with attacked(tmp_path_factory.mktemp("h"), is_native=request.param == "native") as running:
        yield running
