"""OpenAI's embeddings for models that take text: `POST /v1/embeddings`, also under `/openai/v1`.

A text model has one BYTES input (tokenising is the worker's work) and an output `embedding` [rows, size]. Texts beyond the model's
`max_batch_size` are split over several calls that run together. `dimensions` cuts each embedding and scales it to length 1 again,
which is what OpenAI's models do; whether a cut embedding means anything is up to the model.

`usage` counts tokens where the model reports them, in an output `token_count`; it is 0 where it does not, never a guess. OpenAI's Python
client always asks for base64: that is little-endian float32.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.errors import InvalidInput, NotImplementedHere, OutputContract
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray, DataType
from services.chassis.deadline import NEVER, deadline_after
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames
from services.router.http_routes import Media, Route
from services.router.http_service import Calls
from services.router.json_tensors import dumps
from services.router.model_signatures import Signatures
from services.router.oip_answer import read
from services.router.row_inputs import Call, payload
from services.router.strict_json import kind_of, loads_object

TEXTS_LIMIT = 2048
"""Most texts of one request, as OpenAI has it."""
EMBEDDING, TOKENS = "embedding", "token_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller asks for."""

    model: str
    texts: Sequence[str]
    is_base64: bool
    dimensions: int | None


class Embeddings:
    """Answers embeddings."""

    def __init__(self, signatures: Signatures, calls: Calls, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep what knows the models and what runs them."""
        self._signatures = signatures
        self._calls = calls
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return both paths."""
        return [
            Route(path=prefix + "/v1/embeddings", face=Face.OPENAI, media=Media.JSON, later={"POST": self._answer})
            for prefix in ("", "/openai")
        ]

    async def _answer(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        wish = wish_of(loads_object(request.body))
        signature = self._signatures.signature_of(request.key, wish.model, "")
        text = _text_input(wish.model, signature)
        outputs = [name for name in (EMBEDDING, TOKENS) if name in signature.output_index]
        size = signature.max_batch_size or 1
        seconds = request.timeout_seconds
        deadline = NEVER if seconds is None else deadline_after(seconds, self._clock())
        call = Call(model=wish.model, version="", request_id=request.request_id, outputs=outputs)
        slices = [list(wish.texts[start : start + size]) for start in range(0, len(wish.texts), size)]
        payloads = [payload(call, signature, {text: _column(signature, texts)}) for texts in slices]
        answers = [read(answered).outputs for answered in await self._all(payloads, request, deadline)]
        vectors = _vectors(wish, [_rows(outputs[EMBEDDING], len(texts)) for outputs, texts in zip(answers, slices, strict=True)])
        tokens = sum(int(outputs[TOKENS].sum()) for outputs in answers if TOKENS in outputs)
        return HttpReply(200, dumps(_document(wish, vectors, tokens)))

    async def _all(self, payloads: Sequence[bytes], request: HttpRequest, deadline: float) -> list[bytes]:
        """Run calls together; the first failure, one that comes before all are begun, or the caller's leaving calls the others off."""
        waiting: list[asyncio.Future[bytes]] = []
        key, trace, affinity = request.key, request.trace, request.affinity
        try:
            for one in payloads:
                call = self._calls.submit(one, key=key, deadline=deadline, trace=trace, affinity=affinity)
                waiting.append(call)
            return list(await asyncio.gather(*waiting))
        except BaseException:
            for call in waiting:
                call.cancel()
            raise


def wish_of(document: dict[str, Any]) -> Wish:
    """Return what a body asks for.

    Raises:
        InvalidInput: it breaks OpenAI's schema; `field` names the parameter.
        NotImplementedHere: input given as tokens.
    """
    model = document.get("model")
    if type(model) is not str or not model:
        raise _bad("model", "name the model to use")
    encoding = document.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise _bad("encoding_format", "it must be 'float' or 'base64'")
    dimensions = document.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise _bad("dimensions", "it must be a whole number of at least 1")
    user = document.get("user")
    if user is not None and (type(user) is not str or len(user) > 256 or not user.isprintable()):
        raise _bad("user", "it must be a string of at most 256 printable characters")
    return Wish(model=model, texts=_texts(document.get("input")), is_base64=encoding == "base64", dimensions=dimensions)


def _texts(given: Any) -> Sequence[str]:
    texts = [given] if type(given) is str else given
    if type(texts) is not list or not texts:
        raise _bad("input", f"it must be a string or a list of strings, not {kind_of(given) if given != [] else 'an empty list'}")
    listed = cast("list[Any]", texts)
    if len(listed) > TEXTS_LIMIT:
        raise _bad("input", f"{len(listed)} texts are more than {TEXTS_LIMIT}: split the request")
    if any(type(one) in (int, list) for one in listed):
        raise NotImplementedHere("input given as tokens is not served: send texts", field="input")
    for index, one in enumerate(listed):
        if type(one) is not str or not one:
            raise _bad("input", f"text {index} is {'empty' if one == '' else kind_of(one)}; send non-empty strings")
    return cast("list[str]", listed)


def _text_input(model: str, signature: Signature) -> str:
    """Return the name of the input that takes the text."""
    if len(signature.inputs) == 1 and signature.inputs[0].datatype is DataType.BYTES and EMBEDDING in signature.output_index:
        return signature.inputs[0].name
    raise InvalidInput(
        f"model {model!r} gives no embeddings: it needs one BYTES input and an output {EMBEDDING!r}", reason="DTYPE_MISMATCH", field="model"
    )


def _column(signature: Signature, texts: list[str]) -> Any:
    """Return texts in the shape of the input: a model without a batch dimension takes one."""
    spec = signature.inputs[0]
    values: Any = texts
    for _ in range(len(spec.shape) - 1):
        values = [[one] for one in values]
    return values if spec.shape else texts[0]


def _rows(embedding: AnyArray, texts: int) -> NDArray[np.float32]:
    rows = np.asarray(embedding, dtype=np.float32).reshape(texts, -1) if embedding.size % texts == 0 else embedding
    if rows.ndim != 2:
        raise OutputContract(f"output {EMBEDDING!r} has shape {embedding.shape}, which is no list of {texts} embeddings")
    return rows


def _vectors(wish: Wish, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if wish.dimensions is None:
        return vectors
    if wish.dimensions > vectors.shape[1]:
        raise _bad("dimensions", f"the model gives {vectors.shape[1]}, {wish.dimensions} are more")
    cut = vectors[:, : wish.dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.ascontiguousarray(cut / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _document(wish: Wish, vectors: NDArray[np.float32], tokens: int) -> dict[str, Any]:
    def told(vector: NDArray[np.float32]) -> Any:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") if wish.is_base64 else vector

    listed = [{"object": "embedding", "index": index, "embedding": told(vector)} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": listed, "model": wish.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _bad(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"{field!r}: {message}", reason="BAD_PARAMETER", field=field)
