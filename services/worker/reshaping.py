"""Lets callers see tensors in another shape than the graph uses (`reshape` of a configuration)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.contracts.tensors import AnyArray
from services.worker.session import ModelSession, RunHandle


class ReshapingSession:
    """A session whose callers use other shapes than its graph; elements and their order stay."""

    def __init__(
        self, session: ModelSession, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]], *, has_rows: bool
    ) -> None:
        """Wrap a session.

        Args:
            session: the graph's.
            inputs: shape that the graph uses, by input; without the batch dimension when there is one.
            outputs: shape that callers see, by output; likewise.
            has_rows: whether the first dimension counts rows, and stays.
        """
        self._session = session
        self._inputs = inputs
        self._outputs = outputs
        self._has_rows = has_rows

    @property
    def provider(self) -> str:
        """Name of the execution provider in use."""
        return self._session.provider

    def new_handle(self) -> RunHandle:
        """Return a brake for one execution."""
        return self._session.new_handle()

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        """Execute; see `ModelSession.run`."""
        seen = {name: self._reshaped(array, self._inputs.get(name)) for name, array in feeds.items()}
        answers = self._session.run(seen, outputs, handle)
        return [self._reshaped(array, self._outputs.get(name)) for name, array in zip(outputs, answers, strict=True)]

    def _reshaped(self, array: AnyArray, shape: tuple[int, ...] | None) -> AnyArray:
        if shape is None:
            return array
        return array.reshape((array.shape[0], *shape) if self._has_rows else shape)
