"""Bugs that the harness has to find, one line of the product each."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.mutants.plant import Plant


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A planted bug and the cheapest scenario that should find it."""

    plant: Plant
    scenario: str


def _bug(name: str, scenario: str, module: str, old: str, new: str) -> Bug:
    return Bug(plant=Plant(name=name, module=module, old=old, new=new), scenario=scenario)


LINK, DISPATCH, ROUTES = "services.mesh.link", "services.mesh.dispatch", "services.mesh.route_table"
ANSWERS, INFERENCE, CACHE = "services.router.answers", "services.router.inference", "services.router.shared_answers"
BATCHER, EXECUTION, CONNECTION = "services.worker.batcher", "services.worker.execution", "services.worker.link_connection"

BUGS = (
    _bug(
        "drop-an-answer",
        "burst",
        LINK,
        "            chunk.sink.answered(chunk, part, released)\n",
        "            chunk.chunk_id % 20 == 7 or chunk.sink.answered(chunk, part, released)\n",
    ),
    _bug(
        "swap-answers-of-a-chunk",
        "burst",
        ANSWERS,
        "    heads = calls.target.heads(",
        "    offsets = list(offsets)[::-1]\n    heads = calls.target.heads(",
    ),
    _bug("swap-requests-of-a-batch", "burst", EXECUTION, "outcome.answered += zip(parts, ", "outcome.answered += zip(parts[::-1], "),
    _bug("cut-a-tensor-short", "burst", ANSWERS, "    sizes = tuple(len(raw) // count for", "    sizes = tuple(len(raw) // count - 8 for"),
    _bug(
        "release-rows-twice",
        "burst",
        LINK,
        "self._release(chunk, part.count if",
        "self._release(chunk, 2 * part.count if",
    ),
    _bug(
        "leak-an-admission",
        "bad_rows",
        INFERENCE,
        "self.requests_in_flight -= len(positions)\n        calls.release(positions)\n        for position",
        "self.requests_in_flight -= 0\n        calls.release(positions)\n        for position",
    ),
    _bug("leak-work-in-the-worker", "heavy", CONNECTION, "            self._open.pop(work.chunk_id, None)", "            pass"),
    _bug(
        "blame-a-whole-batch",
        "bad_rows",
        BATCHER,
        "            running.mode = RunMode.HALVED if error.reason == OUT_OF_MEMORY else RunMode.APART\n            instance.run(running)",
        "            self._finish(instance, running, Outcome(failed=[(part, error) for part in running.batch.parts]))",
    ),
    _bug("retry-nothing", "kill", DISPATCH, "again.attempts < most and", "again.attempts < 1 and"),
    _bug("retry-without-budget", "storm", DISPATCH, "again.is_idempotent and self._budget.take(again.left, now)", "True"),
    _bug("overlook-silence", "stop", "services.mesh.silence", "SILENCE_SECONDS = 0.4", "SILENCE_SECONDS = 400.0"),
    _bug(
        "unbounded-queue", "flood", "services.worker.batching", "room = max(0, level.request_limit - level.requests)", "room = len(wanted)"
    ),
    _bug(
        "stale-route",
        "swap",
        ROUTES,
        "{model: self._routed(model, ready) for",
        "{model: self._routes.get(model) or self._routed(model, ready) for",
    ),
    _bug("name-the-wrong-version", "swap", "services.router.targets", "model_version=deployment.version)", 'model_version="1")'),
    _bug("forget-to-start-again", "kill", "services.chassis.child", "await self._clock.sleep(delay)", "await self._clock.sleep(3600)"),
    _bug(
        "wrong-code",
        "kill_all",
        "penstock.contracts.status",
        "UNAVAILABLE = Status(grpc=GrpcCode.UNAVAILABLE, http=503, is_retryable=True)",
        "UNAVAILABLE = Status(grpc=GrpcCode.INTERNAL, http=500)",
    ),
    _bug(
        "tell-a-path",
        "kill_all",
        "services.mesh.refusals",
        '{deployment.version} can be reached"',
        '{deployment.version} can be reached by /tmp/x.sock"',
    ),
    _bug("ignore-who-leaves", "leave", DISPATCH, "        self._take_back(chunk, position)\n        return True", "        return True"),
    _bug("never-stop-an-execution", "endless", BATCHER, "            if running.is_dead(now):", "            if False:"),
    _bug("one-answer-for-all-questions", "cache", CACHE, "        hashed.update(part)\n", "        pass\n"),
)
