"""The fixed answer of a route, for as many rows as a request asks for."""

from __future__ import annotations

from functools import lru_cache

import structlog
from google.protobuf.message import DecodeError

from penstock.oip.v2 import inference_pb2 as pb

log = structlog.get_logger(__name__)


@lru_cache(maxsize=256)
def declared_payload(declared: bytes, rows: int, model: str) -> bytes | None:
    """Return a serialised ModelInferResponse of `rows` rows without id and parameters; None, logged once, when there can be none.

    An output whose first dimension is 1 is repeated for every row; another one is given as it is. Contents must be raw.
    """
    try:
        response = pb.ModelInferResponse.FromString(declared)
    except DecodeError:
        log.warning("declared_answer_unreadable", model=model)
        return None
    if len(response.raw_output_contents) != len(response.outputs):
        log.warning("declared_answer_without_raw_contents", model=model, outputs=len(response.outputs))
        return None
    for number, output in enumerate(response.outputs):
        if output.shape and output.shape[0] == 1:
            output.shape[0] = rows
            response.raw_output_contents[number] = response.raw_output_contents[number] * rows
    response.model_name = model
    response.id = ""
    return response.SerializeToString()
