"""What may be changed while the router runs, in Triton's words: its log settings and trace settings.

A setting is either in force at once or refused; nothing is stored for show. They hold for this router process until it ends.
Log levels are thresholds here, so `log_info` without `log_warning` does not exist. Traces leave by OpenTelemetry: there is no trace
file, and a trace rate of n means that one request in n is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import structlog

from penstock.contracts.errors import InvalidInput, NotImplementedHere, ServingError

Level = Literal["debug", "info", "warning", "error", "critical"]
LogValue = bool | int | str

MAX_RATE = 2**31 - 1
DEFAULT_RATE = 1000

log = structlog.get_logger(__name__)


class LogControl(Protocol):
    """Decides which events are logged."""

    def set_level(self, level: Level) -> None:
        """Log events of this level and above from now on."""
        ...


class TraceControl(Protocol):
    """Decides which requests are traced."""

    def set_ratio(self, ratio: float) -> None:
        """Sample this share of the requests, between 0 and 1, from now on."""
        ...


class LogSettings:
    """Triton's log settings over a level."""

    def __init__(self, control: LogControl, level: Level = "info") -> None:
        """Keep the control and the level in force."""
        self._control = control
        self._level: Level = level

    def read(self) -> Mapping[str, LogValue]:
        """Return the settings in force."""
        order: Sequence[Level] = ("debug", "info", "warning", "error")
        shown = {level: self._level in order[: position + 1] for position, level in enumerate(order)}
        return {
            "log_file": "",
            "log_info": shown["info"],
            "log_warning": shown["warning"],
            "log_error": shown["error"],
            "log_verbose_level": int(shown["debug"]),
            "log_format": "default",
        }

    def change(self, wanted: Mapping[str, LogValue]) -> Mapping[str, LogValue]:
        """Put settings into force, all or none, and return what is in force.

        Raises:
            InvalidInput: unknown name, wrong type, or levels that are no threshold.
            NotImplementedHere: a file or another format.
        """
        merged = dict(self.read())
        for name, value in wanted.items():
            merged[name] = _checked(name, value, merged)
        level = _level(merged)
        if level != self._level:
            self._control.set_level(level)
            self._level = level
            log.info("log_level_changed", to=level)
        return self.read()


class TraceSettings:
    """Triton's trace settings over a sampling ratio."""

    def __init__(self, control: TraceControl, ratio: float = 0.0) -> None:
        """Keep the control and the ratio in force, which is also what a reset goes back to."""
        self._control = control
        self._default = ratio
        self._is_on = ratio > 0
        self._rate = _rate_of(ratio)

    def read(self) -> Mapping[str, tuple[str, ...]]:
        """Return the settings in force."""
        return {
            "trace_level": ("TIMESTAMPS",) if self._is_on else ("OFF",),
            "trace_rate": (str(self._rate),),
            "trace_count": ("-1",),
            "log_frequency": ("0",),
            "trace_file": ("",),
            "trace_mode": ("opentelemetry",),
        }

    def change(self, wanted: Mapping[str, Sequence[str]], *, model: str = "") -> Mapping[str, tuple[str, ...]]:
        """Put settings into force, all or none, and return what is in force; no value resets a setting.

        Raises:
            InvalidInput: unknown name or value.
            NotImplementedHere: a setting that cannot be changed, or one for a single model.
        """
        if model:
            raise NotImplementedHere("trace settings are the server's: leave the model's name empty", field="model_name")
        is_on, rate = self._is_on, self._rate
        for name, values in wanted.items():
            if name == "trace_level":
                is_on = _trace_level(values, default=self._default > 0)
            elif name == "trace_rate":
                rate = _trace_rate(values, default=_rate_of(self._default))
            else:
                self._check_fixed(name, values)
        self._is_on, self._rate = is_on, rate
        self._control.set_ratio(1.0 / rate if is_on else 0.0)
        log.info("trace_sampling_changed", is_on=is_on, rate=rate)
        return self.read()

    def _check_fixed(self, name: str, values: Sequence[str]) -> None:
        fixed = self.read().get(name)
        if fixed is None:
            raise _unknown("trace", name, self.read())
        if values and tuple(values) != fixed:
            raise NotImplementedHere(f"{name} cannot be changed: traces leave by OpenTelemetry only", field=name)


def _checked(name: str, value: LogValue, known: Mapping[str, LogValue]) -> LogValue:
    if name not in known:
        raise _unknown("log", name, known)
    if type(value) is not type(known[name]):
        raise InvalidInput(f"log setting {name!r} must be {_TYPES[type(known[name])]}", reason="BAD_PARAMETER", field=name)
    if isinstance(known[name], str) and value != known[name]:
        raise NotImplementedHere(f"{name} cannot be changed: logs are JSON lines on stderr", field=name)
    return value


_TYPES: Mapping[type, str] = {bool: "true or false", int: "a whole number of at least 0", str: "text"}


def _level(settings: Mapping[str, LogValue]) -> Level:
    """Return the threshold that the settings describe."""
    verbose, steps = settings["log_verbose_level"], [settings["log_info"], settings["log_warning"], settings["log_error"]]
    if not isinstance(verbose, int) or verbose < 0:
        raise InvalidInput("log_verbose_level must be a whole number of at least 0", reason="BAD_PARAMETER", field="log_verbose_level")
    if steps != sorted(steps) or (verbose and not all(steps)):
        raise InvalidInput(
            "log levels are thresholds: info includes warning, warning includes error, verbose includes all three",
            reason="BAD_PARAMETER",
            field="log_info",
        )
    if verbose:
        return "debug"
    levels: Sequence[Level] = ("critical", "error", "warning", "info")
    return levels[sum(map(bool, steps))]


def _trace_level(values: Sequence[str], *, default: bool) -> bool:
    if not values:
        return default
    if set(values) <= {"OFF"} or set(values) <= {"TIMESTAMPS"}:
        return values[0] != "OFF"
    if "TENSORS" in values:
        raise NotImplementedHere("trace level TENSORS is not offered: payloads never leave in traces; use TIMESTAMPS", field="trace_level")
    raise InvalidInput(f"trace_level {values[0][:32]!r} is unknown: use OFF or TIMESTAMPS", reason="BAD_PARAMETER", field="trace_level")


def _trace_rate(values: Sequence[str], *, default: int) -> int:
    if not values:
        return default
    if len(values) == 1 and values[0].isascii() and values[0].isdecimal() and len(values[0]) <= 10 and 0 < int(values[0]) <= MAX_RATE:
        return int(values[0])
    raise InvalidInput(
        "trace_rate must be one whole number of at least 1: one request in so many is traced", reason="BAD_PARAMETER", field="trace_rate"
    )


def _rate_of(ratio: float) -> int:
    return max(1, round(1.0 / ratio)) if ratio > 0 else DEFAULT_RATE


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> ServingError:
    return InvalidInput(f"{kind} setting {name[:64]!r} is unknown: use {', '.join(known)}", reason="BAD_PARAMETER", field=name[:64])
