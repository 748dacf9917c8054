"""Checks warm-up samples against the inputs of a completed configuration."""

from __future__ import annotations

from penstock.contracts.model_config_checks import require
from penstock.contracts.model_config_proto import triton_name
from penstock.contracts.model_config_values import ModelConfig, TensorConfig, WarmupInput, WarmupSample
from penstock.contracts.signature import ANY


def check_warmup(config: ModelConfig) -> None:
    """Refuse samples that the model could not take.

    Raises:
        InvalidInput: unknown or missing input, other type or shape, more rows than max_batch_size; the message names both sides.
    """
    tensors = {tensor.name: tensor for tensor in config.inputs}
    for sample in config.warmup:
        where = f"model_warmup {sample.name!r}"
        _check_rows(sample, config.max_batch_size or 0, where)
        unknown = [name for name in sample.inputs if name not in tensors]
        require(not unknown, where, f"names inputs that the model does not have: {', '.join(map(repr, unknown))}")
        missing = [name for name, tensor in tensors.items() if name not in sample.inputs and not tensor.optional]
        require(not missing, where, f"leaves out inputs: {', '.join(map(repr, missing))}")
        for name, one in sample.inputs.items():
            _check_input(one, tensors[name], f"{where}.inputs.{name}")


def _check_rows(sample: WarmupSample, max_batch_size: int, where: str) -> None:
    rows = sample.batch_size
    if max_batch_size:
        require(1 <= rows <= max_batch_size, f"{where}.batch_size", f"is {rows}, but must be 1 to max_batch_size {max_batch_size}")
    else:
        require(rows <= 1, f"{where}.batch_size", f"is {rows}, but the model has no batch dimension")


def _check_input(one: WarmupInput, tensor: TensorConfig, where: str) -> None:
    dims, datatype = tensor.dims or (), tensor.datatype
    if datatype is not None:
        types = f"is {triton_name(one.datatype)}, but the input is {triton_name(datatype)}"
        require(one.datatype is datatype, f"{where}.data_type", types)
    fits = len(one.dims) == len(dims) and all(wanted in (ANY, size) for size, wanted in zip(one.dims, dims, strict=True))
    require(fits, f"{where}.dims", f"are {list(one.dims)}, but the input has {list(dims)}")
