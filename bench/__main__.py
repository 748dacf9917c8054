"""`python -m bench`: penstock, its peers, a bare grpc.aio server and the limit, one core for each server, the generator on the other.

Rules: the whole server tree is pinned to core 0 and the generator to core 1; all servers of a comparison are alive at once, as far as
memory allows, and loads rotate between them, because one machine's speed changes by a factor of two within minutes; medians and ranges
of the rounds are kept, never the best. Before anything is timed, answers are checked, and after every load the servers' own counts are
compared with the generator's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import generators, plot, report
from bench.arena import Arena
from bench.catalogue import catalogue
from bench.figures import Figures
from bench.hop import added_latency
from bench.key_timing import key_timing
from bench.lifecycle import lifecycle
from bench.model import build_repository, rows, session
from bench.neighbours import neighbours
from bench.open_race import open_race
from bench.overload import overload
from bench.race import grpc_race, http_race
from bench.rollback import rollback
from bench.share import shares
from bench.static import static
from bench.trees import GENERATOR_CORE

PARTS: Mapping[str, Callable[[Arena], None]] = {
    "grpc": grpc_race,
    "http": http_race,
    "open": open_race,
    "limit": shares,
    "router": added_latency,
    "overload": overload,
    "neighbours": neighbours,
    "lifecycle": lifecycle,
    "rollback": rollback,
    "static": static,
    "catalogue": catalogue,
    "keys": key_timing,
}
"""In the order in which they run."""
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run the parts and write the results."""
    options = _options()
    try:
        for name in generators.PACKAGES:
            generators.ensure(name)
    except generators.NoGenerator as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {GENERATOR_CORE})  # some load comes from this process
    figures, started_at = Figures(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        arena = _arena(Path(folder), options, figures)
        for name in options.only:
            PARTS[name](arena)
            report.say(f"{name}: done after {time.monotonic() - started_at:.0f} s in all")
    # A part of the table never passes for the whole.
    kind = "latest" if options.only == list(PARTS) and not options.plain else "partial"
    report.write(figures, options.results / f"{kind}.json")
    (options.results / f"{kind}.svg").write_text(plot.svg(figures.by_name, f"{report.machine()} · {report.commit()} · {report.command()}"))
    report.show(figures)
    return 0


def _arena(work: Path, options: argparse.Namespace, figures: Figures) -> Arena:
    model = build_repository(work / "models")
    (expected,) = session(model).run(None, {"x": rows()})
    return Arena(
        work=work,
        model=model,
        expected=expected,
        rounds=options.rounds,
        seconds=options.seconds,
        is_plain=options.plain,
        figures=figures,
        flips=options.flips,
        outage_seconds=options.outage,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="loads of each kind; medians are reported")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one load")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=f"parts to run, by commas: {','.join(PARTS)}")
    parser.add_argument("--flips", type=int, default=30, help="changes of traffic that are rolled back")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds for which servers stay down")
    parser.add_argument("--plain", action="store_true", help="penstock without keys and traces")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


if __name__ == "__main__":
    sys.exit(main())
