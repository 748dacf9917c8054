"""What every service's `__main__` calls: `python -m services.router --config FILE [--set name=value]`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from services.chassis import logs
from services.chassis.config import ConfigFile, Settings, override_tree
from services.chassis.parentage import die_with_parent
from services.chassis.process import App, CannotStart, run

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Generic[S]):
    """What a composition root begins with."""

    service: str
    """Name in logs, traces and metrics."""
    config: ConfigFile[S]
    """The settings, and how they change."""
    logs: logs.LogPipeline | None = None
    """Where events go; None when somebody else set up the log, as in a test."""


def main(
    service: str, kind: type[S], app: App[Start[S]], arguments: Sequence[str] | None = None, *, log_path: Callable[[S], Path] | None = None
) -> NoReturn:
    """Read the settings, start the log, run the application, exit with its code.

    `kind` may have a field `log_level`; without it the level is info. `log_path` names a file that events are added to; without it they
    go to stderr, where the reason of a start that failed goes always.
    """
    die_with_parent()
    given = _parser(service).parse_args(arguments)
    try:
        config = ConfigFile(kind, path=given.config, overrides=override_tree(given.set))
        log_file = _log_file(log_path(config.current)) if log_path else None
    except CannotStart as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    level: logs.Level = getattr(config.current, "log_level", "info")
    descriptor = log_file.fileno() if log_file else logs.STDERR
    with log_file or nullcontext(), logs.started(service, level, descriptor=descriptor) as pipeline:
        config.on_change(lambda settings: pipeline.set_level(getattr(settings, "log_level", "info")))
        code = run(app, Start(service=service, config=config, logs=pipeline))
    # All that would be looked at for garbage goes with the process: half a second of a controller's processor time.
    gc.freeze()
    sys.exit(code)


def _log_file(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise CannotStart(f"the log {path} cannot be written: {error.strerror}; name another folder with --state-dir") from None


def _parser(service: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in JSON, or in TOML when the name ends in .toml")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting, before all other sources")
    return parser
