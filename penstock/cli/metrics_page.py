"""Fetches a server's /metrics."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException

from penstock.cli.metrics_text import samples_of
from penstock.cli.rates import Look, look_at

FETCH_SECONDS = 3.0
LIMIT_BYTES = 64 << 20


class MetricsMissing(Exception):
    """The metrics could not be had; the message says why."""


def fetch(address: str) -> Look:
    """Look at the metrics at `host:port`.

    Raises:
        MetricsMissing: nobody answers there, or with something else.
    """
    try:
        # No urllib: it would ask the proxies of the environment for an address of this machine.
        with closing(HTTPConnection(address, timeout=FETCH_SECONDS)) as connection:
            connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
            response = connection.getresponse()
            content = response.read(LIMIT_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        raise MetricsMissing(f"no metrics at {address}: {error}") from None
    if response.status != 200:
        raise MetricsMissing(f"no metrics at {address}: status {response.status}")
    return look_at(samples_of(content.decode("utf-8", errors="replace")))
