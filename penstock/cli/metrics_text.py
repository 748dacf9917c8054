"""Reads the Prometheus text format. Pure: whoever fetched the text passes it in.

Of OpenMetrics it takes the samples and passes over exemplars, time stamps and comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r"([A-Za-z_]\w*)=\"((?:[^\"\\]|\\.)*)\"")
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples_of(text: str) -> Iterator[Sample]:
    """Yield the samples of an exposition; lines that are none are passed over."""
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = {name: _ESCAPED.sub(_unescaped, written) for name, written in _LABEL.findall(match["labels"] or "")}
        yield Sample(match["name"], labels, value)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1])
