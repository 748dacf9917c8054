"""A model that reads tokens, served as one that reads text.

Texts are tokenised together, sorted by length and run in sub-batches where lengths differ, because a batch is padded to its longest
text. An execution costs about as much as EXECUTION_TOKENS more tokens would (the weights are read once more), so the division is the
one that costs least, counted in tokens. Of texts of up to 65 tokens in random order MiniLM embeds, as a share of what it does with all
texts sorted and in eights, 0.79, 0.91, 1.01 in batches of 8, 32, 64; 0.83, 0.88, 1.00 when an execution counts 8 tokens, 0.84, 0.88, 0.98
when it counts 32 (2026-11-22, 2 x AMD EPYC that others used too, one thread, thread time, medians of 3 interleaved passes).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import structlog
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from penstock.contracts.errors import ExecutionFailed, LoadFailed
from penstock.contracts.model_config import Pooling
from penstock.contracts.model_text import TEXT_INPUT, TOKEN_COUNT_OUTPUT, TextPlan
from penstock.contracts.tensors import AnyArray
from services.worker.session import ModelSession, RunHandle

log = structlog.get_logger(__name__)

EXECUTION_TOKENS = 16
"""What an execution costs beside its tokens, in tokens."""

Floats = NDArray[np.float32]


class TextSession:
    """Texts in (`text`, `str` objects of any shape with one text a row), out `embedding` FP32[-1, size] and `token_count` INT64[-1, 1]."""

    def __init__(self, inner: ModelSession, tokenizer: Tokenizer, plan: TextPlan, *, pad_id: int = 0) -> None:
        """Put a tokenizer that neither pads nor exceeds the model's limit before a session."""
        self._inner = inner
        self._tokenizer = tokenizer
        self._plan = plan
        self._pad_id = pad_id

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        return self._inner.provider

    def new_handle(self) -> RunHandle:
        """Return a brake for one batch of texts."""
        return self._inner.new_handle()

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        """Embed texts; see `ModelSession.run`."""
        texts = cast("list[str]", feeds[TEXT_INPUT].ravel().tolist())
        encoded = self._encode(texts)
        lengths = [len(one) for one in encoded]
        if set(outputs) <= {TOKEN_COUNT_OUTPUT}:
            vectors = np.zeros((len(texts), 0), dtype=np.float32)
        else:
            vectors = self._embedded(encoded, lengths, handle)
        counts = np.array(lengths, dtype=np.int64).reshape(-1, 1)
        return [counts if name == TOKEN_COUNT_OUTPUT else vectors for name in outputs]

    def _embedded(self, encoded: Sequence[Encoding], lengths: Sequence[int], handle: RunHandle | None) -> Floats:
        vectors: Floats | None = None
        for group in length_groups(lengths):
            part = self._embed([encoded[position] for position in group], handle)
            if vectors is None:
                vectors = np.empty((len(encoded), part.shape[1]), dtype=np.float32)
            vectors[group] = part
        return np.zeros((0, max(0, self._plan.size)), dtype=np.float32) if vectors is None else vectors

    def _encode(self, texts: list[str]) -> list[Encoding]:
        try:
            return self._tokenizer.encode_batch_fast(texts)
        except Exception as error:
            log.warning("tokenizer_failed", tokenizer=self._plan.options.tokenizer_file, error=str(error))
            raise ExecutionFailed("the text could not be tokenised; the worker's log says why") from error

    def _embed(self, encoded: Sequence[Encoding], handle: RunHandle | None) -> Floats:
        longest = max([1, *(len(one) for one in encoded)])
        dtype = self._plan.token_datatype.dtype
        ids = np.full((len(encoded), longest), self._pad_id, dtype=dtype)
        mask = np.zeros((len(encoded), longest), dtype=dtype)
        types = np.zeros((len(encoded), longest), dtype=dtype)
        for row, one in enumerate(encoded):
            ids[row, : len(one)] = one.ids
            mask[row, : len(one)] = one.attention_mask
            types[row, : len(one)] = one.type_ids
        tensors = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        (output,) = self._inner.run({name: tensors[name] for name in self._plan.inputs}, [self._plan.output], handle)
        return self._vectors(output, mask)

    def _vectors(self, output: AnyArray, mask: AnyArray) -> Floats:
        values = output.astype(np.float32, copy=False)
        if not self._plan.is_pooled:
            values = mean_pooled(values, mask) if self._plan.options.pooling is Pooling.MEAN else values[:, 0]
        return normalised(values) if self._plan.options.normalize else values


def text_session(inner: ModelSession, plan: TextPlan, tokenizer_json: bytes) -> TextSession:
    """Build a text session from the bytes of a `tokenizer.json`.

    Raises:
        LoadFailed: the file is no tokenizer.
    """
    # Instances have threads of their own; a pool of the tokenizer's beside them would only fight for the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        tokenizer: Any = Tokenizer.from_buffer(tokenizer_json)
    except Exception as error:
        raise LoadFailed(f"{plan.options.tokenizer_file} is no tokenizer: {error}") from error
    if plan.options.max_length is not None:
        tokenizer.enable_truncation(plan.options.max_length)
    pad_id = _pad_id(tokenizer)
    tokenizer.no_padding()
    return TextSession(inner, tokenizer, plan, pad_id=pad_id)


def length_groups(lengths: Sequence[int]) -> list[list[int]]:
    """Return the positions of texts that run together, shortest first: the division that costs least.

    Every execution costs as much as its padded tokens and EXECUTION_TOKENS more. Texts of equal length are never parted, so only lengths
    that occur are weighed against each other (dynamic programming over the last cut).
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ends = [place + 1 for place, position in enumerate(order) if place + 1 == len(order) or lengths[position] < lengths[order[place + 1]]]
    cuts, costs = [0, *ends], [0]
    begins: list[int] = []
    for number, end in enumerate(ends):
        longest = lengths[order[end - 1]]
        sums = [costs[begin] + (end - cuts[begin]) * longest for begin in range(number + 1)]
        least = min(sums)
        begins.append(sums.index(least))
        costs.append(least + EXECUTION_TOKENS)
    groups: list[list[int]] = []
    last = len(ends)
    while last:
        begin = begins[last - 1]
        groups.append(order[cuts[begin] : cuts[last]])
        last = begin
    return groups[::-1]


def mean_pooled(values: Floats, mask: AnyArray) -> Floats:
    """Return the mean over the tokens that are no padding; zeros where there are none."""
    weights = mask[:, :, None].astype(np.float32)
    total: Floats = (values * weights).sum(axis=1)
    mean: Floats = (total / np.maximum(weights.sum(axis=1), 1e-9)).astype(np.float32, copy=False)
    return mean


def normalised(vectors: Floats) -> Floats:
    """Scale vectors to length 1; zeros stay zeros."""
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    scaled: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return scaled


def _pad_id(tokenizer: Any) -> int:
    padding = tokenizer.padding
    if padding is not None:
        return int(padding["pad_id"])
    known = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>", "<|pad|>"))
    return next((one for one in known if one is not None), 0)
