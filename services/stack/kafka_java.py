"""The Java machine that runs Kafka, and what makes it start quickly.

Half of what a start of Kafka costs is loading and checking classes. Java can write them to a file as they are in its memory and map that
file the next time (JEP 350): measured here with Java 17, a start takes 2.5 s of a processor with such a file and 4.2 s without. The
file fits one build of Java and one list of jars; Java ignores one that does not fit, so it can make nothing wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from services.chassis.child import ChildProcess, ChildSpec
from services.chassis.process import CannotStart
from services.stack.commands import answer_of
from services.stack.probes import NotReady
from services.stack.recipe import MissingTool
from services.stack.server_cache import Artefact
from services.stack.versions import version_in

CLASSES = "classes.jsa"
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
"""For what runs for a second: the compiler that is quick to start, not the one whose code is fast."""
RECORD_SECONDS = 120.0

_JVM = ("-XX:+UseSerialGC", "-Djava.awt.headless=true")
_LOG_LEVELS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """An installed Java machine."""

    program: str
    build: str
    """All that it says of itself."""

    @property
    def key(self) -> str:
        """Names this very build."""
        return hashlib.sha256(self.build.encode()).hexdigest()[:12]


async def find_java(oldest: int) -> Java:
    """Return the machine of JAVA_HOME, else that of PATH.

    Raises:
        MissingTool: there is none that is new enough.
    """
    home = os.environ.get("JAVA_HOME")
    program = (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")
    build = await answer_of(program, "-version") if program else ""
    version = version_in(build, r'version "(\d+)')
    if program is None or version is None or int(version) < oldest:
        raise MissingTool("kafka", f"Java {oldest} or newer", f"apt-get install openjdk-{oldest}-jre-headless")
    # With JAVA_TOOL_OPTIONS it says those as well, which are no part of the build.
    return Java(program=program, build="\n".join(line for line in build.splitlines() if not line.startswith("Picked up ")))


def java_command(program: str, jars: str, *options: str) -> tuple[str, ...]:
    """Return the command up to the main class. The jars are listed in an order that is always the same: the file of classes fits one."""
    class_path = os.pathsep.join(sorted(str(path) for path in Path(jars).glob("*.jar")))
    return (program, *options, *_JVM, *_LOG_LEVELS, "-cp", class_path)


def classes_artefact(version: str, java: Java, start: Callable[[Path], ChildSpec], answers: Callable[[], Awaitable[None]]) -> Artefact:
    """Return the artefact that holds the file of classes.

    Args:
        version: Kafka's.
        java: the machine that writes it and will read it.
        start: returns how to run a Kafka that writes this file at its end.
        answers: raises NotReady while that Kafka has not loaded what a start loads.
    """

    async def record(folder: Path) -> None:
        life = ChildProcess(start(folder / CLASSES))
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await _first_answer(answers)
                life.signal(SIGTERM)
                await life.wait()
        except TimeoutError:
            raise CannotStart(f"Kafka did not start and end within {RECORD_SECONDS:g} s") from None
        finally:
            life.end()
        if not (folder / CLASSES).exists():
            (folder / "unavailable").write_text("This Java writes no file of classes.\n")  # so that it is not tried again

    return Artefact(name="kafka-classes", version=f"{version}-{java.key}", fill=record)


async def _first_answer(answers: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await answers()
        except NotReady:
            await asyncio.sleep(0.1)
