"""Which engine of gRPC serves where."""

from __future__ import annotations

import pytest

from services.router.grpc_engine import CannotServe, Engine, engine_for

COLUMNS, PYGRPC, GRPCIO, AUTO = Engine.COLUMNS, Engine.PYGRPC, Engine.GRPCIO, Engine.AUTO


@pytest.mark.parametrize(
    ("asked", "installed", "is_tls", "chosen"),
    [
        (AUTO, {COLUMNS, PYGRPC}, False, COLUMNS),
        (AUTO, {COLUMNS, PYGRPC}, True, COLUMNS),
        (AUTO, {PYGRPC}, False, PYGRPC),
        (AUTO, {PYGRPC}, True, GRPCIO),
        (AUTO, set[Engine](), False, GRPCIO),
        (PYGRPC, {COLUMNS, PYGRPC}, False, PYGRPC),
        (GRPCIO, {COLUMNS, PYGRPC}, False, GRPCIO),
    ],
)
def test_the_first_engine_that_can_serves_unless_one_is_named(asked: Engine, installed: set[Engine], is_tls: bool, chosen: Engine):
    assert engine_for(asked, installed, is_tls=is_tls) is chosen


@pytest.mark.parametrize(("asked", "is_tls", "why"), [(COLUMNS, False, "is not installed"), (PYGRPC, True, "speaks no TLS")])
def test_an_engine_that_is_named_and_cannot_serve_is_a_refusal_that_says_why(asked: Engine, is_tls: bool, why: str):
    with pytest.raises(CannotServe, match=why):
        engine_for(asked, {PYGRPC}, is_tls=is_tls)
