"""What an execution that finds no memory looks like, and what its callers are told."""

from __future__ import annotations

from penstock.contracts.errors import ExecutionFailed, RequestTooLarge
from services.worker.work import Part

OUT_OF_MEMORY = "OUT_OF_MEMORY"

_SAYINGS = ("failed to allocate memory", "bad allocation", "bad_alloc", "out of memory", "out_of_memory", "cudamalloc")
"""What ONNX Runtime and its providers say, in lower case: BFCArena, the C++ library, CUDA. There is no code to go by."""


def is_shortage(error: Exception) -> bool:
    """Say whether an execution failed for want of memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(saying in text for saying in _SAYINGS)


def out_of_memory() -> ExecutionFailed:
    """Return what says so within the worker; callers are told by `does_not_fit`."""
    return ExecutionFailed("there was not enough memory to execute the batch", reason=OUT_OF_MEMORY)


def does_not_fit(part: Part) -> RequestTooLarge:
    """Return what the callers of a part are told."""
    rows = part.work.rows
    return RequestTooLarge(f"there was not enough memory to execute {rows} rows: send fewer at a time, or later", reason=OUT_OF_MEMORY)
