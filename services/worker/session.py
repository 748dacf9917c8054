"""The port to whatever executes a version, and the setting of it.

Arrays are as `penstock.contracts.tensors` views them: BF16 as uint16 bit patterns. Texts are the exception: BYTES tensors are arrays
of `str` objects, because strings of ONNX are UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from penstock.contracts.tensors import AnyArray


class Provider(Enum):
    """An execution provider; the value is ONNX Runtime's name of it."""

    TENSORRT = "TensorrtExecutionProvider"
    CUDA = "CUDAExecutionProvider"
    CPU = "CPUExecutionProvider"


PREFERENCE = (Provider.TENSORRT, Provider.CUDA, Provider.CPU)
"""Which provider is tried first; CPU is always there."""

Option = str | int | float | bool
"""Value of a provider option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a version is executed."""

    intra_op_threads: int = 1
    """Threads of one execution, the executing thread included."""
    inter_op_threads: int = 1
    """Above 1, independent branches of the graph run in parallel."""
    allow_spinning: bool = False
    """Threads spin for work instead of sleeping: faster alone, harmful beside others."""
    use_memory_arena: bool = True
    """Keep freed memory for the next execution."""
    is_optimised: bool = True
    """Let ONNX Runtime rewrite the graph."""
    device_id: int = 0
    """Number of the GPU."""
    provider_options: Mapping[str, Mapping[str, Option]] = field(default_factory=dict[str, Mapping[str, Option]])
    """Further options by the provider's name."""


class Terminated(Exception):
    """The execution was stopped by its handle."""


class RunHandle(Protocol):
    """The brake of one execution; may be used from any thread."""

    @property
    def is_terminated(self) -> bool:
        """Whether `terminate` was called."""
        ...

    def terminate(self) -> None:
        """Ask the execution to stop at the next operator."""
        ...


class ModelSession(Protocol):
    """A loaded version; `run` may be called from any thread."""

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        ...

    def new_handle(self) -> RunHandle:
        """Return a brake for one execution."""
        ...

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        """Execute; return the named outputs in the order asked for.

        Raises:
            ExecutionFailed: the model failed; a stranger's text is logged, not passed on.
            Terminated: the handle stopped it.
        """
        ...
