"""Callers that never stop: threads that ask a model again and again, and remember who answered."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from penstock import Client, ServingError
from penstock.client.options import ClientOptions

THREADS = 4
SETTLE_SECONDS = 0.2
"""Calls that were under way at a change belong to neither side of it."""


class Callers:
    """Asks while its block lasts."""

    def __init__(self, target: str, model: str, rows: Any, *, key: str | None = None) -> None:
        """Keep whom to ask what, and with which key; one row a call, in turn."""
        self._options = ClientOptions(api_key=key)
        self.failures: list[str] = []
        self._answers: list[tuple[float, str]] = []
        self._target, self._model = target, model
        self._rows = np.asarray(rows, np.float32)
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(THREADS)]

    @property
    def count(self) -> int:
        """Calls that were answered or failed."""
        return len(self._answers) + len(self.failures)

    def __enter__(self) -> Self:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ask no more."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def share_of(self, version: str, seconds: float) -> float:
        """Return the share of a version among the calls that begin in the next `seconds`."""
        time.sleep(SETTLE_SECONDS)
        began_at = time.monotonic()
        time.sleep(seconds)
        answered = [by for asked_at, by in list(self._answers) if asked_at >= began_at]
        return answered.count(version) / max(len(answered), 1)

    def _ask(self, number: int) -> None:
        with Client(self._target, self._options) as client:
            turn = number
            while not self._ends.is_set():
                row, asked_at = self._rows[turn % len(self._rows)][None], time.monotonic()
                turn += THREADS
                try:
                    answer = client.predict(self._model, row, request_id=f"demo-{turn}")
                except ServingError as error:
                    self.failures.append(f"{error.reason}: {error.message}")
                else:
                    self._answers.append((asked_at, answer.version))
