"""Inputs for executions that no client asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from penstock.contracts.errors import ArtifactCorrupt, InvalidInput
from penstock.contracts.model_config import WarmupInput, WarmupSample, WarmupValues
from penstock.contracts.signature import ANY, Signature, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType, decode, element_count, fp32_to_bf16

WARMUP_FOLDER = "warmup"
"""Folder beside the versions with the files of warm-up samples."""

SAMPLE_TEXT = "A sentence of a dozen words or so, as long as many are."
"""What a text model is tried with when nothing else is given."""

SEED = 20_240_601
"""Random samples are the same at every load, so that a failing warm-up fails again."""


def warm_up_feeds(sample: WarmupSample, signature: Signature, model_folder: Path) -> dict[str, AnyArray]:
    """Return the arrays of a warm-up sample, batch dimension included.

    Raises:
        InvalidInput: a file does not hold what the sample says.
        ArtifactCorrupt: a file cannot be read.
    """
    rows = (sample.batch_size,) if signature.has_batch_dimension else ()
    return {name: _elements(name, one, rows, model_folder) for name, one in sample.inputs.items()}


def plain_feeds(signature: Signature) -> dict[str, AnyArray]:
    """Return one row of the simplest inputs a signature takes: zeros, every dimension of any size 1, texts a sentence."""
    return {spec.name: _plain(spec) for spec in signature.inputs if not spec.optional}


def repeated(feeds: Mapping[str, AnyArray], rows: int) -> dict[str, AnyArray]:
    """Return feeds whose first row fills a batch of `rows`."""
    return {name: np.repeat(array[:1], rows, axis=0) for name, array in feeds.items()}


def _plain(spec: TensorSpec) -> AnyArray:
    shape = tuple(1 if size == ANY else size for size in spec.shape)
    if spec.datatype is DataType.BYTES:
        return np.full(shape, SAMPLE_TEXT if spec.is_text else "", dtype=object)
    return np.zeros(shape, dtype=spec.datatype.dtype)


def _elements(name: str, one: WarmupInput, rows: tuple[int, ...], model_folder: Path) -> AnyArray:
    shape = (*rows, *one.dims)
    if one.values is WarmupValues.FILE:
        return _from_file(name, one, rows, model_folder)
    if one.values is WarmupValues.RANDOM:
        return _random(one.datatype, shape)
    return np.full(shape, "", dtype=object) if one.datatype is DataType.BYTES else np.zeros(shape, dtype=one.datatype.dtype)


def _random(datatype: DataType, shape: tuple[int, ...]) -> AnyArray:
    """Return floats in [0, 1), and whole numbers 0 and 1, which are within every table they may index."""
    random = np.random.default_rng(SEED)
    if datatype is DataType.BYTES:
        words = np.empty(shape, dtype=object)
        words.reshape(-1)[:] = ["".join(map(chr, random.integers(97, 123, size=8))) for _ in range(words.size)]
        return words
    if datatype is DataType.BF16:
        return fp32_to_bf16(random.random(shape, dtype=np.float32))
    if datatype.is_floating:
        return random.random(shape).astype(datatype.dtype)
    return random.integers(0, 2, size=shape).astype(datatype.dtype)


def _from_file(name: str, one: WarmupInput, rows: tuple[int, ...], model_folder: Path) -> AnyArray:
    """Read raw OIP elements: those of one row, which every row gets, or those of all rows."""
    path = model_folder / WARMUP_FOLDER / (one.file or "")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactCorrupt(f"model_warmup: {WARMUP_FOLDER}/{one.file} cannot be read: {error.strerror}") from error
    try:
        array = decode(name, one.datatype, one.dims, raw)
    except InvalidInput:
        if not rows:
            raise
        return _texts(decode(name, one.datatype, (*rows, *one.dims), raw))
    return _texts(np.broadcast_to(array, (*rows, *one.dims)) if element_count(one.dims) else array.reshape((*rows, *one.dims)))


def _texts(array: AnyArray) -> AnyArray:
    """Return elements of BYTES as the texts that a session takes."""
    if array.dtype != object:
        return array
    texts = np.empty(array.shape, dtype=object)
    texts.reshape(-1)[:] = [element.decode() for element in array.reshape(-1).tolist()]
    return texts
