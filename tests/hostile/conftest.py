"""One serve for each engine of gRPC and each module of tests, and one controller for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.hostile.control_plane import Controller, attacked_controller
from tests.hostile.stand import Target, attacked
from tests.router.grpc_face import ENGINES


@pytest.fixture(scope="module", params=ENGINES)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Return a serve for each engine of gRPC in turn."""
    with attacked(tmp_path_factory.mktemp("h"), engine=request.param) as running:
        yield running


@pytest.fixture(scope="package")
def controller(session_ports: Callable[[int], list[int]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """Return one controller for all rows of the control plane."""
    with attacked_controller(tmp_path_factory.mktemp("c"), session_ports(1)[0]) as running:
        yield running
