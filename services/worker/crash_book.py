"""Remembers from life to life which versions killed this worker, so that one that does so again and again is not loaded any more.

    a life ends by its own fault → the next one reads the black box → the ledger judges → given up, and reported as such

Nobody supervises the workers of a mesh but what starts them again, which knows nothing of versions; so a worker judges its own deaths.
A process that died by its own fault leaves a trace of that: its crash file, or a verdict in the black box. One that was killed (SIGKILL)
leaves the black box alone, and nobody tells the kernel, which takes back memory that a version asked for, from a person. Such a death
counts when it happened to exactly one version, while that was loaded or warmed up, or ran before it had ever proved itself here: before it
was ready for a minute on end with these files and this configuration. Who proved itself is blamed by a trace only, however often its
worker is killed under load. A version counts as given up for as long as it is assigned as it was: with another configuration, or assigned
anew, it is tried again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from penstock.contracts.assignments import AssignedReplica
from penstock.contracts.names import ModelVersion
from penstock.contracts.worker_status import ReplicaStatus
from services.chassis.atomic_file import write_atomically
from services.chassis.blackbox import crash_file, read_blackbox
from services.chassis.clock import Clock
from services.chassis.crash_ledger import CRASHES, Crash, CrashLedger
from services.chassis.last_words import LastWords, Phase, Suspect

WINDOW_SECONDS = 600.0
"""Time within which so many crashes count: whatever starts processes again waits longer each time."""

PROOF_SECONDS = 60.0
"""How long a version has to be ready on end to have proved itself."""

LOOK_SECONDS = 5.0

KILLED = "killed without a word (SIGKILL), as the kernel does when memory is short"

Key = tuple[str, str]
"""Model and version."""

log = structlog.get_logger(__name__)


class CrashBook:
    """The crashes of one worker, and the versions that were given up for them; written to one file."""

    def __init__(self, path: Path) -> None:
        """Read what the lives before have written; a file that makes no sense is begun anew."""
        self._path = path
        self._crashes: list[dict[str, Any]] = []
        self._given_up: dict[Key, tuple[str, str]] = {}
        self._proved: dict[Key, str] = {}
        try:
            self._restore(json.loads(path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("crash_book_unreadable", path=str(path), reason=type(error).__name__)

    def learn(self, box: Path, now_time: float) -> None:
        """Take into account how the life before this one ended, by its black box; call it before the box is opened anew."""
        words = read_blackbox(box)
        cause = words.reason if words.verdict is not None else _fatal_error(crash_file(box)) or self._silent_death(words)
        if not cause and words.verdict is None:
            return
        ledger = CrashLedger(limit=CRASHES, window_seconds=WINDOW_SECONDS)
        for crash in self._crashes:
            ledger.record(_crash_of(crash), crash["time"])
        given_up = ledger.record(Crash(words=words, cause=cause), now_time)
        self._crashes = [one for one in self._crashes if one["time"] > now_time - WINDOW_SECONDS] + [_document(words, cause, now_time)]
        if given_up is not None:
            self._crashes = []
            self._given_up[given_up.version.model, given_up.version.version] = given_up.reason, ""
            log.error("version_failed", model=given_up.version.model, version=given_up.version.version, reason=given_up.reason)
        self._save()

    def of(self, model: str) -> Mapping[str, str]:
        """Return the versions of a model that are given up, with the reason."""
        return {version: reason for (held, version), (reason, _) in self._given_up.items() if held == model}

    def keep_only(self, replicas: Iterable[AssignedReplica]) -> None:
        """Forget what is not assigned any more, or not as it was."""
        digests = {(one.model, one.version): one.loaded_digest for one in replicas}
        kept = {
            key: (reason, digests[key])
            for key, (reason, digest) in self._given_up.items()
            # What crashed was assigned as it was when the first assignment after the crash came.
            if key in digests and digest in ("", digests[key])
        }
        proved = {key: digest for key, digest in self._proved.items() if digests.get(key) == digest}
        if (kept, proved) != (self._given_up, self._proved):
            self._given_up, self._proved = kept, proved
            self._save()

    def note(self, replicas: Iterable[ReplicaStatus], now_time: float) -> None:
        """Take down which of the versions that this worker holds have proved themselves."""
        ready = {(one.model, one.version): one.digest for one in replicas if one.is_ready and now_time - one.changed_time >= PROOF_SECONDS}
        if not ready.items() <= self._proved.items():
            self._proved |= ready
            self._save()

    def _silent_death(self, words: LastWords) -> str:
        """Return how a life ended that left no trace but what it was busy with; empty when that tells nothing."""
        if len(words.suspects) != 1:
            return ""
        (suspect,) = words.suspects
        is_proved = (suspect.version.model, suspect.version.version) in self._proved
        return "" if suspect.phase is Phase.RUNNING and is_proved else KILLED

    def _restore(self, document: dict[str, Any]) -> None:
        self._crashes = [one for one in document["crashes"] if _crash_of(one)]
        self._given_up = {(one["model"], one["version"]): (one["reason"], one["digest"]) for one in document["given_up"]}
        self._proved = {(one["model"], one["version"]): one["digest"] for one in document.get("proved", ())}

    def _save(self) -> None:
        given_up = [
            {"model": model, "version": version, "reason": reason, "digest": digest}
            for (model, version), (reason, digest) in self._given_up.items()
        ]
        proved = [{"model": model, "version": version, "digest": digest} for (model, version), digest in self._proved.items()]
        document = {"crashes": self._crashes, "given_up": given_up, "proved": proved}
        try:
            write_atomically(self._path, json.dumps(document).encode())
        except OSError as error:
            log.warning("crash_book_not_written", path=str(self._path), reason=str(error))


async def note_proved(book: CrashBook, replicas: Callable[[], Iterable[ReplicaStatus]], clock: Clock) -> None:
    """Have the book take down what proves itself, until cancelled."""
    while True:
        await clock.sleep(LOOK_SECONDS)
        book.note(replicas(), time.time())


def _fatal_error(path: Path) -> str:
    """Return what a process wrote when it died by its own fault; empty when it did not."""
    try:
        return path.read_text(errors="replace").partition("\n")[0][:200]
    except OSError:
        return ""


def _document(words: LastWords, cause: str, now_time: float) -> dict[str, Any]:
    suspects = [{"version": _named(one.version), "phase": one.phase.value, "met": one.met} for one in words.suspects]
    verdict = _named(words.verdict) if words.verdict is not None else None
    return {"time": now_time, "cause": cause, "suspects": suspects, "verdict": verdict, "reason": words.reason}


def _crash_of(document: dict[str, Any]) -> Crash:
    suspects = tuple(
        Suspect(version=ModelVersion(**one["version"]), phase=Phase(one["phase"]), met=one["met"]) for one in document["suspects"]
    )
    verdict = ModelVersion(**document["verdict"]) if document["verdict"] else None
    words = LastWords(suspects=suspects, verdict=verdict, reason=document["reason"])
    return Crash(words=words, cause=document["cause"])


def _named(version: ModelVersion) -> dict[str, str]:
    return {"model": version.model, "version": version.version}
