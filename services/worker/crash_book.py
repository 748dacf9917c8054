"""Remembers from life to life which versions killed this worker, so that one that does so again and again is not loaded any more.

    a life ends by its own fault → the next one reads the black box → the ledger judges → given up, and reported as such

Nobody supervises the workers of a mesh but what starts them again, which knows nothing of versions; so a worker judges its own deaths.
Only a process that died by its own fault leaves a trace of that (its crash file, or a verdict in the black box); one that was killed from
outside does not, and no version is blamed for it. A version counts as given up for as long as it is assigned as it was: with another
configuration, or assigned anew, it is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from penstock.contracts.assignments import AssignedReplica
from penstock.contracts.names import ModelVersion
from services.chassis.atomic_file import write_atomically
from services.chassis.blackbox import crash_file, read_blackbox
from services.chassis.crash_ledger import CRASHES, Crash, CrashLedger
from services.chassis.last_words import LastWords, Phase, Suspect

WINDOW_SECONDS = 600.0
"""Time within which so many crashes count: whatever starts processes again waits longer each time."""

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
        try:
            self._restore(json.loads(path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("crash_book_unreadable", path=str(path), reason=type(error).__name__)

    def learn(self, box: Path, now_time: float) -> None:
        """Take into account how the life before this one ended, by its black box; call it before the box is opened anew."""
        words = read_blackbox(box)
        cause = words.reason if words.verdict is not None else _fatal_error(crash_file(box))
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
        if kept != self._given_up:
            self._given_up = kept
            self._save()

    def _restore(self, document: dict[str, Any]) -> None:
        self._crashes = [one for one in document["crashes"] if _crash_of(one)]
        self._given_up = {(one["model"], one["version"]): (one["reason"], one["digest"]) for one in document["given_up"]}

    def _save(self) -> None:
        given_up = [
            {"model": model, "version": version, "reason": reason, "digest": digest}
            for (model, version), (reason, digest) in self._given_up.items()
        ]
        try:
            write_atomically(self._path, json.dumps({"crashes": self._crashes, "given_up": given_up}).encode())
        except OSError as error:
            log.warning("crash_book_not_written", path=str(self._path), reason=str(error))


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
