"""`python -P -m services.stack.health PLACE …`: exits with 0 when every place answers, with 1 and a word about the one that does not.

A place is `http://host:port/path`, which has to answer 200, or `unix:/path`, where somebody has to listen. The health checks of
deploy/compose are made of it, every few seconds: it imports nothing but the standard library.
"""

from __future__ import annotations

import socket
import sys
import urllib.request
from collections.abc import Sequence

ANSWER_SECONDS = 4.0
"""Longest wait for one answer."""


def main(places: Sequence[str]) -> int:
    """Ask all places and return the exit code."""
    for place in places:
        try:
            _ask(place)
        except (OSError, ValueError) as problem:
            sys.stderr.write(f"{place}: {problem}\n")
            return 1
    return 0


def _ask(place: str) -> None:
    kind, _, path = place.partition(":")
    if kind == "http":
        # A proxy of the environment is for other machines; this place is in the container.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(place, timeout=ANSWER_SECONDS).close()
    elif kind == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(ANSWER_SECONDS)
            client.connect(path)
    else:
        raise ValueError("is no place: write http://host:port/path or unix:/path")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m services.stack.health PLACE …")
    sys.exit(main(sys.argv[1:]))
