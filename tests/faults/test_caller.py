"""What a caller of the harness takes for the server's word."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from tests.faults.caller import REASON, Caller
from tests.faults.ledger import Kind, Ledger


class Refusing(Caller):
    """A caller whose every call ends in one error."""

    def __init__(self, ledger: Ledger, error: AioRpcError) -> None:
        super().__init__("127.0.0.1:1", ledger, connections=0)
        self._error = error

    def _infer(self):
        async def refuse(*_: object, **__: object) -> None:
            raise self._error

        return refuse


@pytest.mark.parametrize(
    ("details", "trailers", "kind"),
    [
        ("model 'x' is not known here", ((REASON, "MODEL_NOT_FOUND"),), Kind.FAIL),
        ("Stream removed (Socket closed)", ((REASON, "MODEL_NOT_FOUND"),), Kind.UNKNOWN),
        ("failed to connect to all addresses", (), Kind.UNKNOWN),
    ],
    ids=["the server's", "cut within the trailers", "the library's"],
)
async def test_only_what_the_server_said_to_its_end_is_its_word(details: str, trailers: tuple[tuple[str, str], ...], kind: Kind):
    ledger = Ledger()
    caller = Refusing(ledger, AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(*trailers), details))

    assert (await caller.ask("alpha", 1)).kind is kind
