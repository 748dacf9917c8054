"""Fixed answers of a fallback chain, as files hold them."""

from __future__ import annotations

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError

from penstock.contracts.errors import InvalidInput
from penstock.oip.v2.inference_pb2 import ModelInferResponse


def declared_answer(raw: bytes) -> bytes:
    """Return a serialised ModelInferResponse from one written as JSON of the protobuf, or serialised.

    Raises:
        InvalidInput: it is neither, or it has no outputs.
    """
    try:
        read = Parse(raw, ModelInferResponse()) if raw.lstrip().startswith(b"{") else ModelInferResponse.FromString(raw)
    except (ParseError, DecodeError, UnicodeDecodeError):
        raise InvalidInput("no ModelInferResponse: write it as JSON of the protobuf, or serialised", field="fallback") from None
    if not read.outputs:
        raise InvalidInput("a ModelInferResponse without outputs answers nothing", field="fallback")
    return read.SerializeToString()
