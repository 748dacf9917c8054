"""Everything a version is put through between opened and ready. Blocks; never called on the event loop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog

from penstock.contracts.errors import OutputContract, ServingError
from penstock.contracts.worker_status import CostPoint
from services.worker.deployment import wire_row_bytes
from services.worker.golden import check_golden
from services.worker.measurement import MeasureBudget, measure
from services.worker.opening import Opened
from services.worker.sample_inputs import plain_feeds, warm_up_feeds
from services.worker.trial import Feeds, Trial, breach
from services.worker.warm_up import warm_up

MEASURE_SECONDS = 5.0
"""Longest measurement; a model that executes one row for longer goes unmeasured."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedOut:
    """What trying a version out has shown."""

    costs: tuple[CostPoint, ...]
    """Empty when it could not be measured."""
    row_bytes: int
    """Bytes on the wire of one of the rows that were measured."""
    golden_examples: int
    """How many it answered."""


def try_out(trial: Trial, opened: Opened) -> TriedOut:
    """Warm a version up, check its golden examples, measure it.

    Raises:
        LoadFailed: the warm-up failed, a golden example was answered otherwise, or the signature is not kept.
        ServingError: an example or a sample cannot be used.
    """
    artefact, config = opened.inspected.artefact, opened.completed.config
    warm_up(trial, config.warmup, artefact.model_folder)
    golden_examples = check_golden(trial, config.golden, artefact.folder)
    typical = warm_up_feeds(config.warmup[0], trial.signature, artefact.model_folder) if config.warmup else plain_feeds(trial.signature)
    costs = _measured(trial, typical, str(artefact))
    return TriedOut(costs=costs, row_bytes=wire_row_bytes(typical, trial.signature), golden_examples=golden_examples)


def _measured(trial: Trial, typical: Feeds, name: str) -> tuple[CostPoint, ...]:
    """Return the costs; none when the model does not take the inputs, or never ends with them: nobody said that it would."""
    brake = threading.Timer(MEASURE_SECONDS, trial.stop)
    brake.daemon = True
    brake.start()
    try:
        return measure(trial, typical, MeasureBudget(), time.monotonic)
    except OutputContract as error:
        raise breach(error) from error
    except ServingError as error:
        log.warning("measurement_failed", version=name, reason=error.message, advice="add a model_warmup sample that the model takes")
        return ()
    finally:
        brake.cancel()
