"""`python -m services.stack.topics HOST:PORT`: makes the topics of the catalogue that a broker does not have, as `penstock up` does."""

from __future__ import annotations

import asyncio
import sys

from penstock.contracts.topics import TOPICS
from services.chassis.process import CannotStart
from services.stack.topic_catalogue import make_topics


def main(address: str) -> int:
    """Make the topics and return 0; 1 when the broker refuses."""
    try:
        made = asyncio.run(make_topics(address, TOPICS))
    except CannotStart as problem:
        sys.stderr.write(f"error: {problem}\n")
        return problem.exit_code
    sys.stderr.write(f"{made} topics made, {len(TOPICS) - made} were there\n")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m services.stack.topics HOST:PORT")
    sys.exit(main(sys.argv[1]))
