"""`python -m services.stack.topics HOST:PORT`: makes the topics of the catalogue that a broker does not have, as `penstock up` does.

The environment says how the broker is reached otherwise than in the clear: `PENSTOCK_BUS__TLS`, `PENSTOCK_BUS__PASSWORD_FILE` and so on.
"""

from __future__ import annotations

import asyncio
import sys

from penstock.contracts.topics import TOPICS
from services.chassis.command_bus import command_bus
from services.chassis.process import CannotStart
from services.stack.topic_catalogue import make_topics_on


def main(address: str) -> int:
    """Make the topics and return 0; 1 when the broker refuses."""
    try:
        made = asyncio.run(make_topics_on(command_bus(address), TOPICS))
    except CannotStart as problem:
        sys.stderr.write(f"error: {problem}\n")
        return problem.exit_code
    sys.stderr.write(f"{made} topics made, {len(TOPICS) - made} were there\n")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m services.stack.topics HOST:PORT")
    sys.exit(main(sys.argv[1]))
