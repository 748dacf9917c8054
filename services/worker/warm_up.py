"""Warm-up: the requests of `model_warmup` run before the version takes any other, so that the first caller meets nothing that is cold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.contracts.errors import ServingError
from penstock.contracts.model_config import WarmupSample
from services.worker.sample_inputs import warm_up_feeds
from services.worker.trial import Trial, failed


def warm_up(trial: Trial, samples: Sequence[WarmupSample], model_folder: Path) -> None:
    """Run every sample as often as it says.

    Raises:
        LoadFailed: one failed; the message names it.
    """
    for sample in samples:
        try:
            feeds = warm_up_feeds(sample, trial.signature, model_folder)
            for _ in range(max(sample.count, 1)):
                trial.run(feeds)
        except (ServingError, UnicodeDecodeError) as error:
            reason = error if isinstance(error, ServingError) else ServingError("a text of its file is not UTF-8")
            raise failed(f"warm-up {sample.name!r}", reason) from error
