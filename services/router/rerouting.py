"""Requests whose version can be reached no more go to the one that serves by now.

While a new version is loaded by one worker after the other, the only replica of the version that serves may be lost with requests on it.
The route then leads to the other version at once; the requests that were chosen for the lost one go after it, as far as their callers named
no version and its inputs are the same. Nobody executed them, or their second try was within the retry budget, so this asks for no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.contracts.errors import NoReadyReplica, ServingError
from services.mesh.chunk import Chunk
from services.mesh.dispatch import Dispatch
from services.router.calls import Calls
from services.router.understanding import Understanding


class Rerouting:
    """Sends requests after a route that was derived anew; each once."""

    def __init__(self, understanding: Understanding, dispatch: Dispatch, clock: Callable[[], float]) -> None:
        """Keep the collaborators."""
        self._understanding = understanding
        self._dispatch = dispatch
        self._clock = clock

    def follow(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> Sequence[int]:
        """Send failed requests to what serves by now; return the positions for which there is nothing else."""
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - the inference path made it
        target = self._understanding.successor_of(calls.target) if isinstance(error, NoReadyReplica) else None
        if target is None or not self._dispatch.can_serve(target.deployment):
            return positions
        again = chunk.part(positions)
        callers = again.context
        assert isinstance(callers, Calls)  # noqa: S101 - as above
        callers.target = target
        self._dispatch.send(again, target.deployment, self._clock())
        self._dispatch.flush()
        return ()
